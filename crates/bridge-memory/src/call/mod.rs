//! Functions of one framework for arrays of any: arguments converted in, results converted out.
//!
//! The attribute `on` (`arraybridge::on`) wraps a function in this; here is the same as plain functions.
//!
//! - [`call`] and [`call_by_slice`], for functions on [`Array`](bridge_core::Array)s; [`call_async`] and
//!   [`call_by_slice_async`], for those that are awaited.
//! - [`Call`], step by step, for functions on a framework's own types; its [`Slices`].
//! - [`CallOptions`]: backend and device, a budget, [`OomRecovery`], [`DtypeConversion`] and [`Rescale`].
//! - [`rescaled`]: a change of element type by one of the rules, by itself; [`rescaled_with`] a budget and a pool.
//! - [`declared`]: the functions of the program that the attribute wraps.
//! - [`check_contract`]: whether a result is what it should be.

mod declared;
mod dtype;
mod options;
mod parts;
mod recovery;
mod rescale;
mod rescale_peaks;
mod run;
mod run_async;
mod session;
mod slices;
mod way;

#[doc(hidden)]
pub mod attribute;

pub use declared::{Declared, declared};
pub use dtype::DtypeConversion;
pub use options::CallOptions;
pub use parts::{AnyArray, Arrays, FromArray, IntoArray, Look, Many, One, Plain, Untouched};
pub use recovery::OomRecovery;
pub use rescale::{Rescale, rescaled, rescaled_with};
pub use run::{call, call_by_slice};
pub use run_async::{call_async, call_by_slice_async};
pub use session::{Call, ContractAnswer, check_contract};
pub use slices::Slices;
pub use way::Way;
