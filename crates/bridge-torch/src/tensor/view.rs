//! Looking at torch's tensors.

use std::mem::{ManuallyDrop, MaybeUninit};
use std::ptr::NonNull;

use bridge_core::{Access, Device, Error, Layout, ManagedTensor, Result, TensorError, TensorSpec};
use tch::Tensor;

use super::import::release;
use crate::data_types::data_type_of;
use crate::obstacles;
use crate::shim::{self, View, Work, device_type};

/// What the shim says of a tensor; a refusal where it is no plain memory.
#[inline]
pub(super) fn view_of(tensor: &Tensor) -> Result<View> {
    let mut view = MaybeUninit::uninit();
    let handle = shim::handle_of(tensor);
    // SAFETY: the handle is tch's own, and alive while `tensor` is borrowed; the shim writes the
    // whole view, whatever it returns.
    let (status, view) = unsafe {
        let status = shim::bridge_torch_view(handle, release, view.as_mut_ptr());
        (status, view.assume_init())
    };
    let device = || device_of(&view).unwrap_or(Device::CPU);
    shim::check(status, || Work { operation: "describe a tensor", device: device(), bytes: 0 })?;
    if view.obstacles == 0 { Ok(view) } else { Err(obstacles::refusal(view.obstacles)) }
}

/// Sizes and strides of a viewed tensor.
#[inline(always)]
pub(super) fn axes_of(view: &View) -> (&[usize], &[isize]) {
    let rank = usize::try_from(view.rank).unwrap_or(0);
    if rank == 0 {
        return (&[], &[]);
    }
    // SAFETY: the view points to `rank` sizes and strides of the tensor, whose handle every caller
    // keeps as long as they are read. torch's sizes are never negative, so that an `i64` is a `usize`
    // of the same value; on this target all three have 8 bytes.
    unsafe {
        (
            std::slice::from_raw_parts(view.sizes.cast(), rank),
            std::slice::from_raw_parts(view.strides.cast(), rank),
        )
    }
}

/// Element type and layout of a viewed tensor, which reach no further than its storage.
#[inline(always)]
pub(super) fn spec_of(view: &View) -> Result<TensorSpec> {
    let data_type = data_type_of(view.scalar_type)?;
    let (sizes, strides) = axes_of(view);
    let layout = Layout::new(sizes, strides, 0)?;
    let span = layout.span(data_type)?;
    if span.start < 0 || span.end.unsigned_abs() > view.available {
        return Err(Error::Tensor(TensorError::InvalidTensor {
            reason: format!(
                "{layout:?} of {data_type} takes {} bytes, and the torch tensor's storage has {}",
                span.end, view.available
            ),
        }));
    }
    Ok(TensorSpec { data_type, layout })
}

/// Whether torch has left element type and layout of the tensor that it was made of as they were.
#[inline]
pub(super) fn shows_all_of(view: &View, imported: &ManagedTensor) -> bool {
    let (sizes, strides) = axes_of(view);
    let layout = imported.layout();
    let mut axes = sizes.iter().zip(strides).zip(layout.strides());
    data_type_of(view.scalar_type).is_ok_and(|data_type| data_type == imported.data_type())
        && layout.shape() == sizes
        && (layout.is_empty()
            || (imported.first_element().cast() == view.data
                && axes.all(|((&size, stride), before)| size <= 1 || stride == before)))
}

#[inline]
pub(super) fn device_of(view: &View) -> Result<Device> {
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
pub(super) fn imported_of(view: &View) -> Option<ManuallyDrop<ManagedTensor>> {
    let context = NonNull::new(view.context)?;
    // SAFETY: the shim gives out contexts of `release` only, which are the tensors of `import_memory`; this
    // one is kept by the storage of the torch tensor that was viewed. It is not dropped here, and
    // other threads that view the same storage only look at it too.
    Some(ManuallyDrop::new(unsafe { ManagedTensor::from_raw(context) }))
}

/// Who may write what torch gives back: as when it came in.
pub(super) fn access_of(imported: &ManagedTensor) -> Access {
    if imported.is_read_only_ignored() { Access::ReadOnly } else { imported.access() }
}

/// Who may write memory that other handles of torch hold too.
#[inline]
pub(super) fn access_beside_others(
    view: &View,
    imported: Option<ManuallyDrop<ManagedTensor>>,
) -> Access {
    let read_only = imported.is_some_and(|imported| imported.is_read_only_ignored());
    if read_only || view.is_lazily_copied() { Access::ReadOnly } else { Access::Shared }
}
