//! What training in little memory needs: batch sizes, placement, checkpoints, loss scaling.
//!
//! - [`find_max_batch`], [`BatchSearch`]: the largest batch that fits.
//! - [`Placement`]: which layers lie on which device.
//! - [`segments`], [`even_segments`], [`sqrt_segments`], [`Checkpoints`]: compute activations again
//!   instead of keeping them.
//! - [`LossScale`]: keep small gradients of half precision from vanishing.

mod batch;
mod checkpoint;
mod loss_scale;
mod placement;

pub use batch::{BatchSearch, find_max_batch};
pub use checkpoint::{Checkpoints, even_segments, segments, sqrt_segments};
pub use loss_scale::{LossScale, LossScaling, Step, all_finite};
pub use placement::Placement;
