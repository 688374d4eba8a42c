//! The array type as the registry knows it: how tensors become arrays and arrays become tensors.

use bridge_core::{Accepts, DataType, Description, ManagedTensor, NativeArray, Refused, Result};

use crate::array::CudaArray;
use crate::backend::Cuda;
use crate::driver::KINDS;

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
        Self::from_tensor(tensor)
    }
}
