//! Whoever hands a descriptor over: its memory, and the deleter that counts.

use std::ffi::c_void;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arraybridge::dlpack::{DLManagedTensor, DLManagedTensorVersioned, DLPackVersion, DLTensor};
use arraybridge::{Access, ManagedTensor, Owner, TensorError};
use dlpark::DlpackFlags;
use dlpark::ffi::{DLDataType, DLDataTypeCode, DLDevice, DLDeviceType};

use super::descriptor::{Descriptor, IS_COPIED, READ_ONLY, Verdict, Way};

/// The most bytes of a buffer.
const BUFFER: usize = 1 << 10;

/// A descriptor and the memory that it leads to.
pub struct Producer {
    descriptor: Descriptor,
    kept: Box<Kept>,
    header: DLTensor,
    /// Where in the buffer the data pointer leads to.
    data: usize,
}

/// What lives until the deleter runs.
struct Kept {
    buffer: Box<[u8]>,
    shape: Box<[i64]>,
    strides: Box<[i64]>,
    deleted: Arc<AtomicUsize>,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.deleted.fetch_add(1, Ordering::SeqCst);
    }
}

/// What is known of the memory after it was handed over.
pub struct Memory {
    pub bytes: Vec<u8>,
    /// The address of the first byte.
    pub start: usize,
    /// Where in it the element is whose indices are all zero.
    pub first: usize,
}

/// How often the deleter has run.
pub struct Deletion {
    count: Arc<AtomicUsize>,
    /// What nobody deletes, as there is no deleter.
    left: Option<Left>,
    expected: usize,
}

enum Left {
    Versioned(*mut DLManagedTensorVersioned),
    Legacy(*mut DLManagedTensor),
}

impl Producer {
    /// Lays memory under a descriptor: all its elements, or no memory that matters where it has to be refused.
    /// `None` where neither can be.
    pub fn new(descriptor: &Descriptor, verdict: &Verdict) -> Option<Self> {
        let descriptor = descriptor.clone();
        let (length, data) = match verdict {
            Verdict::Unread | Verdict::Refused => (BUFFER, 0),
            Verdict::Within(extent) if extent.count == 0 => (0, 0),
            Verdict::Within(extent) => {
                let offset = i128::from(descriptor.byte_offset);
                // As far on as the lowest element is before it.
                let data = usize::try_from(-(offset + extent.low).min(0)).ok()?;
                let length = usize::try_from(data as i128 + offset + extent.high).ok()?;
                (length, data)
            }
        };
        if length > BUFFER || data > length {
            return None;
        }
        let content = descriptor.content.iter().copied().cycle();
        let content = content.chain(std::iter::repeat(1)).take(length);
        let mut kept = Box::new(Kept {
            buffer: content.collect(),
            shape: descriptor.shape.clone().into(),
            strides: descriptor.strides.clone().into(),
            deleted: Arc::default(),
        });
        let nowhere = matches!(verdict, Verdict::Unread);
        let header = DLTensor {
            data: match descriptor.nulls.data {
                true => ptr::null_mut(),
                false if nowhere => ptr::without_provenance_mut(8),
                false => kept.buffer.as_mut_ptr().wrapping_add(data).cast(),
            },
            device: DLDevice {
                device_type: DLDeviceType(descriptor.device.0),
                device_id: descriptor.device.1,
            },
            ndim: descriptor.rank,
            dtype: DLDataType::new(
                DLDataTypeCode(descriptor.code),
                descriptor.bits,
                descriptor.lanes,
            ),
            shape: axes(&mut kept.shape, descriptor.nulls.shape, nowhere),
            strides: axes(&mut kept.strides, descriptor.nulls.strides, nowhere),
            byte_offset: descriptor.byte_offset,
        };
        Some(Self { descriptor, kept, header, data })
    }

    /// The memory as it is handed over.
    pub fn memory(&self) -> Memory {
        let buffer = &self.kept.buffer;
        let offset = usize::try_from(self.descriptor.byte_offset).unwrap_or(0);
        Memory {
            bytes: buffer.to_vec(),
            start: buffer.as_ptr().addr(),
            first: self.data.wrapping_add(offset),
        }
    }

    /// Hands the descriptor over.
    pub fn import(self) -> (Result<ManagedTensor, TensorError>, Deletion) {
        let Self { descriptor, kept, header, .. } = self;
        let count = Arc::clone(&kept.deleted);
        if descriptor.nulls.descriptor {
            // SAFETY: null is allowed.
            let imported = unsafe {
                match descriptor.way {
                    Way::Versioned => ManagedTensor::from_dlpack(ptr::null_mut()),
                    _ => ManagedTensor::from_dlpack_legacy(ptr::null_mut()),
                }
            };
            // It is dropped here.
            return (imported, Deletion { count, left: None, expected: 1 });
        }
        let lacks_deleter = descriptor.nulls.deleter;
        let (imported, left) = match descriptor.way {
            Way::Header => {
                let access = match descriptor.flags & 3 {
                    READ_ONLY => Access::ReadOnly,
                    IS_COPIED => Access::Exclusive,
                    _ => Access::Shared,
                };
                // SAFETY:
                // - The header leads to `ndim` values of shape and strides, which the owner keeps, or is
                //   refused for its rank.
                // - Its elements lie in the buffer, which the owner keeps and nobody else uses, or it is
                //   refused.
                let imported = unsafe {
                    ManagedTensor::from_dlpack_header(&header, access, Owner::keep(kept))
                };
                return (imported, Deletion { count, left: None, expected: 1 });
            }
            Way::Versioned => {
                let raw = Box::into_raw(Box::new(DLManagedTensorVersioned {
                    version: DLPackVersion {
                        major: descriptor.version.0,
                        minor: descriptor.version.1,
                    },
                    manager_ctx: Box::into_raw(kept).cast::<c_void>(),
                    deleter: (!lacks_deleter).then_some(delete as _),
                    flags: DlpackFlags::from_bits_retain(descriptor.flags),
                    dl_tensor: header,
                }));
                // SAFETY:
                // - `raw` is owned and handed over; shape and strides are those of the header, as above.
                // - The elements lie in the buffer, which lives until the deleter runs (without one, until
                //   the tensor has been dropped) and which nobody else uses, or it is refused.
                // - The deleter frees boxes, which any thread may, and does not unwind.
                (unsafe { ManagedTensor::from_dlpack(raw) }, Left::Versioned(raw))
            }
            Way::Legacy => {
                let raw = Box::into_raw(Box::new(DLManagedTensor {
                    dl_tensor: header,
                    manager_ctx: Box::into_raw(kept).cast::<c_void>(),
                    deleter: (!lacks_deleter).then_some(delete_legacy as _),
                }));
                // SAFETY: as above.
                (unsafe { ManagedTensor::from_dlpack_legacy(raw) }, Left::Legacy(raw))
            }
        };
        let left = lacks_deleter.then_some(left);
        (imported, Deletion { count, left, expected: usize::from(!lacks_deleter) })
    }
}

/// A pointer to as many values as there are axes.
fn axes(values: &mut [i64], is_null: bool, nowhere: bool) -> *mut i64 {
    match is_null {
        true => ptr::null_mut(),
        false if nowhere => ptr::without_provenance_mut(8),
        false => values.as_mut_ptr(),
    }
}

impl Deletion {
    pub fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    /// How often it has run in the end.
    pub fn expected(&self) -> usize {
        self.expected
    }
}

impl Drop for Deletion {
    fn drop(&mut self) {
        // SAFETY: without a deleter the producer keeps what it has handed over; the tensor has been dropped.
        match self.left.take() {
            Some(Left::Versioned(raw)) => unsafe { delete(raw) },
            Some(Left::Legacy(raw)) => unsafe { delete_legacy(raw) },
            None => {}
        }
    }
}

/// # Safety
///
/// `raw` is what [`Producer::import`] made, and this is called once.
unsafe extern "C" fn delete(raw: *mut DLManagedTensorVersioned) {
    // SAFETY: it and its context are boxes that were leaked, of these types.
    unsafe {
        let header = Box::from_raw(raw);
        drop(Box::from_raw(header.manager_ctx.cast::<Kept>()));
    }
}

/// # Safety
///
/// As [`delete`].
unsafe extern "C" fn delete_legacy(raw: *mut DLManagedTensor) {
    // SAFETY: as in `delete`.
    unsafe {
        let header = Box::from_raw(raw);
        drop(Box::from_raw(header.manager_ctx.cast::<Kept>()));
    }
}
