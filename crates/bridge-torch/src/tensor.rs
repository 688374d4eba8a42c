//! `tch::Tensor` in and out.

use std::ffi::c_void;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{self, NonNull};

use bridge_core::{
    Accepts, Access, DataType, Description, Device, DeviceKind, Error, Layout, LayoutRule,
    ManagedTensor, NativeArray, Owner, Ownership, Refused, Result, Stream, Strides, TensorSpec,
    alignment_of,
};
use tch::Tensor;

use crate::backend::Torch;
use crate::data_types::{DATA_TYPES, data_type_of, scalar_type_of};
use crate::shim::{self, View, Work, device_type};
use crate::{cuda, obstacles};

#[cfg(not(target_pointer_width = "64"))]
compile_error!("libtorch's 64-bit extents are read as Rust's own: this needs a 64-bit target");

/// Where torch's tensors can be. Pinned and managed memory is host memory to it.
const DEVICE_KINDS: &[DeviceKind] = &[
    DeviceKind::Cpu,
    DeviceKind::CudaHost,
    DeviceKind::RocmHost,
    DeviceKind::CudaManaged,
    DeviceKind::Cuda,
];

impl NativeArray<Torch> for Tensor {
    const ACCEPTS: Accepts =
        Accepts::on(DEVICE_KINDS, DATA_TYPES).layout(LayoutRule::Forward).ignores_read_only();

    fn backend() -> &'static Torch {
        &Torch
    }

    fn describe(&self) -> Result<Description> {
        let view = view_of(self, false)?;
        let parts = Parts::of(&view)?;
        let (device, access, ownership) = match lender_of(&view) {
            Some(lender) if view.is_alone() => {
                let ownership = match parts.are_those_of(&lender) {
                    true => lender.describe().ownership,
                    false => Ownership::Kept,
                };
                (lender.device(), access_of(&lender), ownership)
            }
            lender => (parts.device, access_beside_others(&view, lender), Ownership::Kept),
        };
        let Parts { data, spec: TensorSpec { data_type, layout }, .. } = parts;
        let alignment = alignment_of(data);
        Ok(Description { data_type, device, layout, access, ownership, alignment, owner: None })
    }

    fn export(self) -> Result<ManagedTensor, Refused<Self>> {
        let viewed = view_of(&self, true).and_then(|view| {
            let parts = Parts::of(&view)?;
            let stream = cuda::current_stream(parts.device)?;
            Ok((view, parts, stream))
        });
        let (view, parts, stream) = match viewed {
            Ok(viewed) => viewed,
            Err(error) => return Err(Refused::new(self, error)),
        };
        match lender_of(&view) {
            Some(lender) if view.is_alone() => Ok(taken_back(self, parts, lender, stream)),
            None if view.is_lazily_copied() => pinned(self, parts, stream),
            lender => exported(self, parts, access_beside_others(&view, lender), stream),
        }
    }

    #[inline]
    fn import(tensor: ManagedTensor) -> Result<Self, Refused<ManagedTensor>> {
        if tensor.is_kept_by::<Self>() {
            return tensor.into_owner().or_else(adopted);
        }
        if tensor.is_kept_by::<Pinned>() {
            return tensor.into_owner().map(|Pinned { tensor, .. }| tensor).or_else(adopted);
        }
        adopted(tensor)
    }
}

/// What the shim says of a tensor; a refusal where it is no plain memory.
#[inline]
fn view_of(tensor: &Tensor, handing_over: bool) -> Result<View> {
    let mut view = MaybeUninit::uninit();
    let handle = shim::handle_of(tensor);
    // SAFETY: the handle is tch's own, and alive while `tensor` is borrowed; the shim writes the
    // whole view, whatever it returns.
    let (status, view) = unsafe {
        let status = shim::bridge_torch_view(handle, handing_over, release, view.as_mut_ptr());
        (status, view.assume_init())
    };
    let device = || device_of(&view).unwrap_or(Device::CPU);
    shim::check(status, || Work { operation: "describe a tensor", device: device(), bytes: 0 })?;
    if view.obstacles == 0 { Ok(view) } else { Err(obstacles::refusal(view.obstacles)) }
}

/// A view, checked and in our words.
struct Parts {
    data: *mut c_void,
    spec: TensorSpec,
    device: Device,
}

impl Parts {
    #[inline(always)]
    fn of(view: &View) -> Result<Self> {
        let device = device_of(view)?;
        let data_type = data_type_of(view.scalar_type)?;
        let rank = usize::try_from(view.rank).unwrap_or(0);
        let (sizes, strides): (&[usize], &[isize]) = if rank == 0 {
            (&[], &[])
        } else {
            // SAFETY: the view points to `rank` sizes and strides of the tensor, which is borrowed
            // as long as they are read. torch's sizes are never negative, so that an `i64` is a
            // `usize` of the same value; on this target all three have 8 bytes.
            unsafe {
                (
                    std::slice::from_raw_parts(view.sizes.cast(), rank),
                    std::slice::from_raw_parts(view.strides.cast(), rank),
                )
            }
        };
        let layout = Layout::new(sizes, strides, 0)?;
        let span = layout.span(data_type)?;
        if span.start < 0 || span.end.unsigned_abs() > view.available {
            return Err(Error::InvalidTensor {
                reason: format!(
                    "{layout:?} of {data_type} takes {} bytes, and the torch tensor's storage has {}",
                    span.end, view.available
                ),
            });
        }
        Ok(Self { data: view.data, spec: TensorSpec { data_type, layout }, device })
    }

    /// Whether torch has left the elements of the tensor it was made of as they were.
    fn are_those_of(&self, lender: &ManagedTensor) -> bool {
        let Self { data, spec, .. } = self;
        lender.data_type() == spec.data_type
            && lender.layout().clone().at_byte_offset(0).is_same_as(&spec.layout)
            && (spec.layout.is_empty() || lender.first_element().cast() == *data)
    }
}

#[inline]
fn device_of(view: &View) -> Result<Device> {
    match view.device_type {
        device_type::CPU => Ok(Device::CPU),
        device_type::CUDA => Ok(Device::cuda(u32::try_from(view.device_index).unwrap_or(0))),
        other => Err(Error::Unsupported {
            what: format!("a torch tensor on a device of torch's type number {other}"),
            remedy: "move it first, with to_device(tch::Device::Cpu)".to_owned(),
        }),
    }
}

/// The tensor that a torch tensor's storage was made of, to be looked at.
#[inline]
fn lender_of(view: &View) -> Option<ManuallyDrop<ManagedTensor>> {
    let context = NonNull::new(view.context)?;
    // SAFETY: the shim gives out contexts of `release` only, which are the tensors of `adopted`; this
    // one is kept by the storage of the torch tensor that was viewed. It is not dropped here, and
    // other threads that view the same storage only look at it too.
    Some(ManuallyDrop::new(unsafe { ManagedTensor::from_raw(context) }))
}

/// Who may write what torch gives back: as when it came in.
fn access_of(lender: &ManagedTensor) -> Access {
    if lender.has_read_only_ignored() { Access::ReadOnly } else { lender.access() }
}

/// Who may write memory that other handles of torch hold too.
#[inline]
fn access_beside_others(view: &View, lender: Option<ManuallyDrop<ManagedTensor>>) -> Access {
    let read_only = lender.is_some_and(|lender| lender.has_read_only_ignored());
    if read_only || view.is_lazily_copied() { Access::ReadOnly } else { Access::Shared }
}

#[inline]
fn exported<T: Send + 'static>(
    keeper: T,
    Parts { data, spec, device }: Parts,
    access: Access,
    stream: Option<Stream>,
) -> Result<ManagedTensor, Refused<T>> {
    let owner = Owner::keep(keeper);
    // SAFETY:
    // - Sizes and strides are the tensor's own and reach no further than its storage, compared in
    //   `Parts::of`, which `keeper` keeps alive: a torch tensor, or `Pinned`; no other handle can let
    //   the storage grow, and so move, once it is handed over. torch's memory may be uninitialized right after `Tensor::empty`: no byte is invalid for the element types that are
    //   read without a check.
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
struct Pinned {
    tensor: Tensor,
    /// A handle with a storage of its own, which is never written: with it the memory stays where
    /// it is when the others get theirs.
    _memory: Tensor,
}

/// Hands a lazily copied tensor over, to be read: writing would take the copy that nobody asked for.
#[cold]
fn pinned(
    tensor: Tensor,
    parts: Parts,
    stream: Option<Stream>,
) -> Result<ManagedTensor, Refused<Tensor>> {
    let mut made = ptr::null_mut();
    // SAFETY: the handle is tch's own; the shim writes `made` where it succeeds.
    let status = unsafe { shim::bridge_torch_pin(shim::handle_of(&tensor), &raw mut made) };
    let work = || Work { operation: "pin a lazily copied tensor", device: parts.device, bytes: 0 };
    if let Err(error) = shim::check(status, work) {
        return Err(Refused::new(tensor, error));
    }
    // SAFETY: the shim has made it just now.
    let _memory = unsafe { shim::tensor_of(made) };
    let pinned = Pinned { tensor, _memory };
    exported(pinned, parts, Access::ReadOnly, stream)
        .map_err(|refused| refused.map(|Pinned { tensor, .. }| tensor))
}

/// Gives back the tensor that a torch tensor was made of, which is all that keeps it: memory of a
/// vector is a vector's again. `stream` is the one that torch works on, where it is on a device.
fn taken_back(
    mut tensor: Tensor,
    parts: Parts,
    lender: ManuallyDrop<ManagedTensor>,
    stream: Option<Stream>,
) -> ManagedTensor {
    let unchanged = parts.are_those_of(&lender);
    // SAFETY: the shim said that nothing but this handle keeps the context; the torch tensor must
    // not be read any more, and is dropped.
    unsafe { shim::bridge_torch_disown(tensor.as_mut_ptr().cast()) };
    drop(tensor);
    // Once disowned, the tensor is ours alone.
    let lender = ManuallyDrop::into_inner(lender).heeding_read_only();
    let (device, access) = (lender.device(), lender.access());
    let back = if unchanged {
        lender
    } else {
        // torch has permuted or cut it in place.
        let Parts { data, spec, .. } = parts;
        // SAFETY: the parts reach no further than the storage, which was the lender's memory; that
        // one is the owner, may be dropped anywhere, and its access holds for its parts.
        let changed =
            unsafe { ManagedTensor::from_parts(data, spec, device, access, Owner::keep(lender)) };
        changed.unwrap_or_else(|_| unreachable!("the layout's span was checked in Parts::of"))
    };
    // SAFETY: what torch did on a device is done behind its stream, which was made to wait for the one
    // that the tensor came in with; libtorch's streams live as long as it does. Memory of the host was
    // ready for everybody before it came in, and there libtorch has done what it returns from.
    unsafe { back.ready_on(stream) }
}

/// Makes a torch tensor over the memory of any tensor that torch takes.
#[inline]
fn adopted(tensor: ManagedTensor) -> Result<Tensor, Refused<ManagedTensor>> {
    let ready = check(&tensor).and_then(|checked| {
        cuda::wait_for(tensor.device(), tensor.stream())?;
        Ok(checked)
    });
    let Checked { scalar_type, device_type, device_index, bytes } = match ready {
        Ok(checked) => checked,
        Err(error) => return Err(Refused::new(tensor, error)),
    };
    let data = if bytes == 0 { ptr::null_mut() } else { tensor.first_element().cast() };
    let kept = ManuallyDrop::new(tensor);
    let layout = kept.layout();
    let normal = normal_strides(layout);
    let strides = normal.as_deref().unwrap_or(layout.strides());
    // SAFETY: `kept` is never dropped but where it is handed back, and the context is not used then.
    let context = unsafe { ptr::read(&raw const *kept) }.into_raw();
    let mut made = ptr::null_mut();
    // SAFETY:
    // - Sizes and strides are `rank` values each, 8 bytes wide on this target; extents are at most
    //   `isize::MAX`. The shim copies them.
    // - The elements lie in `bytes` bytes from `data` on, none before it, which stay valid until
    //   the tensor is dropped, as `release` does.
    // - The tensor is libtorch's where the call succeeds, and ours again where it fails.
    let status = unsafe {
        shim::bridge_torch_adopt(
            data,
            bytes,
            layout.shape().as_ptr().cast(),
            strides.as_ptr().cast(),
            layout.rank() as i64,
            scalar_type,
            device_type,
            device_index,
            context.as_ptr(),
            release,
            &raw mut made,
        )
    };
    let device = kept.device();
    match shim::check(status, || Work { operation: "make a tensor", device, bytes: bytes as u64 }) {
        // SAFETY: the shim has made it just now.
        Ok(()) => Ok(unsafe { shim::tensor_of(made) }),
        Err(error) => Err(Refused::new(ManuallyDrop::into_inner(kept), error)),
    }
}

/// Lets go of a context: libtorch calls this once, on whichever thread.
unsafe extern "C" fn release(context: *mut c_void) {
    let Some(context) = NonNull::new(context) else {
        return;
    };
    // SAFETY: the context is a tensor that `adopted` has handed over, once.
    let kept = unsafe { ManagedTensor::from_raw(context) };
    // A panic in an owner's `drop` must not cross into C++; nor may one in what it carries.
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(kept)))
        && let Err(another) = catch_unwind(AssertUnwindSafe(|| drop(panic)))
    {
        std::mem::forget(another);
    }
}

struct Checked {
    scalar_type: i32,
    device_type: i32,
    device_index: i32,
    /// From the first element to the end of the last.
    bytes: usize,
}

/// What `ACCEPTS` says, checked.
#[inline]
fn check(tensor: &ManagedTensor) -> Result<Checked> {
    let (data_type, device, layout) = (tensor.data_type(), tensor.device(), tensor.layout());
    let scalar_type = scalar_type_of(data_type).ok_or_else(|| lacks(data_type))?;
    let (device_type, device_index) = if device.kind() == DeviceKind::Cuda {
        (device_type::CUDA, cuda::ordinal(device)?)
    } else {
        tensor.require_host()?;
        (device_type::CPU, -1)
    };
    if tensor.access() == Access::ReadOnly {
        return Err(Error::NotWritable {
            what: "a torch tensor of this memory",
            reason: "the memory is read-only, which torch ignores; copy it (Copy::IfNeeded), or \
                     say by name that nobody will write (Options::ignore_read_only)",
        });
    }
    if !layout.has_no_negative_strides() {
        return Err(Error::InvalidLayout {
            reason: format!("torch has no negative strides, here: {layout:?}; copy it first"),
        });
    }
    let needed = data_type.alignment();
    if !layout.is_empty() && !tensor.first_element().addr().is_multiple_of(needed) {
        return Err(Error::InvalidTensor {
            reason: format!(
                "the data pointer is not aligned to {needed} bytes for {data_type}; copy it first"
            ),
        });
    }
    let bytes = layout.span(data_type)?.end.unsigned_abs();
    Ok(Checked { scalar_type, device_type, device_index, bytes })
}

#[cold]
fn lacks(data_type: DataType) -> Error {
    Error::UnsupportedDataType {
        target: "torch",
        data_type,
        supported: DATA_TYPES.to_vec(),
        remedy: data_type.narrowest_holding(DATA_TYPES),
    }
}

/// The strides for a layout whose own are negative where they mean nothing, which torch refuses.
#[inline]
fn normal_strides(layout: &Layout) -> Option<Strides> {
    let refused = layout.strides().iter().any(|&stride| stride < 0);
    refused.then(|| layout.strides().iter().map(|&stride| stride.max(0)).collect())
}

#[cfg(test)]
mod tests;

/// Compiles as long as torch's tensors move between threads and are not shared by them: `docs/torch.md`
/// and the SAFETY arguments here say both.
const _: () = {
    const fn is_send<T: Send>() {}
    is_send::<Tensor>();

    trait AmbiguousIfSync<A> {
        const IS_NOT: () = ();
    }
    impl<T> AmbiguousIfSync<()> for T {}
    struct Sharing;
    impl<T: Sync> AmbiguousIfSync<Sharing> for T {}
    let () = <Tensor as AmbiguousIfSync<_>>::IS_NOT;
};
