//! Forged DLPack tensors: headers that break the standard's rules.

use bridge_core::dlpack::DLManagedTensorVersioned;
use bridge_core::{ManagedTensor, Result};

use crate::DropCounter;
use crate::foreign::ForeignTensor;

/// What is done to a header.
pub type Forge = fn(&mut DLManagedTensorVersioned);

/// Forgeries of a tensor of two axes that break a rule each, and a word of the refusal.
///
/// tensorflow#116201, mohu#328: negative extents; mlx#3476: no shape; MatX#1204: no data.
pub const RULE_BREAKERS: [(&str, Forge); 8] = [
    ("extent of axis 0 is -1", |header| *first_extent(header) = -1),
    ("extent of axis 0 is -9", |header| *first_extent(header) = i64::MIN),
    ("shape is null", |header| header.dl_tensor.shape = std::ptr::null_mut()),
    ("data pointer is null", |header| header.dl_tensor.data = std::ptr::null_mut()),
    ("strides are null", |header| header.dl_tensor.strides = std::ptr::null_mut()),
    ("rank is -2", |header| header.dl_tensor.ndim = -2),
    ("address space", |header| *first_extent(header) = i64::MAX / 2),
    ("byte offset", |header| header.dl_tensor.byte_offset = u64::MAX),
];

fn first_extent(header: &mut DLManagedTensorVersioned) -> &mut i64 {
    // SAFETY: the table is for tensors of two axes, whose shapes have two extents.
    unsafe { &mut *header.dl_tensor.shape }
}

/// What `ManagedTensor::from_dlpack` makes of `tensor` after a producer has handed it over with a header
/// that `forge` has changed; `drops` counts how often the producer is told that it is not needed
/// any more.
///
/// # Errors
///
/// As [`ManagedTensor::from_dlpack`].
///
/// # Safety
///
/// Where the forgery keeps the rules, what the header points to is there; the forgeries of
/// [`RULE_BREAKERS`] are done to tensors of two axes.
pub unsafe fn forged(
    tensor: ManagedTensor,
    drops: &DropCounter,
    forge: Forge,
) -> Result<ManagedTensor> {
    let raw = ForeignTensor::of(tensor, drops).into_raw();
    // SAFETY: the tensor is owned here, and the caller promises what it points to.
    unsafe {
        forge(&mut *raw);
        Ok(ManagedTensor::from_dlpack(raw)?)
    }
}
