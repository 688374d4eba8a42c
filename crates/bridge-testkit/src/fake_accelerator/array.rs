//! The array type of the fake accelerator.

use bridge_core::{
    Accepts, DataType, Description, DeviceKind, Error, ManagedTensor, NativeArray, Refused, Result,
};

use super::FakeAccelerator;
use super::faults;

/// An array in the memory of a fake device, of any element type and layout.
#[derive(Debug)]
pub struct FakeArray(ManagedTensor);

impl FakeArray {
    /// The tensor, whose memory is not the host's.
    pub fn tensor(&self) -> &ManagedTensor {
        &self.0
    }
}

impl NativeArray<FakeAccelerator> for FakeArray {
    const ACCEPTS: Accepts = Accepts::on(&[DeviceKind::Extension], DataType::NAMED);

    fn descriptor() -> &'static bridge_core::Descriptor {
        bridge_core::Backend::descriptor(&FakeAccelerator)
    }

    fn describe(&self) -> Result<Description> {
        Ok(self.0.describe())
    }

    fn export(self) -> Result<ManagedTensor, Refused<Self>> {
        Ok(self.0)
    }

    fn import(tensor: ManagedTensor) -> Result<Self, Refused<ManagedTensor>> {
        if faults::refuses_imports() {
            let error = Error::Framework {
                backend: "fake-accelerator",
                operation: "import a tensor",
                message: "told to refuse".to_owned(),
            };
            return Err(Refused::new(tensor, error));
        }
        let (device, data_type) = (tensor.device(), tensor.data_type());
        let data = tensor.data().addr();
        let why = if device.kind() != DeviceKind::Extension {
            format!("a tensor on {device} as an array of the fake accelerator")
        } else if !Self::ACCEPTS.has(data_type) {
            format!("{data_type} in the fake accelerator")
        } else if !tensor.layout().is_empty() && !data.is_multiple_of(data_type.alignment()) {
            format!("{data_type} with another alignment")
        } else {
            return Ok(Self(tensor));
        };
        let remedy = "convert it, which copies".to_owned();
        Err(Refused::new(tensor, Error::Unsupported { what: why, remedy }))
    }
}
