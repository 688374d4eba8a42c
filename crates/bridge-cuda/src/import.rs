//! Tensors as arrays and back, without copying.

use bridge_core::{
    Accepts, DataType, Description, DeviceKind, Error, ManagedTensor, NativeArray, Refused, Result,
    TensorError,
};

use crate::array::CudaArray;
use crate::backend::{Cuda, KINDS};
use crate::failure::NAME;
use crate::{driver, pointer};

impl NativeArray<Cuda> for CudaArray {
    const ACCEPTS: Accepts = Accepts::on(KINDS, DataType::NAMED);

    fn descriptor() -> &'static bridge_core::Descriptor {
        bridge_core::Backend::descriptor(&Cuda)
    }

    fn describe(&self) -> Result<Description> {
        Ok(self.tensor().describe())
    }

    fn export(self) -> Result<ManagedTensor, Refused<Self>> {
        Ok(self.into_tensor())
    }

    fn import(tensor: ManagedTensor) -> Result<Self, Refused<ManagedTensor>> {
        match check(&tensor) {
            Ok(()) => Ok(Self::of(tensor)),
            Err(error) => Err(Refused::new(tensor, error)),
        }
    }
}

/// Checks what [`CudaArray::ACCEPTS`] says, and that the memory is where the tensor says it is.
fn check(tensor: &ManagedTensor) -> Result<()> {
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
                "its data pointer {address:#x} is not on a border of {needed} bytes, which \
                 {data_type} needs; copy it first (CopyPolicy::Always)"
            ),
        }));
    }
    match device.kind() {
        DeviceKind::Cuda => pointer::check(driver::gpu(device)?.open()?, tensor),
        _ => driver::host_kind(device),
    }
}
