//! A backend over host memory whose array is a tensor, and which can be told to do otherwise.

use std::borrow::Cow;

use bridge_core::{
    Accepts, Array, Availability, Backend, DataType, Description, Descriptor, Device, Error,
    LayoutRule, ManagedTensor, NativeArray, NativeType, Ownership, Refused, Registration, Registry,
    Result, inventory,
};

/// What a test's backend does differently from one that takes every tensor it accepts.
pub(crate) trait Behaviour: Send + Sync + 'static {
    const NAME: &'static str;
    const ACCEPTS: Accepts = Accepts::host(DataType::NAMED);
    const DEVICES: &'static [Device] = &[Device::CPU];

    fn import(tensor: ManagedTensor) -> Result<ManagedTensor, Refused<ManagedTensor>> {
        Ok(tensor)
    }
}

/// The backend.
pub(crate) struct Plain<M>(std::marker::PhantomData<M>);

impl<M> Plain<M> {
    pub(crate) const fn new() -> Self {
        Self(std::marker::PhantomData)
    }
}

/// Its array.
pub(crate) struct PlainArray<M> {
    pub(crate) tensor: ManagedTensor,
    behaviour: std::marker::PhantomData<M>,
}

impl<M> PlainArray<M> {
    pub(crate) fn of(tensor: ManagedTensor) -> Self {
        Self { tensor, behaviour: std::marker::PhantomData }
    }
}

impl<M: Behaviour> Plain<M> {
    const DESCRIPTOR: Descriptor =
        Descriptor { name: M::NAME, aliases: &[], framework: "a test", priority: 0 };
}

impl<M: Behaviour> Backend for Plain<M> {
    fn descriptor(&self) -> &'static Descriptor {
        const { &Self::DESCRIPTOR }
    }

    fn availability(&self) -> Availability {
        Availability::Ready { devices: Cow::Borrowed(M::DEVICES) }
    }

    fn native_types(&self) -> &'static [NativeType] {
        const { &[NativeType::of::<PlainArray<M>, Self>()] }
    }
}

impl<M: Behaviour> NativeArray<Plain<M>> for PlainArray<M> {
    const ACCEPTS: Accepts = M::ACCEPTS;

    fn descriptor() -> &'static Descriptor {
        const { &Plain::<M>::DESCRIPTOR }
    }

    fn describe(&self) -> Result<Description> {
        Ok(self.tensor.describe())
    }

    fn export(self) -> Result<ManagedTensor, Refused<Self>> {
        Ok(self.tensor)
    }

    fn import(tensor: ManagedTensor) -> Result<Self, Refused<ManagedTensor>> {
        M::import(tensor).map(Self::of)
    }
}

/// Takes everything.
pub(crate) struct Takes;

impl Behaviour for Takes {
    const NAME: &'static str = "takes";
}

/// Takes memory that a vector can own, and no other.
pub(crate) struct Vectors;

impl Behaviour for Vectors {
    const NAME: &'static str = "vectors";
    const ACCEPTS: Accepts =
        Accepts::host(DataType::NAMED).layout(LayoutRule::Dense).only_vectors();

    fn import(tensor: ManagedTensor) -> Result<ManagedTensor, Refused<ManagedTensor>> {
        match tensor.describe().ownership {
            Ownership::Movable => Ok(tensor),
            Ownership::Kept => Err(refusal(tensor, "memory of another owner")),
        }
    }
}

/// Writes to all its arrays.
pub(crate) struct Writes;

impl Behaviour for Writes {
    const NAME: &'static str = "writes";
    const ACCEPTS: Accepts = Accepts::host(DataType::NAMED).ignores_read_only();
}

pub(crate) static TAKES: Plain<Takes> = Plain::new();
pub(crate) static VECTORS: Plain<Vectors> = Plain::new();
pub(crate) static WRITES: Plain<Writes> = Plain::new();

inventory::submit! { Registration::backend(&TAKES) }
inventory::submit! { Registration::backend(&VECTORS) }
inventory::submit! { Registration::backend(&WRITES) }

/// The program's registry: the backends above, the accelerator and the tools of bridge-host.
pub(crate) fn registry() -> &'static Registry {
    Registry::global().unwrap()
}

/// 0, 1, 2 and so on as float32.
pub(crate) fn numbers(shape: &[usize]) -> ManagedTensor {
    let count = shape.iter().product::<usize>();
    ManagedTensor::from_vec((0..count).map(|n| n as f32).collect(), shape).unwrap()
}

pub(crate) fn array(shape: &[usize]) -> Array {
    Array::new(numbers(shape))
}

/// What a backend says that does not take a tensor.
pub(crate) fn refusal(tensor: ManagedTensor, what: &str) -> Refused<ManagedTensor> {
    let (what, remedy) = (what.to_owned(), "copy it".to_owned());
    Refused::new(tensor, Error::Unsupported { what, remedy })
}
