//! A backend whose array owns a vector.

use std::borrow::Cow;

use bridge_core::{
    Accepts, Availability, Backend, DataType, Description, Descriptor, Device, LayoutRule,
    ManagedTensor, NativeArray, NativeType, Ownership, Refused, Result, TensorError,
};

pub(crate) struct Vectors;

/// A tensor of memory that a vector can own.
pub(crate) struct VectorArray(ManagedTensor);

static DESCRIPTOR: Descriptor =
    Descriptor { name: "vectors", aliases: &[], framework: "a test", priority: 0 };

impl Backend for Vectors {
    fn descriptor(&self) -> &'static Descriptor {
        &DESCRIPTOR
    }

    fn availability(&self) -> Availability {
        Availability::Ready { devices: Cow::Borrowed(&[Device::CPU]) }
    }

    fn native_types(&self) -> &'static [NativeType] {
        const { &[NativeType::of::<VectorArray, Vectors>()] }
    }
}

impl NativeArray<Vectors> for VectorArray {
    const ACCEPTS: Accepts =
        Accepts::host(DataType::NAMED).layout(LayoutRule::Dense).only_vectors();

    fn descriptor() -> &'static Descriptor {
        &DESCRIPTOR
    }

    fn describe(&self) -> Result<Description> {
        Ok(self.0.describe())
    }

    fn export(self) -> Result<ManagedTensor, Refused<Self>> {
        Ok(self.0)
    }

    fn import(tensor: ManagedTensor) -> Result<Self, Refused<ManagedTensor>> {
        match tensor.describe().ownership {
            Ownership::Movable => Ok(Self(tensor)),
            Ownership::Kept => {
                let reason = "another owner keeps the memory";
                Err(Refused::new(tensor, TensorError::NotAVector { reason }))
            }
        }
    }
}
