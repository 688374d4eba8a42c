//! Whether a tensor can be an array.

use bridge_core::{DataType, DeviceKind, Error, ManagedTensor, Result, TensorError};

use crate::context::errors::NAME;
use crate::driver::{self, KINDS, pointer};

/// Checks device, element type and alignment, and that the memory is where the tensor says it is.
pub(super) fn check(tensor: &ManagedTensor) -> Result<()> {
    let (device, data_type) = (tensor.device(), tensor.data_type());
    if !KINDS.contains(&device.kind()) {
        return Err(Error::Unsupported {
            what: format!("a tensor on {device} as a CUDA array"),
            remedy: "convert it, which copies it to the device".to_owned(),
        });
    }
    if !DataType::NAMED.contains(&data_type) {
        return Err(Error::UnsupportedDataType {
            target: NAME,
            data_type,
            supported: DataType::NAMED.to_vec(),
            remedy: data_type.narrowest_holding(DataType::NAMED),
        });
    }
    let (address, needed) = (tensor.data().addr(), data_type.alignment());
    if !tensor.layout().is_empty() && !address.is_multiple_of(needed) {
        return Err(Error::Tensor(TensorError::InvalidTensor {
            reason: format!(
                "its data pointer {address:#x} is not aligned to {needed} bytes, which {data_type} \
                 requires; copy it first (CopyPolicy::Always)"
            ),
        }));
    }
    match device.kind() {
        DeviceKind::Cuda => pointer::check(driver::gpu(device)?.open()?, tensor),
        _ => driver::host_kind(device),
    }
}
