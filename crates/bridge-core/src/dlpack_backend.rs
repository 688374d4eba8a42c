//! The tensor itself as an array type, so that it converts like any other.

use bridge_tensor::{Description, ManagedTensor};

use crate::accepts::Accepts;
use crate::availability::Availability;
use crate::backend::Backend;
use crate::descriptor::Descriptor;
use crate::error::{Refused, Result};
use crate::native::{NativeArray, NativeType};

/// The backend of [`ManagedTensor`] itself: what has been read from a file or come over a C
/// interface converts like a framework's array, and every array converts to it.
///
/// It is no framework, and not among the registry's backends.
///
/// ```
/// use bridge_core::{Array, ManagedTensor};
///
/// let tensor = ManagedTensor::from_vec(vec![1_u8, 2], &[2])?;
/// let array = Array::new(tensor);
/// assert_eq!(array.descriptor().name, "dlpack");
/// # Ok::<(), bridge_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Dlpack;

static DESCRIPTOR: Descriptor =
    Descriptor { name: "dlpack", aliases: &[], framework: "DLPack 1.3", priority: 0 };

impl Backend for Dlpack {
    fn descriptor(&self) -> &'static Descriptor {
        &DESCRIPTOR
    }

    fn availability(&self) -> Availability {
        Availability::HOST
    }

    fn native_types(&self) -> &'static [NativeType] {
        const { &[NativeType::of::<ManagedTensor, Dlpack>()] }
    }
}

impl NativeArray<Dlpack> for ManagedTensor {
    const ACCEPTS: Accepts = Accepts::anything();

    fn descriptor() -> &'static Descriptor {
        &DESCRIPTOR
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
