//! Memory from one to the other: a tensor that keeps an Arrow array, and an Arrow buffer that keeps a tensor.

use std::any::Any;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex};

use arrow_array::Array;
use arrow_buffer::{ArrowNativeType, Buffer, ScalarBuffer};
use bridge_core::{
    Access, Description, Device, Element, Error, ManagedTensor, Owner, Ownership, Refused, Result,
    TensorSpec, alignment_of,
};

/// Fails where an array has entries that are null.
pub(crate) fn require_no_nulls(array: &dyn Array) -> Result<()> {
    match array.null_count() {
        0 => Ok(()),
        nulls => Err(Error::Unsupported {
            what: format!("an Arrow array with {nulls} null entries as a tensor"),
            remedy: "fill or drop them first, with the kernels of arrow-select".to_owned(),
        }),
    }
}

/// What an array of these elements, which start at `first`, is as a tensor.
pub(crate) fn description(first: *const u8, spec: TensorSpec) -> Description {
    Description {
        data_type: spec.data_type,
        device: Device::CPU,
        layout: spec.layout,
        access: Access::ReadOnly,
        ownership: Ownership::Kept,
        alignment: alignment_of(first),
        owner: None,
    }
}

/// The read-only tensor of the elements of `array`, which it keeps alive.
///
/// # Safety
///
/// The elements that `spec` describes start at `first`, lie in immutable buffers of `array`, and do so
/// wherever the array itself is moved.
pub(crate) unsafe fn tensor_keeping<A: Array + Any>(
    array: A,
    first: *const u8,
    spec: TensorSpec,
) -> Result<ManagedTensor, Refused<A>> {
    let data = first.cast_mut().cast();
    let owner = Owner::keep(array);
    // SAFETY: `ManagedTensor::from_parts` asks that
    // - the elements are initialized host memory that the owner keeps: the caller promises where they lie,
    //   Arrow's buffers are initialized, and the array, which counts its references to them, is the owner;
    // - the owner may be dropped on any thread: arrays are `Send`;
    // - nobody writes to read-only memory: Arrow makes a buffer mutable only for its one holder, and the
    //   array that is kept is a holder that nobody reaches.
    let made =
        unsafe { ManagedTensor::from_parts(data, spec, Device::CPU, Access::ReadOnly, owner) };
    made.map_err(|refused| {
        refused.map(|owner| match owner.into_kept::<A>() {
            Ok(array) => array,
            Err(_) => unreachable!("the owner was made of this array"),
        })
    })
}

/// The elements of a row-major host tensor as an Arrow buffer, which keeps the tensor.
pub(crate) fn buffer_keeping<T: Element + ArrowNativeType>(
    tensor: ManagedTensor,
) -> Result<ScalarBuffer<T>, Refused<ManagedTensor>> {
    let (first, bytes) = match tensor.as_slice::<T>() {
        Ok(elements) => (NonNull::from(elements).cast(), size_of_val(elements)),
        Err(error) => return Err(Refused::new(tensor, error)),
    };
    // Arrow asks for an owner that threads can share, and a tensor is none: the mutex, which is never
    // locked, makes it one.
    let owner = Arc::new(Mutex::new(tensor));
    // SAFETY: `Buffer::from_custom_allocation` asks that `first` leads to `bytes` bytes until the owner is
    // dropped: they are those of the tensor's slice, and it keeps its memory where it is. Nobody writes to
    // them: the tensor was handed over, and what else may look at its memory only reads, which is the promise
    // that every tensor is made with. Arrow frees the memory by dropping the owner, on any thread: a tensor is
    // `Send`.
    let buffer = unsafe { Buffer::from_custom_allocation(first, bytes, owner) };
    Ok(ScalarBuffer::from(buffer))
}
