//! Casts on the device that a tensor is on.

mod misfit;
mod on_gpu;
pub(crate) mod working_memory;

use bridge_core::{DataType, DeviceKind, ManagedTensor, Overflow, Result};

use crate::transfer::source::{on_gpu, settle};
use crate::transfer::transfer;

/// The elements as another type, row-major, on the same device.
pub(crate) fn cast(
    tensor: &ManagedTensor,
    to: DataType,
    overflow: Overflow,
) -> Result<ManagedTensor> {
    match on_gpu(tensor)? {
        Some(gpu) => on_gpu::cast(tensor, gpu, to, overflow),
        None => {
            settle(tensor)?;
            let cast = bridge_host::to_data_type(tensor, to, overflow)?;
            match tensor.device().kind() {
                DeviceKind::Cpu => Ok(cast),
                _ => transfer(&cast, tensor.device()),
            }
        }
    }
}

/// Whether a cast has to look for values that the new type cannot hold.
fn looks_for_misfits(from: DataType, to: DataType, overflow: Overflow) -> bool {
    overflow == Overflow::Refuse && from.narrowest_holding(&[to]) != Some(to)
}
