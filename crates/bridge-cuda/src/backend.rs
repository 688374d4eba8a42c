//! The backend.

use std::borrow::Cow;

use bridge_core::{
    Allocator, Availability, Backend, DataType, Description, Descriptor, Detail, Device,
    DeviceBytes, DeviceKind, DeviceMemory, Error, Holdings, ManagedTensor, Mapping, NativeType,
    Overflow, Refused, Result, Runtime, TensorSpec,
};

use cudarc::driver::DriverError;
use cudarc::driver::sys::CUresult;

use crate::array::CudaArray;
use crate::context::errors::{NAME, failed};
use crate::driver::KINDS;
use crate::gpu::Gpu;
use crate::memory::allocate;
use crate::transfer::mapping;
use crate::transfer::staging::{release_staging, staging_bytes};
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

    /// By the driver's code. A lost context, an illegal address, an invalid handle or argument, and
    /// a kernel that asks for too many resources are no lack of memory.
    fn is_out_of_memory(&self, error: &(dyn std::error::Error + 'static)) -> bool {
        let error = error.downcast_ref::<DriverError>();
        error.is_some_and(|error| error.0 == CUresult::CUDA_ERROR_OUT_OF_MEMORY)
    }

    fn details(&self) -> Vec<Detail> {
        details::details()
    }
}

// SAFETY: `synchronize` waits for the context, and for memory of the host for every context in use. `write` returns
// the target where all pieces have arrived, or bridge-host has copied them, which promises the same.
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
        overflow: Overflow,
    ) -> Vec<DeviceBytes> {
        cast::working_memory::working_memory(found, data_type, to, overflow)
    }

    fn writes(&self, _: DataType, from: Device, to: Device) -> bool {
        transfer::writes(from, to)
    }

    fn write(&self, tensor: &ManagedTensor, target: ManagedTensor) -> Result<ManagedTensor> {
        transfer::write(tensor, target)
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
        // Whether another kind of memory is held must not load the driver.
        KINDS.contains(&device.kind())
            && driver::find().is_ok_and(|driver| driver.devices().contains(&device))
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
            return Ok(if keeps_staging(device) { release_staging() } else { 0 });
        }
        // A GPU that nobody has used has nothing to give back, and is not taken into use for that.
        let Some(gpu) = driver::gpu(device)?.opened() else { return Ok(0) };
        // What is freed in a stream's order is free once the stream is there.
        gpu.synchronize()?;
        let _current = gpu.enter()?;
        // SAFETY: the context is current.
        unsafe { gpu.pool.trim() }
    }

    /// Of a GPU, what its default memory pool has; of pinned memory, the staging buffers. Nothing is
    /// loaded for the answer: what has not been used holds nothing.
    fn holdings(&self, device: Device) -> Result<Option<Holdings>> {
        if device.kind() != DeviceKind::Cuda {
            return Ok(keeps_staging(device).then(staging_bytes));
        }
        let Some(driver) = driver::in_use() else { return Ok(Some(Holdings::default())) };
        let gpu = driver.gpus.get(device.ordinal() as usize).and_then(Gpu::opened);
        Ok(match gpu {
            Some(gpu) if !gpu.pool.keeps() => None,
            Some(gpu) => Some(Holdings { in_use: gpu.pool.used(), cached: gpu.pool.kept() }),
            None => Some(Holdings::default()),
        })
    }

    /// Where the device has a memory pool. Pinned and managed memory is freed at once; only
    /// staging buffers, which no array gets, are kept.
    fn caches(&self, device: Device) -> bool {
        let gpu = driver::gpu(device).and_then(Gpu::open);
        gpu.is_ok_and(|gpu| gpu.pool.keeps())
    }
}

/// Whether this is the memory that staging buffers are of.
fn keeps_staging(device: Device) -> bool {
    device.kind() == DeviceKind::CudaHost
}
