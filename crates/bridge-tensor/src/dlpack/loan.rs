//! A header over a tensor that its lender keeps, for as long as the borrower does not let go of it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;

use dlpark::DlpackFlags;
use dlpark::ffi::{DLDataType, DLDataTypeCode, DLDevice, DLDeviceType, DLTensor};

use super::{DLManagedTensorVersioned, VERSION};
use crate::tensor::{Access, SharedTensor};

/// The header and what keeps its tensor, in one allocation.
#[repr(C)]
struct Loan {
    header: DLManagedTensorVersioned,
    tensor: SharedTensor,
}

impl SharedTensor {
    /// Hands out a versioned DLPack tensor over this one, as writable as this one is: what a consumer that
    /// may refuse is given, while the lender can still give the tensor back to somebody else. Nothing is copied but
    /// the header; shape and strides stay where they are. Its deleter must be run once, on any thread.
    ///
    /// # Safety
    ///
    /// As long as the deleter has not run, nobody uses the memory through this tensor, its clones or its aliases as
    /// if what the consumer makes of it did not exist.
    #[cfg(target_pointer_width = "64")]
    pub unsafe fn lend_dlpack(&self) -> NonNull<DLManagedTensorVersioned> {
        let (layout, device, data_type) = (self.layout(), self.device(), self.data_type());
        let (data, byte_offset) = match device.kind().has_addresses() {
            _ if layout.is_empty() => (std::ptr::null_mut(), 0),
            true => (self.first_element().cast(), 0),
            false => (self.data(), layout.byte_offset() as u64),
        };
        let dl_tensor = DLTensor {
            data,
            device: DLDevice {
                device_type: DLDeviceType(device.kind() as u32),
                device_id: device.ordinal().cast_signed(),
            },
            ndim: layout.shape().len() as i32,
            dtype: DLDataType::new(
                DLDataTypeCode(data_type.code() as u8),
                data_type.bits(),
                data_type.lanes(),
            ),
            // Extents of a checked layout fit `i64`, which has the size of `usize` here; consumers only read.
            shape: layout.shape().as_ptr().cast_mut().cast(),
            strides: layout.strides().as_ptr().cast_mut().cast(),
            byte_offset,
        };
        let flags = match self.access() {
            Access::ReadOnly => DlpackFlags::READ_ONLY,
            Access::Exclusive => DlpackFlags::IS_COPIED,
            Access::Shared => DlpackFlags::empty(),
        };
        let loan = Box::new(Loan {
            header: DLManagedTensorVersioned {
                version: VERSION,
                manager_ctx: std::ptr::null_mut(),
                deleter: Some(give_back),
                flags,
                dl_tensor,
            },
            tensor: self.clone(),
        });
        let raw = NonNull::from(Box::leak(loan));
        raw.cast()
    }
}

/// # Safety
///
/// `header` is what [`SharedTensor::lend_dlpack`] returned, and this is called once.
unsafe extern "C" fn give_back(header: *mut DLManagedTensorVersioned) {
    // SAFETY: the header is the first field of a leaked `Loan`, whose layout is C's.
    let loan = unsafe { Box::from_raw(header.cast::<Loan>()) };
    // A panic in an owner's `drop` must not cross into C.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(loan.tensor)));
}
