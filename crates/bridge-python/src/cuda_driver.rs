//! NVIDIA's driver, asked for one thing: which device an address belongs to. It is loaded at the first question.

use std::ffi::{c_int, c_void};
use std::sync::OnceLock;

use bridge_core::{Device, Error, Result, TensorError, Unavailable};

/// `CU_POINTER_ATTRIBUTE_MEMORY_TYPE` and `CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL`.
const ASKED: [c_int; 2] = [2, 9];

type PointerGetAttributes =
    unsafe extern "C" fn(u32, *const c_int, *const *mut c_void, u64) -> c_int;

/// The device whose memory lies at both addresses, the first and the last byte of an array; where there are none,
/// the first device.
///
/// # Errors
///
/// Where there is no driver, where it knows no memory at the addresses, or that of two devices.
pub(crate) fn device_of(ends: Option<(usize, usize)>) -> Result<Device> {
    let ask = driver()?;
    let Some((first, last)) = ends else { return Ok(Device::cuda(0)) };
    let invalid = |reason: String| Error::Tensor(TensorError::InvalidTensor { reason });
    let mut found = [None; 2];
    for (address, found) in [first, last].into_iter().zip(&mut found) {
        *found = ordinal_of(ask, address);
        if found.is_none() {
            return Err(invalid(format!(
                "its __cuda_array_interface__ says that its elements lie from {first:#x} to {last:#x}, and the \
                 NVIDIA driver knows no memory at {address:#x}"
            )));
        }
    }
    match found {
        [Some(first), Some(last)] if first == last => Ok(Device::cuda(first)),
        _ => Err(invalid(format!("its elements lie on two devices, from {first:#x} to {last:#x}"))),
    }
}

/// The ordinal of the device that the memory at an address belongs to.
fn ordinal_of(ask: PointerGetAttributes, address: usize) -> Option<u32> {
    let (mut memory_type, mut ordinal) = (0_u32, -1_i32);
    let answers: [*mut c_void; 2] = [(&raw mut memory_type).cast(), (&raw mut ordinal).cast()];
    // SAFETY: two attributes are asked for, and each answer has the type that the driver writes, an unsigned int and an
    // int; any address may be asked for, and the driver does not go there.
    let status = unsafe { ask(2, ASKED.as_ptr(), answers.as_ptr(), address as u64) };
    let known = status == 0 && memory_type != 0;
    known.then_some(ordinal).and_then(|ordinal| u32::try_from(ordinal).ok())
}

/// The driver's function, found once.
fn driver() -> Result<PointerGetAttributes> {
    static FOUND: OnceLock<Option<PointerGetAttributes>> = OnceLock::new();
    let found = *FOUND.get_or_init(|| {
        // SAFETY: loading the driver's library runs its initializers, which are made to be run in any process;
        // whoever has memory of a GPU has loaded it before.
        let library = unsafe { libloading::Library::new(LIBRARY) }.ok()?;
        // SAFETY: the driver declares its function so, since CUDA 7.
        let function =
            unsafe { library.get::<PointerGetAttributes>(c"cuPointerGetAttributes") }.ok()?;
        let function = *function;
        // The function stays where it is for as long as the process runs.
        std::mem::forget(library);
        Some(function)
    });
    found.ok_or_else(|| Error::Unavailable {
        backend: "cuda",
        why: Unavailable::new(
            format!(
                "the array is on a CUDA device, as its __cuda_array_interface__ says, and there is no NVIDIA \
                 driver here: {LIBRARY} cannot be loaded"
            ),
            "run it on a machine with an NVIDIA GPU and its driver, or copy the array to the host first in \
             its own library (CuPy: array.get(), Numba: array.copy_to_host())",
        ),
    })
}

const LIBRARY: &str = if cfg!(windows) { "nvcuda.dll" } else { "libcuda.so.1" };
