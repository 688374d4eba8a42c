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
        let Parts { data, spec: TensorSpec { data_type, layout }, device } = Parts::of(&view)?;
        let (access, ownership) = match context_of(&view) {
            Some(kept) => (kept.access(), kept.describe().ownership),
            None => (Access::Shared, Ownership::Kept),
        };
        Ok(Description {
            data_type,
            device,
            alignment: alignment_of(data),
            layout,
            access,
            ownership,
            owner: None,
        })
    }

    fn export(self) -> Result<ManagedTensor, Refused<Self>> {
        let view = match view_of(&self, true) {
            Ok(view) => view,
            Err(error) => return Err(Refused::new(self, error)),
        };
        let parts = match Parts::of(&view) {
            Ok(parts) => parts,
            Err(error) => return Err(Refused::new(self, error)),
        };
        match (context_of(&view), cuda::current_stream(parts.device)) {
            (_, Err(error)) => Err(Refused::new(self, error)),
            (Some(kept), Ok(_)) => Ok(taken_back(self, parts, kept)),
            (None, Ok(stream)) => exported(self, parts, stream),
        }
    }

    #[inline]
    fn import(tensor: ManagedTensor) -> Result<Self, Refused<ManagedTensor>> {
        if tensor.is_kept_by::<Self>() {
            return tensor.into_owner().or_else(adopted);
        }
        adopted(tensor)
    }
}

/// What the shim says of a tensor; a refusal where it is no plain memory.
#[inline]
fn view_of(tensor: &Tensor, for_writing: bool) -> Result<View> {
    let mut view = MaybeUninit::uninit();
    let handle = shim::handle_of(tensor);
    // SAFETY: the handle is tch's own, and alive while `tensor` is borrowed; the shim writes the
    // whole view, whatever it returns.
    let (status, view) = unsafe {
        let status = shim::bridge_torch_view(handle, for_writing, release, view.as_mut_ptr());
        (status, view.assume_init())
    };
    let work = Work { operation: "describe a tensor", device: Device::CPU, bytes: 0 };
    work.check(status)?;
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

/// The tensor that a torch tensor was made of, to be looked at, where the torch tensor is all that
/// keeps it.
fn context_of(view: &View) -> Option<ManuallyDrop<ManagedTensor>> {
    let context = NonNull::new(view.context)?;
    // SAFETY: the shim gives out contexts of `release` only, which are the tensors of `adopted`; this
    // one is kept by the torch tensor that was viewed, and by nothing else. It is not dropped here.
    Some(ManuallyDrop::new(unsafe { ManagedTensor::from_raw(context) }))
}

#[inline]
fn exported(
    tensor: Tensor,
    Parts { data, spec, device }: Parts,
    stream: Option<Stream>,
) -> Result<ManagedTensor, Refused<Tensor>> {
    let owner = Owner::keep(tensor);
    // SAFETY:
    // - Sizes and strides are the tensor's own and reach no further than its storage, compared in
    //   `Parts::of`, which the tensor keeps alive. torch's memory may be uninitialized right after
    //   `Tensor::empty`: no byte is invalid for the element types that are read without a check.
    // - tch's tensors may be dropped on any thread.
    // - Access is shared. In-place operations of torch on another handle of the storage, which safe
    //   code could run while a view is read, are excluded by the contract that `bridge_core`'s front
    //   page states for all frameworks.
    let tensor = unsafe { ManagedTensor::from_parts(data, spec, device, Access::Shared, owner) };
    match tensor {
        // SAFETY: the stream is libtorch's current one on the device, behind which the data is ready.
        Ok(tensor) => Ok(unsafe { tensor.ready_on(stream) }),
        Err(refused) => Err(refused.map(|owner| match owner.into_kept() {
            Ok(tensor) => tensor,
            Err(_) => unreachable!("the owner was made of this tensor"),
        })),
    }
}

/// Gives back the tensor that a torch tensor was made of: memory of a vector is a vector's again.
fn taken_back(
    mut tensor: Tensor,
    parts: Parts,
    kept: ManuallyDrop<ManagedTensor>,
) -> ManagedTensor {
    // SAFETY: the shim gave the context out because nothing but this handle keeps it; the torch
    // tensor must not be read any more, and is dropped.
    unsafe { shim::bridge_torch_disown(tensor.as_mut_ptr().cast()) };
    drop(tensor);
    // Once disowned, the tensor is ours alone.
    let kept = ManuallyDrop::into_inner(kept);
    let Parts { data, spec, device } = parts;
    let unchanged = kept.data_type() == spec.data_type
        && kept.layout().clone().at_byte_offset(0).is_same_as(&spec.layout)
        && (spec.layout.is_empty() || kept.first_element().cast() == data);
    if unchanged {
        return kept;
    }
    // torch has permuted or cut it in place.
    let access = kept.access();
    // SAFETY: the parts reach no further than the storage, which was the kept tensor's memory; that
    // one is the owner, may be dropped anywhere, and its access holds for its parts.
    let changed =
        unsafe { ManagedTensor::from_parts(data, spec, device, access, Owner::keep(kept)) };
    changed.unwrap_or_else(|_| unreachable!("the layout's span was checked in Parts::of"))
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
    let work = Work { operation: "make a tensor", device: Device::CPU, bytes: 0 };
    match work.check(status) {
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
