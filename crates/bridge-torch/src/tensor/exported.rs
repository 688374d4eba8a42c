//! Handing torch's tensors out.

use std::ffi::c_void;
use std::mem::ManuallyDrop;
use std::ptr;

use bridge_core::{Access, Device, ManagedTensor, Owner, Refused, Result, Stream, TensorSpec};
use tch::Tensor;

use super::viewed::{shows_all_of, spec_of};
use crate::shim::{self, View, Work};

/// A tensor over torch's memory, which `keeper` keeps.
#[inline]
pub(super) fn exported<T: Send + 'static>(
    keeper: T,
    data: *mut c_void,
    spec: TensorSpec,
    device: Device,
    access: Access,
    stream: Option<Stream>,
) -> Result<ManagedTensor, Refused<T>> {
    let owner = Owner::keep(keeper);
    // SAFETY:
    // - Sizes and strides are the tensor's own and reach no further than its storage, compared in
    //   `spec_of`, which `keeper` keeps alive: a torch tensor, or `Pinned`; no other handle can let
    //   the storage grow, and so move, once it is handed over. torch's memory may be uninitialized
    //   right after `Tensor::empty`: no byte is invalid for the element types that are read without
    //   a check.
    // - tch's tensors may be dropped on any thread.
    // - Access is shared, or read-only. Read-only memory came in so, and whoever gave it to torch has
    //   said by name that nobody will write; or it is pinned, and torch writes to a copy. In-place
    //   operations of torch on another handle of shared storage, which safe code could run while a
    //   view is read, are excluded by the contract that `bridge_core`'s front page states for all
    //   frameworks.
    let tensor = unsafe { ManagedTensor::from_parts(data, spec, device, access, owner) };
    match tensor {
        // SAFETY: the stream is libtorch's current one on the device, behind which the data is ready.
        Ok(tensor) => Ok(unsafe { tensor.ready_on(stream) }),
        Err(refused) => Err(refused.map(|owner| match owner.into_kept() {
            Ok(keeper) => keeper,
            Err(_) => unreachable!("the owner was made of it"),
        })),
    }
}

/// A lazily copied tensor, whose memory another storage shares until one of the two is written.
pub(super) struct Pinned {
    pub(super) tensor: Tensor,
    /// A handle with a storage of its own, which is never written: with it the memory stays where
    /// it is when the others get theirs.
    _memory: Tensor,
}

/// Hands a lazily copied tensor over, to be read: writing would take the copy that nobody asked for.
#[cold]
pub(super) fn pinned(
    tensor: Tensor,
    data: *mut c_void,
    spec: TensorSpec,
    device: Device,
    stream: Option<Stream>,
) -> Result<ManagedTensor, Refused<Tensor>> {
    let mut made = ptr::null_mut();
    // SAFETY: the handle is tch's own; the shim writes `made` where it succeeds.
    let status = unsafe { shim::bridge_torch_pin(shim::handle_of(&tensor), &raw mut made) };
    let work = || Work { operation: "pin a lazily copied tensor", device, bytes: 0 };
    or_given_back!(tensor, shim::check(status, work));
    // SAFETY: the shim has made it just now.
    let _memory = unsafe { shim::tensor_of(made) };
    let pinned = Pinned { tensor, _memory };
    exported(pinned, data, spec, device, Access::ReadOnly, stream)
        .map_err(|refused| refused.map(|Pinned { tensor, .. }| tensor))
}

/// Gives back the tensor that a torch tensor was made of, which is all that keeps it.
#[inline]
pub(super) fn reclaimed(
    tensor: Tensor,
    view: &View,
    lender: ManuallyDrop<ManagedTensor>,
    stream: Option<Stream>,
) -> Result<ManagedTensor, Refused<Tensor>> {
    if shows_all_of(view, &lender) {
        return Ok(taken_back(tensor, lender, stream));
    }
    let spec = or_given_back!(tensor, spec_of(view));
    Ok(changed_and_taken_back(tensor, view, spec, lender, stream))
}

/// The tensor as it was lent: memory of a vector is a vector's again. `stream` is the one that torch works on, where it is on a device.
#[inline]
pub(super) fn taken_back(
    mut tensor: Tensor,
    lender: ManuallyDrop<ManagedTensor>,
    stream: Option<Stream>,
) -> ManagedTensor {
    // SAFETY: the shim said that nothing but this handle keeps the context; the torch tensor must
    // not be read any more, and is dropped.
    unsafe { shim::bridge_torch_disown(tensor.as_mut_ptr().cast()) };
    drop(tensor);
    // Once disowned, the tensor is ours alone.
    let back = ManuallyDrop::into_inner(lender).restore_read_only();
    // SAFETY: what torch did on a device is done behind its stream, which was made to wait for the one
    // that the tensor came in with; libtorch's streams live as long as it does. Memory of the host was
    // ready for everybody before it came in, and there libtorch has done what it returns from.
    unsafe { back.ready_on(stream) }
}

/// As [`taken_back`], where torch has permuted or cut the tensor in place.
#[cold]
pub(super) fn changed_and_taken_back(
    tensor: Tensor,
    view: &View,
    spec: TensorSpec,
    lender: ManuallyDrop<ManagedTensor>,
    stream: Option<Stream>,
) -> ManagedTensor {
    let data = view.data;
    let lender = taken_back(tensor, lender, stream);
    let (device, access) = (lender.device(), lender.access());
    // SAFETY: data and spec reach no further than the storage, which was the lender's memory; that
    // one is the owner, may be dropped anywhere, and its access holds for its parts.
    let changed =
        unsafe { ManagedTensor::from_parts(data, spec, device, access, Owner::keep(lender)) };
    let changed = changed.unwrap_or_else(|_| unreachable!("spec_of has checked the layout's span"));
    // SAFETY: it is the stream of the tensor that the owner keeps.
    unsafe { changed.ready_on(stream) }
}
