//! The tensor itself as an array type, so that it converts like any other.

use std::borrow::Cow;

use crate::accepts::Accepts;
use crate::backend::{Availability, Backend, Descriptor};
use crate::device::Device;
use crate::error::{Refused, Result};
use crate::native::{NativeArray, NativeType};
use crate::plan::Description;
use crate::tensor::ManagedTensor;

/// The backend of [`ManagedTensor`] itself: what has been read from a file or come over a C
/// interface converts like a framework's array, and every array converts to it.
///
/// It is no framework and not in the registry: no name leads to it.
///
/// ```
/// use bridge_core::{Convert, ManagedTensor};
///
/// let tensor = ManagedTensor::from_vec(vec![1_u8, 2], &[2])?;
/// let same: ManagedTensor = tensor.convert()?;
/// assert_eq!(same.as_slice::<u8>()?, [1, 2]);
/// # Ok::<(), bridge_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Dlpack;

static DESCRIPTOR: Descriptor = Descriptor {
    name: "dlpack",
    aliases: &[],
    framework: "DLPack 1.3",
    priority: 0,
    device_kinds: &[],
};

impl Backend for Dlpack {
    fn descriptor(&self) -> &'static Descriptor {
        &DESCRIPTOR
    }

    fn availability(&self) -> Availability {
        Availability::Ready { devices: Cow::Borrowed(&[Device::CPU]) }
    }

    fn native_types(&self) -> &'static [NativeType] {
        const { &[NativeType::of::<ManagedTensor, Dlpack>()] }
    }
}

impl NativeArray<Dlpack> for ManagedTensor {
    const ACCEPTS: Accepts = Accepts::anything();

    fn backend() -> &'static Dlpack {
        &Dlpack
    }

    fn describe(&self) -> Result<Description> {
        Ok(Self::describe(self))
    }

    fn export(self) -> Result<ManagedTensor, Refused<Self>> {
        Ok(self)
    }

    fn import(tensor: ManagedTensor) -> Result<Self, Refused<ManagedTensor>> {
        Ok(tensor)
    }
}
