//! Whether there is an NVIDIA driver, and which devices it has.

pub(crate) mod library;
pub(crate) mod pointer;

use std::sync::OnceLock;

use bridge_core::{Device, DeviceKind, Error, Result};
use cudarc::driver::result;

use crate::context::errors::NAME;
use crate::gpu::Gpu;
use bridge_core::Unavailable;
use library::{no_device, not_started, unexpected};

/// The kinds of memory an array can be in; conversions that name no device copy to the first.
pub(crate) const KINDS: &[DeviceKind] =
    &[DeviceKind::Cuda, DeviceKind::CudaHost, DeviceKind::CudaManaged];

/// The device of pinned memory, which all GPUs reach.
pub(crate) const PINNED: Device = Device::new(DeviceKind::CudaHost, 0);

/// The driver, found to work.
pub(crate) struct Driver {
    /// The CUDA version it supports: 12040 for 12.4.
    pub(crate) version: i32,
    /// Its devices, by ordinal.
    pub(crate) gpus: Vec<Gpu>,
}

impl Driver {
    /// Its devices: the GPUs, pinned memory, and each GPU's managed memory.
    pub(crate) fn devices(&self) -> Vec<Device> {
        let managed = |gpu: &Gpu| Device::new(DeviceKind::CudaManaged, gpu.device().ordinal());
        let gpus = self.gpus.iter().map(Gpu::device);
        gpus.chain([PINNED]).chain(self.gpus.iter().map(managed)).collect()
    }
}

/// The driver of this process; the first answer is kept.
pub(crate) fn find() -> Result<&'static Driver, &'static Unavailable> {
    DRIVER.get_or_init(load).as_ref()
}

/// The driver, where it has been asked for before: this never loads it.
pub(crate) fn in_use() -> Option<&'static Driver> {
    DRIVER.get()?.as_ref().ok()
}

static DRIVER: OnceLock<Result<Driver, Unavailable>> = OnceLock::new();

/// The driver, or the error that says why there is none.
pub(crate) fn require() -> Result<&'static Driver> {
    find().map_err(|none| Error::Unavailable { backend: NAME, why: none.clone() })
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
    let version = library::start()?;
    let count = result::device::get_count().map_err(not_started)?;
    if count < 1 {
        return Err(no_device());
    }
    let gpus = (0..count.cast_unsigned()).map(|ordinal| Gpu::find(ordinal, version));
    let gpus = gpus.collect::<Result<_, _>>();
    let gpus = gpus.map_err(|error| unexpected("list its devices", error))?;
    Ok(Driver { version, gpus })
}
