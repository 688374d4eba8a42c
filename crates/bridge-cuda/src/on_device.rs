//! Work on the device that a tensor is on, its memory checked before.

use bridge_core::{DataType, DeviceKind, ManagedTensor, Overflow, Result};

use crate::{cast, gather, transfer};

/// A cast on the tensor's device.
pub(crate) fn cast(
    tensor: &ManagedTensor,
    to: DataType,
    overflow: Overflow,
) -> Result<ManagedTensor> {
    match transfer::on_gpu(tensor)? {
        Some(gpu) => cast::cast(tensor, gpu, to, overflow),
        None => {
            transfer::settle(tensor)?;
            let cast = bridge_host::to_data_type(tensor, to, overflow)?;
            match tensor.device().kind() {
                DeviceKind::Cpu => Ok(cast),
                _ => transfer::transfer(&cast, tensor.device()),
            }
        }
    }
}

/// A row-major copy on the tensor's device.
pub(crate) fn copied(tensor: &ManagedTensor) -> Result<ManagedTensor> {
    match transfer::on_gpu(tensor)? {
        Some(gpu) => gather::copied(tensor, gpu),
        None => transfer::transfer(tensor, tensor.device()),
    }
}
