//! How many bytes a computation will take, before it starts.
//!
//! A [`CostModel`] says it for a number of items: points of a fit, matrices of a batch, rows of a
//! table: whatever the work can be cut into. There are models of
//!
//! - [`LeastSquares`]: nonlinear fits by trust region, Levenberg–Marquardt and dogleg,
//! - [`Matmul`], [`Fft`], [`Svd`]: one or a batch of them,
//! - [`Conversion`]: arrays from one framework to another, by their plans,
//! - [`Affine`]: so many bytes, and so many an item,
//!
//! and every closure `Fn(u64) -> u64` is one. A [`SafetyFactor`] leaves room beyond what a model
//! says ([`Padded`]); [`AdaptiveSafety`] finds the factor from what computations took.
//!
//! ```
//! use bridge_memory::predict::{CostModel, LeastSquares, Padded, SafetyFactor, Solver};
//!
//! let fit = LeastSquares::new(Solver::Trf, 20);
//! assert_eq!(fit.bytes(10_000)?, 2_004_160);
//! let padded = Padded { model: fit, safety: SafetyFactor::DEFAULT };
//! assert_eq!(padded.bytes(10_000)?, 2_404_992); // 1.2 times as much
//!
//! let mine = |rows: u64| rows.saturating_mul(3 * 8);
//! assert_eq!(mine.bytes(1000)?, 24_000);
//! # Ok::<(), bridge_core::Error>(())
//! ```

mod adaptive;
mod conversion;
mod cost_model;
mod fourier;
mod least_squares;
mod matmul;
mod safety;
mod sums;
mod svd;

pub use adaptive::{AdaptiveSafety, Telemetry};
pub use conversion::Conversion;
pub use cost_model::{Affine, CostModel};
pub use fourier::{Fft, FftKind, FftWorkspace};
pub use least_squares::{LeastSquares, Solver};
pub use matmul::Matmul;
pub use safety::{Padded, SafetyFactor};
pub use svd::{Svd, SvdVectors};
