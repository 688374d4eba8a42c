//! Shared arrays in and out.

use std::any::TypeId;
use std::marker::PhantomData;

use bridge_core::{
    Accepts, Access, Description, Element, ManagedTensor, NativeArray, Owner, Ownership, Refused,
    Result, TensorSpec,
};

use super::SharedArray;
use crate::ndarray::Ndarray;

impl<T: Element> SharedArray<T> {
    /// Who may write what an array with clones exports: nobody through a clone of this type.
    fn access_beside_clones(&self) -> Access {
        match self.tensor.access() {
            Access::Shared => Access::Shared,
            Access::ReadOnly | Access::Exclusive => Access::ReadOnly,
        }
    }
}

impl<T: Element> NativeArray<Ndarray> for SharedArray<T> {
    const ACCEPTS: Accepts = Accepts::host(&[T::DATA_TYPE]);

    fn descriptor() -> &'static bridge_core::Descriptor {
        bridge_core::Backend::descriptor(&Ndarray)
    }

    fn describe(&self) -> Result<Description> {
        let mut description = self.tensor.describe();
        if !self.tensor.is_unique() {
            description.access = self.access_beside_clones();
            description.ownership = Ownership::Kept;
            description.owner = Some(TypeId::of::<Self>());
        }
        Ok(description)
    }

    fn export(self) -> Result<ManagedTensor, Refused<Self>> {
        let shared = match self.tensor.try_unwrap() {
            Ok(tensor) => return Ok(tensor),
            Err(shared) => Self { tensor: shared, element: PhantomData },
        };
        // While there are clones the tensor keeps one of them.
        let access = shared.access_beside_clones();
        let tensor = &shared.tensor;
        let (first, spec) = (tensor.first_element().cast(), tensor.spec());
        let spec = TensorSpec { layout: spec.layout.at_byte_offset(0), ..spec };
        let (device, stream) = (tensor.device(), tensor.stream());
        let owner = Owner::keep(shared);
        // SAFETY: the elements are those of the tensor that the owner keeps; it may be dropped on
        // any thread. Where access is read-only, nobody writes: `view_mut` refuses while there are
        // clones, and the tensor was not shared with others. Where it is shared, safe Rust has no
        // reference into the memory.
        unsafe { ManagedTensor::from_parts(first, spec, device, access, owner) }
            // SAFETY: it is the stream of the tensor that the owner keeps.
            .map(|tensor| unsafe { tensor.ready_on(stream) })
            .map_err(|refused| {
                refused.map(|owner| match owner.into_kept::<Self>() {
                    Ok(array) => array,
                    Err(_) => unreachable!("the owner was made of this array"),
                })
            })
    }

    fn import(tensor: ManagedTensor) -> Result<Self, Refused<ManagedTensor>> {
        if tensor.is_kept_by::<Self>() {
            return tensor.into_owner().or_else(Self::over);
        }
        Self::over(tensor)
    }
}
