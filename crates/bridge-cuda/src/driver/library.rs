//! The driver's library: loaded once every function that is called is known to be there.
//!
//! cudarc panics where the library or one of its functions is missing, so both are looked for before it
//! is used.

use std::ffi::OsStr;

use cudarc::driver::sys::{self, CUresult};
use cudarc::driver::{DriverError, result};

use crate::context::errors::message;
use bridge_core::Unavailable;

/// The oldest driver that is supported, as the driver counts: CUDA 12.0. The kernels are PTX 8.0.
const OLDEST: i32 = 12_000;

/// Loads and starts the driver, and gives the CUDA version that it supports: 12040 for 12.4.
pub(crate) fn start() -> Result<i32, Unavailable> {
    let library = library()?;
    if let Some(missing) = FUNCTIONS.iter().find(|name| !has(&library, name)) {
        return Err(Unavailable {
            reason: format!("the driver's library has no function {missing}"),
            remedy:
                "install an NVIDIA driver for CUDA 12.0 or later (525 or later); a stub library \
                     of the CUDA toolkit is not a driver"
                    .to_owned(),
        });
    }
    // The library stays loaded for as long as the process runs.
    std::mem::forget(library);
    let version = version().map_err(|error| unexpected("report its version", error))?;
    if version < OLDEST {
        return Err(Unavailable {
            reason: format!("the NVIDIA driver is too old: it supports CUDA {}", dotted(version)),
            remedy: format!(
                "update the driver to one for CUDA {} or later (525 or later)",
                dotted(OLDEST)
            ),
        });
    }
    result::init().map_err(not_started)?;
    Ok(version)
}

/// The names that cudarc looks for, too.
const LIBRARIES: &[&str] =
    if cfg!(windows) { &["nvcuda.dll"] } else { &["libcuda.so", "libcuda.so.1"] };

fn library() -> Result<libloading::Library, Unavailable> {
    // SAFETY: loading the driver's library runs its initializers, which are made to be run in any
    // process; it is never unloaded once it is used.
    let mut found = LIBRARIES.iter().map(|name| unsafe { libloading::Library::new(*name) });
    found.find_map(Result::ok).ok_or_else(|| Unavailable {
        reason: format!("there is no NVIDIA driver: {} cannot be loaded", LIBRARIES.join(" and ")),
        remedy: "install the NVIDIA driver; in a container, start it with GPUs (--gpus all)"
            .to_owned(),
    })
}

/// Every function of the driver that this crate calls, itself or through cudarc.
const FUNCTIONS: &[&str] = &[
    "cuCtxEnablePeerAccess",
    "cuCtxGetCurrent",
    "cuCtxSetCurrent",
    "cuCtxSynchronize",
    "cuDeviceCanAccessPeer",
    "cuDeviceGet",
    "cuDeviceGetAttribute",
    "cuDeviceGetCount",
    "cuDeviceGetDefaultMemPool",
    "cuDeviceGetName",
    "cuDevicePrimaryCtxRelease_v2",
    "cuDevicePrimaryCtxRetain",
    "cuDeviceTotalMem_v2",
    "cuDriverGetVersion",
    "cuEventCreate",
    "cuEventDestroy_v2",
    "cuEventQuery",
    "cuEventRecord",
    "cuEventSynchronize",
    "cuGetErrorName",
    "cuGetErrorString",
    "cuInit",
    "cuLaunchKernel",
    "cuMemAllocAsync",
    "cuMemAllocManaged",
    "cuMemAlloc_v2",
    "cuMemFreeAsync",
    "cuMemFreeHost",
    "cuMemFree_v2",
    "cuMemGetInfo_v2",
    "cuMemHostAlloc",
    "cuMemPoolGetAttribute",
    "cuMemPoolSetAccess",
    "cuMemPoolSetAttribute",
    "cuMemPoolTrimTo",
    "cuMemcpyDtoDAsync_v2",
    "cuMemcpyDtoHAsync_v2",
    "cuMemcpyHtoDAsync_v2",
    "cuMemcpyPeerAsync",
    "cuMemsetD8Async",
    "cuModuleGetFunction",
    "cuModuleLoadData",
    "cuPointerGetAttributes",
    "cuStreamCreate",
    "cuStreamDestroy_v2",
    "cuStreamSynchronize",
    "cuStreamWaitEvent",
];

fn has(library: &libloading::Library, name: &str) -> bool {
    // SAFETY: the symbol is only looked for, under a type that any function pointer has.
    unsafe { library.get::<unsafe extern "C" fn()>(name.as_bytes()) }.is_ok()
}

fn version() -> Result<i32, DriverError> {
    let mut version = 0;
    // SAFETY: the function is there, checked before; it writes one integer, and may be called
    // before `cuInit`.
    unsafe { sys::cuDriverGetVersion(&raw mut version) }.result()?;
    Ok(version)
}

/// The answer where the driver fails to start or to list its devices.
pub(crate) fn not_started(error: DriverError) -> Unavailable {
    let reason = |text: &str| format!("{text}: {}", message(error));
    let (reason, remedy) = match error.0 {
        CUresult::CUDA_ERROR_NO_DEVICE => return no_device(),
        CUresult::CUDA_ERROR_STUB_LIBRARY => (
            reason("the driver's library is a stub of the CUDA toolkit"),
            "put the folder of the real libcuda.so.1 before that of the toolkit's stubs",
        ),
        CUresult::CUDA_ERROR_SYSTEM_DRIVER_MISMATCH
        | CUresult::CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE => (
            reason("the driver's library and its kernel module do not match"),
            "restart the machine after a driver update, or install the driver that the kernel runs",
        ),
        _ => return unexpected("start", error),
    };
    Unavailable { reason, remedy: remedy.to_owned() }
}

pub(crate) fn unexpected(what: &str, error: DriverError) -> Unavailable {
    Unavailable {
        reason: format!("the NVIDIA driver failed to {what}: {}", message(error)),
        remedy: "check that `nvidia-smi` works, and restart or reinstall the driver".to_owned(),
    }
}

pub(crate) fn no_device() -> Unavailable {
    match std::env::var_os("CUDA_VISIBLE_DEVICES") {
        Some(visible) => hidden(&visible),
        None => Unavailable {
            reason: "the NVIDIA driver finds no device".to_owned(),
            remedy: "check that `nvidia-smi` lists one; in a container, start it with GPUs \
                     (--gpus all)"
                .to_owned(),
        },
    }
}

fn hidden(visible: &OsStr) -> Unavailable {
    Unavailable {
        reason: format!("CUDA_VISIBLE_DEVICES is {visible:?}, which hides every device"),
        remedy: "unset CUDA_VISIBLE_DEVICES, or list the ordinals to use, as in 0,1".to_owned(),
    }
}

/// "12.4" for 12040.
pub(crate) fn dotted(version: i32) -> String {
    format!("{}.{}", version / 1000, version % 1000 / 10)
}
