//! `libtorch_hand_over.so`: hands tensors of a Python's torch to us and back, without Python in between.
//!
//! torch tells C programs how to turn its tensors into DLPack's and back, through the `DLPackExchangeAPI`
//! of DLPack 1.3. Python loads this library, gives it that table and a tensor, and is told how long
//! many hand-overs took; so libtorch is neither linked nor carried.

#![allow(unsafe_code, reason = "a C interface")]

use std::ffi::{c_int, c_void};
use std::ptr::null_mut;
use std::time::Instant;

use arraybridge::backends::cuda::CudaArray;
use arraybridge::{DeviceKind, ManagedTensor, Stream};

/// A Python object; a versioned tensor of DLPack.
type Object = *mut c_void;
type Tensor = *mut c_void;

/// `DLPackExchangeAPI` of dlpack.h, as far as it is used.
#[repr(C)]
#[derive(Clone, Copy)]
struct ExchangeApi {
    major: u32,
    minor: u32,
    previous: *const c_void,
    allocate: *const c_void,
    from_object: Option<unsafe extern "C" fn(Object, *mut Tensor) -> c_int>,
    to_object: Option<unsafe extern "C" fn(Tensor, *mut Object) -> c_int>,
    borrow_from_object: *const c_void,
    current_stream: Option<unsafe extern "C" fn(c_int, i32, *mut *mut c_void) -> c_int>,
}

/// The table's functions.
#[derive(Clone, Copy)]
struct Torch {
    from_object: unsafe extern "C" fn(Object, *mut Tensor) -> c_int,
    to_object: unsafe extern "C" fn(Tensor, *mut Object) -> c_int,
    current_stream: unsafe extern "C" fn(c_int, i32, *mut *mut c_void) -> c_int,
    release: unsafe extern "C" fn(Object),
}

/// Hands `tensor` over and back `times` times and returns the nanoseconds; negative where it fails: -1
/// for a table that is not known, -2 where torch refuses, -3 where we do. With `through` it becomes a
/// [`CudaArray`] in between, where it is on a GPU; without, torch's own calls are measured.
///
/// # Safety
///
/// `api` is torch's table, `tensor` one of its tensors, `release` is `Py_DecRef`, and the interpreter's
/// lock is held.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hand_over(
    api: *const c_void,
    tensor: Object,
    release: unsafe extern "C" fn(Object),
    times: u64,
    through: bool,
) -> i64 {
    // SAFETY: the caller promises the table, which begins with its version.
    let api = unsafe { api.cast::<ExchangeApi>().read() };
    let (1, Some(from_object), Some(to_object), Some(current_stream)) =
        (api.major, api.from_object, api.to_object, api.current_stream)
    else {
        return -1;
    };
    let torch = Torch { from_object, to_object, current_stream, release };
    let started = Instant::now();
    for _ in 0..times {
        // SAFETY: the caller promises the table, the tensor and the lock.
        if let Err(code) = unsafe { torch.round_trip(tensor, through) } {
            return code;
        }
    }
    i64::try_from(started.elapsed().as_nanos()).unwrap_or(i64::MAX)
}

impl Torch {
    /// # Safety
    ///
    /// As [`hand_over`].
    unsafe fn round_trip(self, tensor: Object, through: bool) -> Result<(), i64> {
        let mut taken: Tensor = null_mut();
        // SAFETY: the caller promises the tensor and the lock.
        if unsafe { (self.from_object)(tensor, &raw mut taken) } != 0 {
            return Err(-2);
        }
        let given = if through {
            // SAFETY: torch has just made the tensor, which is ours; nobody writes to it.
            unsafe { self.through_ours(taken) }?
        } else {
            taken
        };
        let mut object: Object = null_mut();
        // SAFETY: the tensor is given to torch, whoever made it.
        if unsafe { (self.to_object)(given, &raw mut object) } != 0 {
            return Err(-2);
        }
        // SAFETY: the object is new, and nobody else has it.
        unsafe { (self.release)(object) };
        Ok(())
    }

    /// # Safety
    ///
    /// `taken` is a tensor of torch's, and the lock is held.
    unsafe fn through_ours(self, taken: Tensor) -> Result<Tensor, i64> {
        // SAFETY: the tensor is torch's, whose deleter runs on any thread and does not unwind.
        let tensor = unsafe { ManagedTensor::from_dlpack(taken.cast()) }.map_err(|_| -3)?;
        let device = tensor.device();
        if device.kind() != DeviceKind::Cuda {
            // Without a GPU there is only this much to see.
            return Ok(tensor.into_dlpack().as_ptr().cast());
        }
        let mut stream = null_mut();
        let ordinal = device.ordinal().cast_signed();
        // SAFETY: a pointer is written.
        if unsafe { (self.current_stream)(CUDA, ordinal, &raw mut stream) } != 0 {
            return Err(-2);
        }
        // torch's default stream is the legacy one, whose handle is null.
        let stream = Stream((stream.addr() as u64).max(1));
        // SAFETY: torch's work on the tensor is in its current stream.
        let tensor = unsafe { tensor.ready_on(Some(stream)) };
        let array = CudaArray::from_tensor(tensor).map_err(|_| -3)?;
        Ok(array.into_tensor().into_dlpack().as_ptr().cast())
    }
}

/// `kDLCUDA`.
const CUDA: c_int = 2;
