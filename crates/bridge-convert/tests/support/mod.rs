//! A backend over host memory whose array is a tensor, and which can be told to do otherwise.

use bridge_core::{
    Accepts, Availability, Backend, DataType, Description, Descriptor, ManagedTensor, NativeArray,
    NativeType, Refused, Result,
};

/// What a test's backend does differently from one that takes every tensor it accepts.
pub(crate) trait Behaviour: Send + Sync + 'static {
    const NAME: &'static str;
    const ACCEPTS: Accepts = Accepts::host(DataType::NAMED);

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

impl<M: Behaviour> Plain<M> {
    const DESCRIPTOR: Descriptor =
        Descriptor { name: M::NAME, aliases: &[], framework: "a test", priority: 0 };
}

impl<M: Behaviour> Backend for Plain<M> {
    fn descriptor(&self) -> &'static Descriptor {
        const { &Self::DESCRIPTOR }
    }

    fn availability(&self) -> Availability {
        Availability::HOST
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
        M::import(tensor).map(|tensor| Self { tensor, behaviour: std::marker::PhantomData })
    }
}
