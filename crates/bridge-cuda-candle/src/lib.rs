//! Hands device memory between [`CudaArray`] and candle's tensors on CUDA, without copying.
//!
//! candle compiles its kernels with `nvcc`, so building this crate needs the CUDA toolkit. That is why
//! it is a crate, and a workspace, of its own.
//!
//! **It has not run on hardware, and is only type-checked where there is no toolkit.**
//!
//! candle's devices carry an identity: tensors of two `CudaDevice`s do not meet, even on one GPU. So
//! candle's device is named: in [`to_candle`] as an argument, and for conversions through the registry
//! once, with [`use_device`].
//!
//! ```ignore
//! bridge_cuda_candle::use_device(&candle_device)?;
//! let tensor: candle_core::Tensor = array.convert()?;      // the slice changes its owner
//! ```

mod convert;
mod from_candle;
mod to_candle;

pub use convert::{TakeSlice, use_device};
pub use from_candle::from_candle;
pub use to_candle::to_candle;

use bridge_core::{Error, Registration, Result};
use bridge_cuda::CudaArray;

bridge_core::inventory::submit! { Registration::converter(&TakeSlice) }

/// Registers the converter by hand, as [`bridge_core::register`].
///
/// # Errors
///
/// As [`bridge_core::register`].
pub fn register_all() -> Result<()> {
    bridge_core::register(&[Registration::converter(&TakeSlice)])
}

/// candle failed.
fn failed(operation: &'static str) -> impl Fn(candle_core::Error) -> Error {
    move |error| Error::Framework { backend: "candle", operation, message: error.to_string() }
}

/// The driver failed.
fn driver_failed(
    operation: &'static str,
) -> impl Fn(bridge_cuda::cudarc::driver::DriverError) -> Error {
    move |error| Error::Framework { backend: "cuda", operation, message: error.to_string() }
}

/// What is not supported, and what to do.
fn unsupported(what: String, remedy: &str) -> Error {
    Error::Unsupported { what, remedy: remedy.to_owned() }
}

/// The ordinal of an array's device.
fn ordinal(array: &CudaArray) -> usize {
    array.device().ordinal() as usize
}
