//! The streams that libtorch works on.

use bridge_core::{Device, DeviceKind, Result, Stream};

use crate::devices::ordinal;
use crate::shim::{self, Work};

/// The stream that libtorch works on, where `device` is a CUDA device: what it has submitted there
/// is ready behind it.
#[inline]
pub(crate) fn current_stream(device: Device) -> Result<Option<Stream>> {
    if device.kind() != DeviceKind::Cuda {
        return Ok(None);
    }
    let ordinal = ordinal(device)?;
    let mut handle = 0;
    // SAFETY: the shim writes the handle.
    let status = unsafe { shim::bridge_torch_cuda_stream(ordinal, &raw mut handle) };
    work("find the current stream", device).check(status)?;
    // CUDA's own null stream is DLPack's legacy default stream.
    Ok(Some(Stream(handle.max(1))))
}

/// Makes libtorch's current stream wait for the one that a tensor's data is ready on.
#[inline]
pub(crate) fn wait_for(device: Device, stream: Option<Stream>) -> Result<()> {
    let (DeviceKind::Cuda, Some(Stream(handle))) = (device.kind(), stream) else {
        return Ok(());
    };
    let ordinal = ordinal(device)?;
    // SAFETY: the handle is a stream's, as whoever said `ready_on` promises.
    let status = unsafe { shim::bridge_torch_cuda_wait(ordinal, handle) };
    work("wait for a stream", device).check(status)
}

/// Waits for what libtorch has submitted to a CUDA device.
pub(crate) fn synchronize(device: Device) -> Result<()> {
    if device == Device::CPU {
        return Ok(());
    }
    // SAFETY: the shim takes an ordinal and checks it.
    let status = unsafe { shim::bridge_torch_cuda_synchronize(ordinal(device)?) };
    work("synchronize a device", device).check(status)
}

fn work(operation: &'static str, device: Device) -> Work {
    Work { operation, device, bytes: 0 }
}
