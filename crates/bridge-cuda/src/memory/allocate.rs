//! New tensors on any device that CUDA has.

use bridge_core::{Device, DeviceKind, ManagedTensor, Result, TensorSpec};

use crate::driver;
use crate::memory::device_block::{DeviceBlock, empty};
use crate::memory::managed::managed;
use crate::memory::pinned::pinned;

/// A tensor of zeros, row-major.
pub(crate) fn zeros(spec: &TensorSpec, device: Device) -> Result<ManagedTensor> {
    let compact = TensorSpec::row_major(spec.data_type, spec.layout.shape())?;
    match device.kind() {
        DeviceKind::CudaHost => {
            driver::host_kind(device)?;
            return pinned(&compact);
        }
        DeviceKind::CudaManaged => {
            driver::host_kind(device)?;
            return managed(&compact, device.ordinal());
        }
        DeviceKind::Cpu => return bridge_host::zeroed(&compact, compact.data_type.alignment()),
        _ => {}
    }
    // SAFETY: the fill, in the order of the home, sets all elements to zero.
    unsafe { of_gpu(compact, device, |block| block.fill(0)) }
}

/// As [`zeros`], but on a GPU the elements are not set.
///
/// # Safety
///
/// Elements are written before they are read, in an order that the home knows.
pub(crate) unsafe fn uninitialized(spec: &TensorSpec, device: Device) -> Result<ManagedTensor> {
    if device.kind() != DeviceKind::Cuda {
        return zeros(spec, device);
    }
    let compact = TensorSpec::row_major(spec.data_type, spec.layout.shape())?;
    // SAFETY: the caller promises it.
    unsafe { of_gpu(compact, device, |_| Ok(())) }
}

/// # Safety
///
/// What `fill` leaves unwritten is written by the caller before it is read.
unsafe fn of_gpu(
    compact: TensorSpec,
    device: Device,
    fill: impl FnOnce(&DeviceBlock) -> Result<()>,
) -> Result<ManagedTensor> {
    let gpu = driver::gpu(device)?.open()?;
    if compact.layout.is_empty() {
        return empty(gpu, compact);
    }
    let bytes = compact.layout.compact_bytes(compact.data_type)?;
    let home = gpu.streams.of_this_thread()?;
    let block = DeviceBlock::allocate(gpu, &home, bytes)?;
    fill(&block)?;
    // SAFETY: the block has room for the row-major elements, which are written as the caller promises.
    unsafe { block.into_tensor(compact) }
}
