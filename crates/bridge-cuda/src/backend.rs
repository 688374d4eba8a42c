//! The backend.

use std::borrow::Cow;

use bridge_core::{
    Allocator, Availability, Backend, DataType, Description, Descriptor, Detail, Device,
    DeviceBytes, DeviceKind, DeviceMemory, Error, ManagedTensor, Mapping, NativeType, Overflow,
    Refused, Result, Runtime, TensorSpec,
};

use crate::array::CudaArray;
use crate::context::errors::{NAME, failed};
use crate::driver::KINDS;
use crate::gpu::Gpu;
use crate::memory::allocate;
use crate::transfer::mapping;
use crate::transfer::staging::release_staging;
use crate::{cast, details, driver, transfer};

/// The backend for CUDA.
#[derive(Debug, Clone, Copy)]
pub struct Cuda;

static DESCRIPTOR: Descriptor = Descriptor {
    name: NAME,
    aliases: &["cudarc", "nvidia"],
    framework: "CUDA, over cudarc 0.19",
    priority: 60,
};

impl Backend for Cuda {
    fn descriptor(&self) -> &'static Descriptor {
        &DESCRIPTOR
    }

    fn availability(&self) -> Availability {
        match driver::find() {
            Ok(driver) => Availability::Ready { devices: Cow::Owned(driver.devices()) },
            Err(why) => Availability::Unavailable(why.clone()),
        }
    }

    fn native_types(&self) -> &'static [NativeType] {
        const { &[NativeType::of::<CudaArray, Cuda>()] }
    }

    fn details(&self) -> Vec<Detail> {
        details::details()
    }
}

// SAFETY: `synchronize` waits for the context, and for memory of the host for every context in use.
unsafe impl Runtime for Cuda {
    fn backend(&self) -> &'static dyn Backend {
        &Cuda
    }

    fn device_kinds(&self) -> &'static [DeviceKind] {
        KINDS
    }

    fn mapping(&self, found: &Description, to: Device) -> Mapping {
        mapping::mapping(found, to)
    }

    fn map(
        &self,
        tensor: ManagedTensor,
        to: Device,
    ) -> Result<ManagedTensor, Refused<ManagedTensor>> {
        mapping::map(tensor, to)
    }

    fn transfer(&self, tensor: &ManagedTensor, to: Device) -> Result<ManagedTensor> {
        transfer::transfer(tensor, to)
    }

    fn copy(&self, tensor: &ManagedTensor) -> Result<ManagedTensor> {
        transfer::copied(tensor)
    }

    fn cast(
        &self,
        tensor: &ManagedTensor,
        to: DataType,
        overflow: Overflow,
    ) -> Result<ManagedTensor> {
        cast::cast(tensor, to, overflow)
    }

    fn working_memory(
        &self,
        found: &Description,
        data_type: DataType,
        to: Device,
    ) -> Vec<DeviceBytes> {
        transfer::working_memory::working_memory(found, data_type, to)
    }

    fn synchronize(&self, device: Device) -> Result<()> {
        if device.kind() == DeviceKind::Cuda {
            return driver::gpu(device)?.open()?.synchronize();
        }
        // Any GPU may be writing to memory of the host.
        driver::host_kind(device)?;
        let gpus = &driver::require()?.gpus;
        gpus.iter().filter_map(Gpu::opened).try_for_each(|gpu| gpu.synchronize())
    }
}

impl Allocator for Cuda {
    fn backend(&self) -> &'static dyn Backend {
        &Cuda
    }

    fn holds(&self, device: Device) -> bool {
        driver::find().is_ok_and(|driver| driver.devices().contains(&device))
    }

    fn allocate(&self, spec: &TensorSpec, device: Device) -> Result<ManagedTensor> {
        allocate::zeros(spec, device)
    }

    fn usage(&self, device: Device) -> Result<DeviceMemory> {
        if device.kind() != DeviceKind::Cuda {
            driver::host_kind(device)?;
            return Err(Error::Unsupported {
                what: format!("measuring {device}"),
                remedy: "it is memory of the host; ask the operating system".to_owned(),
            });
        }
        let gpu = driver::gpu(device)?.open()?;
        let _current = gpu.enter()?;
        let (free, total) =
            cudarc::driver::result::mem_get_info().map_err(failed("measure the device"))?;
        let free = (free as u64).saturating_add(gpu.pool.kept()).min(total as u64);
        Ok(DeviceMemory { total: total as u64, free })
    }

    fn trim(&self, device: Device) -> Result<u64> {
        if device.kind() != DeviceKind::Cuda {
            driver::host_kind(device)?;
            return Ok(release_staging());
        }
        let gpu = driver::gpu(device)?.open()?;
        // What is freed in a stream's order is free once the stream is there.
        gpu.synchronize()?;
        let _current = gpu.enter()?;
        // SAFETY: the context is current.
        unsafe { gpu.pool.trim() }
    }
}
