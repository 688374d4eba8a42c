//! Choosing the stream that a thread works in.

use std::ffi::c_void;
use std::sync::Arc;

use bridge_core::{Device, Error, Result, TensorError};
use cudarc::driver::CudaStream;
use cudarc::driver::sys::CUstream;

use crate::driver;
use crate::gpu::thread_streams::{PER_THREAD, with_stream};

/// The stream that this thread works in on a device: its own, or the one set with [`on_stream`].
///
/// # Errors
///
/// [`Error::Unavailable`] without a driver, [`Error::DeviceUnavailable`] where there is no such device,
/// and [`Error::Framework`] where the driver fails to make a stream.
pub fn thread_stream(device: Device) -> Result<Arc<CudaStream>> {
    driver::gpu(device)?.open()?.streams.of_this_thread()
}

/// Makes a stream on a device, for [`on_stream`].
///
/// # Errors
///
/// As [`thread_stream`].
pub fn new_stream(device: Device) -> Result<Arc<CudaStream>> {
    driver::gpu(device)?.open()?.streams.make()
}

/// Wraps a stream of another library, for [`on_stream`]. Dropping the result does not destroy the stream.
///
/// # Errors
///
/// As [`thread_stream`].
///
/// # Safety
///
/// `stream` is a stream of the device's primary context, and is not destroyed while the result, or an array
/// made in it, lives.
pub unsafe fn wrap_stream(device: Device, stream: *mut c_void) -> Result<Arc<CudaStream>> {
    let gpu = driver::gpu(device)?.open()?;
    // SAFETY: the caller promises a stream of this context that stays.
    Ok(unsafe { gpu.cudarc().wrap_borrowed_stream(stream as CUstream) })
}

/// Runs `work` with `stream` as the stream that this thread works in on the stream's device.
///
/// ```no_run
/// use bridge_core::{DataType, Device};
/// use bridge_cuda::{CudaArray, new_stream, on_stream};
///
/// let stream = new_stream(Device::cuda(0))?;
/// let zeros = on_stream(&stream, || CudaArray::zeros(DataType::F32, &[1 << 20], Device::cuda(0)))??;
/// # Ok::<(), bridge_core::Error>(())
/// ```
///
/// # Errors
///
/// [`TensorError::InvalidArgument`] where the stream is not of the device's primary context, or is the
/// per-thread default stream, whose handle means another stream on every thread.
pub fn on_stream<R>(stream: &Arc<CudaStream>, work: impl FnOnce() -> R) -> Result<R> {
    let ordinal = u32::try_from(stream.context().ordinal()).unwrap_or(u32::MAX);
    let device = Device::cuda(ordinal);
    let gpu = driver::gpu(device)?.open()?;
    let invalid = |found: &str, expected: &str| {
        Error::Tensor(TensorError::InvalidArgument {
            what: "the stream",
            found: found.to_owned(),
            expected: expected.to_owned(),
        })
    };
    if stream.context().cu_ctx() != gpu.raw() {
        return Err(invalid(
            "one of another context",
            "a stream of the primary context, which `CudaContext::new` and `new_stream` use",
        ));
    }
    if stream.cu_stream().addr() as u64 == PER_THREAD {
        return Err(invalid(
            "the per-thread default stream",
            "a stream that is the same on every thread; make one with `new_stream`",
        ));
    }
    Ok(with_stream(device, stream, work))
}
