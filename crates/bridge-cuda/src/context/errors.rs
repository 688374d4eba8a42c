//! The driver's errors as arraybridge's.

use bridge_core::{Device, Error, TensorError};
use cudarc::driver::DriverError;
use cudarc::driver::sys::CUresult;

/// The name of the backend.
pub(crate) const NAME: &str = "cuda";

/// The error for an operation that the driver refused.
pub(crate) fn failed(operation: &'static str) -> impl FnOnce(DriverError) -> Error {
    move |error| {
        let advice = if is_sticky(error) {
            ": the device's context is lost, and with it all arrays on the device; end the process \
             and start it again"
        } else {
            ""
        };
        Error::Framework {
            backend: NAME,
            operation,
            message: format!("{}{advice}", message(error)),
        }
    }
}

/// The error for an allocation that the driver refused.
pub(crate) fn not_allocated(
    device: Device,
    requested: usize,
    operation: &'static str,
) -> impl FnOnce(DriverError) -> Error {
    move |error| match error.0 {
        CUresult::CUDA_ERROR_OUT_OF_MEMORY => {
            Error::Tensor(TensorError::OutOfMemory { device, requested: requested as u64 })
        }
        _ => failed(operation)(error),
    }
}

/// The error's name and the driver's description: "CUDA_ERROR_NO_DEVICE (no CUDA-capable …)".
pub(crate) fn message(error: DriverError) -> String {
    let name = error.error_name().map(|name| name.to_string_lossy().into_owned());
    let name = name.unwrap_or_else(|_| format!("CUDA error {}", error.0 as u32));
    match error.error_string() {
        Ok(text) => format!("{name} ({})", text.to_string_lossy()),
        Err(_) => name,
    }
}

/// Whether every later call in the same context fails too.
fn is_sticky(error: DriverError) -> bool {
    use CUresult as R;
    matches!(
        error.0,
        R::CUDA_ERROR_ILLEGAL_ADDRESS
            | R::CUDA_ERROR_LAUNCH_FAILED
            | R::CUDA_ERROR_LAUNCH_TIMEOUT
            | R::CUDA_ERROR_HARDWARE_STACK_ERROR
            | R::CUDA_ERROR_ILLEGAL_INSTRUCTION
            | R::CUDA_ERROR_MISALIGNED_ADDRESS
            | R::CUDA_ERROR_INVALID_ADDRESS_SPACE
            | R::CUDA_ERROR_INVALID_PC
            | R::CUDA_ERROR_ECC_UNCORRECTABLE
            | R::CUDA_ERROR_ASSERT
            | R::CUDA_ERROR_CONTEXT_IS_DESTROYED
            | R::CUDA_ERROR_DEVICE_UNAVAILABLE
    )
}
