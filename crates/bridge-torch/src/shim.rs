//! The C interface of `shim/`, and what its answers mean in Rust.

use std::ffi::{CStr, c_char, c_void};
use std::ptr::NonNull;

use bridge_core::{Device, Error, Result, TensorError};

/// libtorch's own handle of a tensor, the same that tch keeps.
#[repr(C)]
pub(crate) struct Handle {
    _opaque: [u8; 0],
}

/// `BridgeTorchHold`.
#[repr(C)]
struct RawHold {
    _opaque: [u8; 0],
}

pub(crate) type Release = unsafe extern "C" fn(*mut c_void);

/// `BridgeTorchView`.
#[repr(C)]
pub(crate) struct View {
    pub(crate) data: *mut c_void,
    pub(crate) sizes: *const i64,
    pub(crate) strides: *const i64,
    pub(crate) rank: i64,
    pub(crate) available: usize,
    pub(crate) context: *mut c_void,
    pub(crate) scalar_type: i32,
    pub(crate) device_type: i32,
    pub(crate) device_index: i32,
    pub(crate) obstacles: u32,
    traits: u32,
}

impl View {
    /// Whether nothing but the handle that was viewed keeps the storage.
    #[inline]
    pub(crate) fn is_alone(&self) -> bool {
        self.traits & 1 != 0
    }

    /// Whether another storage has the same memory, until one of the two is written.
    #[inline]
    pub(crate) fn is_lazily_copied(&self) -> bool {
        self.traits & 2 != 0
    }

    /// Whether torch allocated the memory, and only this storage has it.
    #[inline]
    pub(crate) fn is_torchs_own(&self) -> bool {
        self.traits & 4 != 0
    }
}

/// The CPU, where the shim takes the ordinal of a CUDA device.
pub(crate) const ON_THE_CPU: i32 = -1;

/// `c10::DeviceType`.
pub(crate) mod device_type {
    pub(crate) const CPU: i32 = 0;
    pub(crate) const CUDA: i32 = 1;
}

unsafe extern "C" {
    fn bridge_torch_message() -> *const c_char;
    fn bridge_torch_requested() -> u64;
    fn bridge_torch_version() -> *const c_char;
    fn bridge_torch_cpu_capability() -> *const c_char;

    pub(crate) fn bridge_torch_view(
        tensor: *const Handle,
        release: Release,
        view: *mut View,
    ) -> i32;

    fn bridge_torch_hold(tensor: *const Handle, hold: *mut *mut RawHold) -> i32;
    fn bridge_torch_let_go(hold: *mut RawHold);

    pub(crate) fn bridge_torch_lazy_clone(tensor: *const Handle, made: *mut *mut Handle) -> i32;

    pub(crate) fn bridge_torch_wrap(
        data: *mut c_void,
        bytes: usize,
        sizes: *const i64,
        strides: *const i64,
        rank: i64,
        scalar_type: i32,
        device_type: i32,
        device_index: i32,
        context: *mut c_void,
        release: Release,
        made: *mut *mut Handle,
    ) -> i32;

    pub(crate) fn bridge_torch_release_context(tensor: *mut Handle);

    pub(crate) fn bridge_torch_copied(
        tensor: *const Handle,
        backwards: *const i64,
        count: i64,
        device: i32,
        made: *mut *mut Handle,
    ) -> i32;

    pub(crate) fn bridge_torch_cuda_devices() -> i32;
    pub(crate) fn bridge_torch_cuda_zeros(bytes: i64, device: i32, made: *mut *mut Handle) -> i32;
    pub(crate) fn bridge_torch_cuda_synchronize(device: i32) -> i32;
    pub(crate) fn bridge_torch_cuda_stream(device: i32, handle: *mut u64) -> i32;
    pub(crate) fn bridge_torch_cuda_wait(device: i32, handle: u64) -> i32;
    pub(crate) fn bridge_torch_cuda_memory(device: i32, figures: *mut u64) -> i32;
    pub(crate) fn bridge_torch_cuda_empty_cache() -> i32;
    pub(crate) fn bridge_torch_cuda_in_use(device: i32) -> i32;
}

/// `BridgeTorchStatus`.
const OK: i32 = 0;
const OUT_OF_MEMORY: i32 = 2;
const OUT_OF_HOST_MEMORY: i32 = 3;

/// What the shim was asked for, for its errors.
#[derive(Clone, Copy)]
pub(crate) struct Work {
    /// As in "failed to ...".
    pub(crate) operation: &'static str,
    pub(crate) device: Device,
    /// Bytes that it needs there.
    pub(crate) bytes: u64,
}

/// The error for a status of `work`, with what libtorch said on this thread.
#[inline]
pub(crate) fn check(status: i32, work: impl FnOnce() -> Work) -> Result<()> {
    if status == OK { Ok(()) } else { Err(work().error(status)) }
}

impl Work {
    /// As [`check`].
    #[inline]
    pub(crate) fn check(self, status: i32) -> Result<()> {
        check(status, || self)
    }

    #[cold]
    fn error(self, status: i32) -> Error {
        match status {
            OUT_OF_MEMORY => Error::Tensor(TensorError::OutOfMemory {
                device: self.device,
                requested: self.bytes,
            }),
            OUT_OF_HOST_MEMORY => {
                // SAFETY: the shim takes nothing, and the status says that it has the figure.
                let requested = unsafe { bridge_torch_requested() };
                Error::Tensor(TensorError::OutOfMemory { device: Device::CPU, requested })
            }
            _ => {
                Error::Framework { backend: "torch", operation: self.operation, message: message() }
            }
        }
    }
}

/// What the shim said last on this thread.
pub(crate) fn message() -> String {
    // SAFETY: the shim gives out a C string that lives until its next call on this thread.
    unsafe { copied(bridge_torch_message()) }
}

/// The version of libtorch.
pub(crate) fn version() -> String {
    // SAFETY: the shim gives out a C string that lives as long as the program.
    unsafe { copied(bridge_torch_version()) }
}

/// The instructions that libtorch's kernels use on this CPU.
pub(crate) fn cpu_capability() -> String {
    // SAFETY: as for `version`.
    unsafe { copied(bridge_torch_cpu_capability()) }
}

/// # Safety
///
/// `text` is a C string.
unsafe fn copied(text: *const c_char) -> String {
    // SAFETY: as the caller promises.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

#[cfg(all(test, feature = "_faults"))]
mod faults;
#[cfg(test)]
mod provoked;

/// tch's handle as the shim takes it.
#[inline]
pub(crate) fn handle_of(tensor: &tch::Tensor) -> *const Handle {
    tensor.as_ptr().cast()
}

/// A tensor that the shim has made.
///
/// # Safety
///
/// `made` is a handle of the shim's that nobody else keeps.
#[inline]
pub(crate) unsafe fn tensor_of(made: *mut Handle) -> tch::Tensor {
    // SAFETY: tch frees its handles as the shim makes them, with `new` and `delete` of at::Tensor.
    unsafe { tch::Tensor::from_ptr(made.cast()) }
}

/// Keeps the memory of a tensor valid and where it is until it is dropped, whatever is done with
/// other handles of it.
pub(crate) struct Hold(NonNull<RawHold>);

// SAFETY: what it points to is counted with atomics, and may be let go of on any thread, as every
// handle of torch's.
unsafe impl Send for Hold {}

impl Hold {
    /// # Errors
    ///
    /// Where libtorch has no memory for it.
    pub(crate) fn of(tensor: &tch::Tensor, device: Device) -> Result<Self> {
        let mut hold = std::ptr::null_mut();
        // SAFETY: the handle is tch's own, of a tensor with a storage, as every plain one; the shim
        // writes `hold` where it succeeds.
        let status = unsafe { bridge_torch_hold(handle_of(tensor), &raw mut hold) };
        check(status, || Work { operation: "hold a tensor's storage", device, bytes: 0 })?;
        Ok(Self(NonNull::new(hold).unwrap_or_else(|| unreachable!("the shim has succeeded"))))
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        // SAFETY: the shim gave it out, once.
        unsafe { bridge_torch_let_go(self.0.as_ptr()) };
    }
}
