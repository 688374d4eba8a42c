//! Making torch tensors over the memory of tensors.

use std::ffi::c_void;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{self, NonNull};

use bridge_core::{
    Access, DataType, DeviceKind, Error, Layout, ManagedTensor, Refused, Result, Strides,
    TensorError,
};
use tch::Tensor;

use crate::data_types::{DATA_TYPES, scalar_type_of};
use crate::devices::ordinal;
use crate::shim::{self, Work, device_type};
use crate::streams::wait_for;

/// Makes a torch tensor over the memory of a tensor, which it keeps.
#[inline]
pub(super) fn import_memory(tensor: ManagedTensor) -> Result<Tensor, Refused<ManagedTensor>> {
    let ready = check(&tensor).and_then(|checked| {
        wait_for(tensor.device(), tensor.stream())?;
        Ok(checked)
    });
    let Checked { scalar_type, device_type, device_index, bytes } = or_refuse!(tensor, ready);
    let data = if bytes == 0 { ptr::null_mut() } else { tensor.first_element().cast() };
    let kept = ManuallyDrop::new(tensor);
    let layout = kept.layout();
    let normal = normal_strides(layout);
    let strides = normal.as_deref().unwrap_or(layout.strides());
    // SAFETY: `kept` is dropped only where it is handed back, and the context is not used then.
    let context = unsafe { ptr::read(&raw const *kept) }.into_raw();
    let mut made = ptr::null_mut();
    // SAFETY:
    // - Sizes and strides are `rank` values each, 8 bytes wide on this target; extents are at most
    //   `isize::MAX`. The shim copies them.
    // - The elements lie in `bytes` bytes from `data` on, none before it, which stay valid until
    //   the tensor is dropped, as `release` does.
    // - The tensor is libtorch's where the call succeeds, and ours again where it fails.
    let status = unsafe {
        shim::bridge_torch_wrap(
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
pub(super) unsafe extern "C" fn release(context: *mut c_void) {
    let Some(context) = NonNull::new(context) else {
        return;
    };
    // SAFETY: the context is a tensor that `import_memory` has handed over, once.
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
        (device_type::CUDA, ordinal(device)?)
    } else {
        tensor.require_host()?;
        (device_type::CPU, -1)
    };
    if tensor.access() == Access::ReadOnly {
        return Err(Error::Tensor(TensorError::NotWritable {
            what: "a torch tensor of this memory",
            reason: "the memory is read-only, which torch ignores; copy it (CopyPolicy::IfNeeded), or \
                     say by name that nobody will write (Options::ignore_read_only)",
        }));
    }
    if !layout.has_no_negative_strides() {
        return Err(Error::Tensor(TensorError::InvalidLayout {
            reason: format!("torch has no negative strides, here: {layout:?}; copy it first"),
        }));
    }
    let needed = data_type.alignment();
    if !layout.is_empty() && !tensor.first_element().addr().is_multiple_of(needed) {
        return Err(Error::Tensor(TensorError::InvalidTensor {
            reason: format!(
                "the data pointer is not aligned to {needed} bytes for {data_type}; copy it first"
            ),
        }));
    }
    let bytes = layout.span(data_type)?.end.unsigned_abs();
    Ok(Checked { scalar_type, device_type, device_index, bytes })
}

#[cold]
pub(super) fn lacks(data_type: DataType) -> Error {
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
