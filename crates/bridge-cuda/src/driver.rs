//! Whether there is a driver, and which devices it has.
//!
//! cudarc panics where the driver's library or a function in it is missing, so both are looked for
//! before it is used.

use std::ffi::OsString;
use std::sync::OnceLock;

use bridge_core::{Device, DeviceKind, Error, Result, Unavailable};
use cudarc::driver::sys::{self, CUresult};
use cudarc::driver::{DriverError, result};

use crate::failure::{NAME, message};
use crate::gpu::Gpu;
use crate::pinned;

/// The oldest driver that is worked with, as the driver counts: CUDA 12.0. The kernels are PTX 8.0.
const OLDEST: i32 = 12_000;

/// The driver, once it has been found to work.
pub(crate) struct Driver {
    /// The CUDA version it supports: 12040 for 12.4.
    pub(crate) version: i32,
    /// Its devices; the place is the ordinal.
    pub(crate) gpus: Vec<Gpu>,
}

impl Driver {
    /// Its devices: the GPUs, pinned memory, and each GPU's managed memory.
    pub(crate) fn devices(&self) -> Vec<Device> {
        let managed = |gpu: &Gpu| Device::new(DeviceKind::CudaManaged, gpu.device().ordinal());
        let gpus = self.gpus.iter().map(Gpu::device);
        gpus.chain([pinned::DEVICE]).chain(self.gpus.iter().map(managed)).collect()
    }
}

/// The driver of this process; the first answer stays.
pub(crate) fn find() -> Result<&'static Driver, &'static Unavailable> {
    static DRIVER: OnceLock<Result<Driver, Unavailable>> = OnceLock::new();
    DRIVER.get_or_init(load).as_ref()
}

/// The driver, or the error that says why there is none.
pub(crate) fn require() -> Result<&'static Driver> {
    find().map_err(|lack| Error::Unavailable { backend: NAME, why: lack.clone() })
}

/// The GPU that a device of kind `cuda` is.
pub(crate) fn gpu(device: Device) -> Result<&'static Gpu> {
    let driver = require()?;
    let found = driver.gpus.get(device.ordinal() as usize);
    found.filter(|_| device.kind() == DeviceKind::Cuda).ok_or_else(|| absent(driver, device))
}

/// Checks that a device of pinned or managed memory is there.
pub(crate) fn host_kind(device: Device) -> Result<()> {
    let driver = require()?;
    match driver.devices().contains(&device) {
        true => Ok(()),
        false => Err(absent(driver, device)),
    }
}

fn absent(driver: &Driver, asked: Device) -> Error {
    Error::DeviceUnavailable { backend: NAME, asked, available: driver.devices() }
}

fn load() -> Result<Driver, Unavailable> {
    let library = library()?;
    if let Some(missing) = FUNCTIONS.iter().find(|name| !has(&library, name)) {
        return Err(Unavailable {
            reason: format!("the driver's library has no function {missing}"),
            remedy:
                "install an NVIDIA driver for CUDA 12.0 or later (525 or later); a stub library \
                     of the CUDA toolkit is no driver"
                    .to_owned(),
        });
    }
    // The library stays loaded for as long as the process runs.
    std::mem::forget(library);
    let version = version().map_err(|error| unexpected("tell its version", error))?;
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
    let count = result::device::get_count().map_err(not_started)?;
    if count < 1 {
        return Err(no_device());
    }
    let gpus = (0..count.cast_unsigned()).map(Gpu::find).collect::<Result<_, _>>();
    let gpus = gpus.map_err(|error| unexpected("list its devices", error))?;
    Ok(Driver { version, gpus })
}

/// Names that cudarc, too, looks for.
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

/// What the driver says when it is started or asked for its devices.
fn not_started(error: DriverError) -> Unavailable {
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

fn unexpected(what: &str, error: DriverError) -> Unavailable {
    Unavailable {
        reason: format!("the NVIDIA driver failed to {what}: {}", message(error)),
        remedy: "see whether `nvidia-smi` works, and restart or reinstall the driver".to_owned(),
    }
}

fn no_device() -> Unavailable {
    match std::env::var_os("CUDA_VISIBLE_DEVICES") {
        Some(visible) => hidden(&visible),
        None => Unavailable {
            reason: "the NVIDIA driver finds no device".to_owned(),
            remedy: "see whether `nvidia-smi` lists one; in a container, start it with GPUs \
                     (--gpus all)"
                .to_owned(),
        },
    }
}

fn hidden(visible: &OsString) -> Unavailable {
    Unavailable {
        reason: format!("CUDA_VISIBLE_DEVICES is {visible:?}, which hides every device"),
        remedy: "unset CUDA_VISIBLE_DEVICES, or list the ordinals to use, as in 0,1".to_owned(),
    }
}

/// "12.4" for 12040.
pub(crate) fn dotted(version: i32) -> String {
    format!("{}.{}", version / 1000, version % 1000 / 10)
}
