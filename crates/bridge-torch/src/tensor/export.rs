//! Handing torch's tensors out.

use std::ffi::c_void;
use std::mem::ManuallyDrop;
use std::ptr;

use bridge_core::{
    Access, Device, Error, ManagedTensor, Owner, Refused, Result, Stream, TensorSpec,
};
use tch::Tensor;

use super::view::{shows_all_of, spec_of, view_of};
use crate::shim::{self, Hold, View, Work};

/// Memory of torch's, and when it is ready.
pub(super) struct Memory {
    pub(super) data: *mut c_void,
    pub(super) spec: TensorSpec,
    pub(super) device: Device,
    pub(super) stream: Option<Stream>,
}

/// A torch tensor that other handles share the tensor or the storage of, and what keeps its memory
/// where it is: through the others safe code can give the tensor another storage, write to it, or
/// let it grow.
pub(super) struct Held {
    tensor: Tensor,
    _memory: Holder,
}

#[expect(dead_code, reason = "held for their drop")]
enum Holder {
    Storage(Hold),
    /// A handle with a storage of its own over the memory of a lazily copied tensor. It is never
    /// written: with it the memory stays when the other storages get copies.
    LazyClone(Tensor),
}

/// Hands a tensor over that is the only handle of its memory.
#[inline]
pub(super) fn export_alone(
    tensor: Tensor,
    memory: Memory,
    access: Access,
) -> Result<ManagedTensor, Refused<Tensor>> {
    // SAFETY: the tensor keeps its storage, and nobody else can reach the tensor or the storage.
    unsafe { export_kept_by(tensor, memory, access) }
}

/// Hands a tensor over that has company.
pub(super) fn export_held(
    tensor: Tensor,
    memory: Memory,
    access: Access,
) -> Result<ManagedTensor, Refused<Tensor>> {
    let hold = or_refuse!(tensor, Hold::of(&tensor, memory.device));
    let held = Held { tensor, _memory: Holder::Storage(hold) };
    // SAFETY: the hold keeps the memory where it is.
    let exported = unsafe { export_kept_by(held, memory, access) };
    exported.map_err(|refused| refused.map(|held| held.tensor))
}

/// Hands a lazily copied tensor over, to be read: writing would take the copy that nobody asked for.
#[cold]
pub(super) fn export_lazily_copied(
    tensor: Tensor,
    memory: Memory,
) -> Result<ManagedTensor, Refused<Tensor>> {
    let mut made = ptr::null_mut();
    // SAFETY: the handle is tch's own; the shim writes `made` where it succeeds.
    let status = unsafe { shim::bridge_torch_lazy_clone(shim::handle_of(&tensor), &raw mut made) };
    let device = memory.device;
    let work = || Work { operation: "hold the memory of a lazily copied tensor", device, bytes: 0 };
    or_refuse!(tensor, shim::check(status, work));
    // SAFETY: the shim has made it just now.
    let clone = unsafe { shim::tensor_of(made) };
    let held = Held { tensor, _memory: Holder::LazyClone(clone) };
    // SAFETY: the lazy clone keeps the memory where it is, and as it is.
    let exported = unsafe { export_kept_by(held, memory, Access::ReadOnly) };
    exported.map_err(|refused| refused.map(|held| held.tensor))
}

/// A tensor over torch's memory.
///
/// # Safety
///
/// `keeper` keeps the memory valid and where it is.
#[inline]
unsafe fn export_kept_by<T: Send + 'static>(
    keeper: T,
    memory: Memory,
    access: Access,
) -> Result<ManagedTensor, Refused<T>> {
    let Memory { data, spec, device, stream } = memory;
    let owner = Owner::keep(keeper);
    // SAFETY:
    // - Sizes and strides are the tensor's own and reach no further than its storage, compared in
    //   `spec_of`, whose memory `keeper` keeps. torch's memory may be uninitialized right after
    //   `Tensor::empty`: no byte is invalid for the element types that are read without a check.
    // - tch's tensors, and holds, may be dropped on any thread.
    // - Access is exclusive where torch allocated the memory and this is its only handle; read-only
    //   where memory came in so, and whoever gave it to torch has said by name that nobody will
    //   write, or where torch writes to a copy; else it is shared, so that safe Rust has no reference
    //   into it.
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

/// The torch tensor that a tensor kept by [`Held`] was made of, unless another handle has changed it
/// meanwhile: then the tensor comes back.
pub(super) fn released(tensor: ManagedTensor) -> Result<Tensor, ManagedTensor> {
    let (device, stream, access) = (tensor.device(), tensor.stream(), tensor.access());
    let (data, spec) = (tensor.first_element().cast(), tensor.spec());
    let same = |held: &Held| {
        let view = view_of(&held.tensor)?;
        let is_there = view.data == data || spec.layout.is_empty();
        let TensorSpec { data_type, layout } = spec_of(&view)?;
        let looks_so = data_type == spec.data_type
            && layout.shape() == spec.layout.shape()
            && layout.strides() == spec.layout.strides();
        Ok::<_, Error>(is_there && looks_so)
    };
    let held = tensor.into_owner::<Held>()?;
    if same(&held).unwrap_or(false) {
        return Ok(held.tensor);
    }
    let spec = TensorSpec { layout: spec.layout.at_byte_offset(0), ..spec };
    // SAFETY: the memory is the one that `held` was made to keep, and is as it was then.
    let again = unsafe { export_kept_by(held, Memory { data, spec, device, stream }, access) };
    Err(again.unwrap_or_else(|_| unreachable!("the same parts made a tensor before")))
}

/// Gives back the tensor that a torch tensor was made of, which is all that keeps it.
#[inline]
pub(super) fn export_imported(
    tensor: Tensor,
    view: &View,
    imported: ManuallyDrop<ManagedTensor>,
    stream: Option<Stream>,
) -> Result<ManagedTensor, Refused<Tensor>> {
    if shows_all_of(view, &imported) {
        return Ok(take_back(tensor, imported, stream));
    }
    let spec = or_refuse!(tensor, spec_of(view));
    Ok(take_back_changed(tensor, view, spec, imported, stream))
}

/// The tensor as it came in: memory of a vector is a vector's again. `stream` is the one that torch
/// works on, where it is on a device.
#[inline]
fn take_back(
    mut tensor: Tensor,
    imported: ManuallyDrop<ManagedTensor>,
    stream: Option<Stream>,
) -> ManagedTensor {
    // SAFETY: the shim said that nothing but this handle keeps the context; the torch tensor must
    // not be read any more, and is dropped.
    unsafe { shim::bridge_torch_release_context(tensor.as_mut_ptr().cast()) };
    drop(tensor);
    // Now that torch has no context any more, the tensor is ours alone.
    let back = ManuallyDrop::into_inner(imported).restore_read_only();
    // SAFETY: what torch did on a device is done behind its stream, which was made to wait for the one
    // that the tensor came in with; libtorch's streams live as long as it does. Memory of the host was
    // ready for everybody before it came in, and there libtorch has done what it returns from.
    unsafe { back.ready_on(stream) }
}

/// As [`take_back`], where torch has permuted or cut the tensor in place.
#[cold]
fn take_back_changed(
    tensor: Tensor,
    view: &View,
    spec: TensorSpec,
    imported: ManuallyDrop<ManagedTensor>,
    stream: Option<Stream>,
) -> ManagedTensor {
    let data = view.data;
    let whole = take_back(tensor, imported, stream);
    let (device, access) = (whole.device(), whole.access());
    // SAFETY: data and spec reach no further than the storage, which was the whole tensor's memory;
    // that one is the owner, may be dropped anywhere, and its access holds for its parts.
    let changed =
        unsafe { ManagedTensor::from_parts(data, spec, device, access, Owner::keep(whole)) };
    let changed = changed.unwrap_or_else(|_| unreachable!("spec_of has checked the layout's span"));
    // SAFETY: it is the stream of the tensor that the owner keeps.
    unsafe { changed.ready_on(stream) }
}
