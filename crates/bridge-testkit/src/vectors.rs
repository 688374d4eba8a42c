//! A backend of the host whose arrays own vectors, as ndarray's and candle's do: it takes memory that a `Vec`
//! can own, and no other.

use std::borrow::Cow;

use bridge_core::{
    Accepts, Availability, Backend, DataType, Description, Descriptor, Device, LayoutRule,
    ManagedTensor, NativeArray, NativeType, Ownership, Refused, Result, TensorError,
};

/// The backend "vectors".
#[derive(Debug, Clone, Copy)]
pub struct Vectors;

/// A tensor of memory that a vector can own.
#[derive(Debug)]
pub struct VectorArray(pub ManagedTensor);

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
