//! libtorch's own DLPack functions, called without anything between.

use std::ffi::c_void;
use std::ptr::NonNull;

use arraybridge::dlpack::DLManagedTensorVersioned;
use tch::Tensor;

unsafe extern "C" {
    fn bench_from_dlpack(header: *mut DLManagedTensorVersioned) -> *mut c_void;
    fn bench_to_dlpack(tensor: *const c_void) -> *mut DLManagedTensorVersioned;
}

/// A DLPack tensor that is freed when it is dropped.
pub struct Header(NonNull<DLManagedTensorVersioned>);

impl Header {
    /// The header, to whoever frees it.
    pub fn into_raw(self) -> NonNull<DLManagedTensorVersioned> {
        std::mem::ManuallyDrop::new(self).0
    }
}

impl Drop for Header {
    fn drop(&mut self) {
        // SAFETY: the header is owned, and nothing of it is used afterwards.
        unsafe {
            if let Some(deleter) = self.0.as_ref().deleter {
                deleter(self.0.as_ptr());
            }
        }
    }
}

/// `at::fromDLPackVersioned`.
///
/// # Safety
///
/// The header is a valid DLPack tensor, which is handed over.
pub unsafe fn from_dlpack(header: NonNull<DLManagedTensorVersioned>) -> Tensor {
    // SAFETY: as the caller promises; tch frees handles as they are made there.
    unsafe { Tensor::from_ptr(bench_from_dlpack(header.as_ptr()).cast()) }
}

/// `at::toDLPackVersioned`.
///
/// # Panics
///
/// Where libtorch gives nothing out.
pub fn to_dlpack(tensor: &Tensor) -> Header {
    // SAFETY: the handle is tch's own, and alive while `tensor` is borrowed.
    let header = unsafe { bench_to_dlpack(tensor.as_ptr().cast()) };
    Header(NonNull::new(header).expect("libtorch exports a plain tensor"))
}
