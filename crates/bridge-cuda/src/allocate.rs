//! New tensors on any device of CUDA's.

use bridge_core::{Device, DeviceKind, ManagedTensor, Result, TensorSpec};

use crate::block::{DeviceBlock, empty};
use crate::managed::managed;
use crate::pinned::pinned;
use crate::{driver, stream};

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
    let gpu = driver::gpu(device)?.open()?;
    if compact.layout.is_empty() {
        return empty(gpu, compact);
    }
    let bytes = compact.layout.compact_bytes(compact.data_type)?;
    let home = stream::of_this_thread(gpu)?;
    let block = DeviceBlock::allocate(gpu, &home, bytes)?;
    block.fill(0)?;
    // SAFETY: the block has room for the row-major elements, which its home sets to zero.
    unsafe { block.into_tensor(compact) }
}
