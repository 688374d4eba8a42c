//! Managed memory: one address for the CPU and the GPUs; the driver migrates the pages.

use bridge_core::{
    Access, Device, DeviceKind, Error, ManagedTensor, Owner, Result, TensorError, TensorSpec,
};
use cudarc::driver::result;
use cudarc::driver::sys::{CUdevice_attribute, CUmemAttach_flags};

use crate::context::errors::{failed, not_allocated};
use crate::driver;
use crate::gpu::Opened;

/// A block of managed memory, freed on drop.
struct Managed {
    address: u64,
    gpu: &'static Opened,
}

impl Drop for Managed {
    fn drop(&mut self) {
        let Ok(_current) = self.gpu.enter() else { return };
        // SAFETY: the memory came from `malloc_managed`; freeing waits for the devices. An error
        // means that the context is lost.
        let _ = unsafe { result::memory_free(self.address) };
    }
}

/// Allocates a tensor of zeros in managed memory, on device `cuda_managed` with this `ordinal`. The CPU
/// uses it like any other memory, and GPUs use it in place.
///
/// # Errors
///
/// [`Error::Unavailable`] without a driver, [`Error::DeviceUnavailable`] where there is no GPU of
/// this ordinal, [`Error::Unsupported`] where it has no managed memory that the CPU may use at the
/// same time, [`TensorError::OutOfMemory`], and as [`TensorSpec::row_major`].
pub fn managed(spec: &TensorSpec, ordinal: u32) -> Result<ManagedTensor> {
    let gpu = driver::gpu(Device::cuda(ordinal))?;
    let attribute = CUdevice_attribute::CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS;
    if gpu.attribute(attribute) == 0 {
        return Err(Error::Unsupported {
            what: format!("managed memory on {}", gpu.device()),
            remedy:
                "use pinned memory instead (`bridge_cuda::pinned`): this device and the CPU must \
                     not use managed memory at the same time"
                    .to_owned(),
        });
    }
    let gpu = gpu.open()?;
    let device = Device::new(DeviceKind::CudaManaged, ordinal);
    let compact = TensorSpec::row_major(spec.data_type, spec.layout.shape())?;
    let bytes = compact.layout.compact_bytes(compact.data_type)?;
    // Some drivers hang instead of refusing a request for more than the device has.
    let room = driver::gpu(gpu.device())?.total_memory().map_err(failed("measure the device"))?;
    if bytes > room {
        return Err(Error::Tensor(TensorError::OutOfMemory { device, requested: bytes as u64 }));
    }
    let _current = gpu.enter()?;
    // SAFETY: the context is current.
    let address =
        unsafe { result::malloc_managed(bytes.max(1), CUmemAttach_flags::CU_MEM_ATTACH_GLOBAL) }
            .map_err(not_allocated(device, bytes, "allocate managed memory"))?;
    let memory = Managed { address, gpu };
    let data = address as *mut u8;
    // SAFETY: the memory is this long, nobody else's, and the CPU's to write.
    unsafe { data.write_bytes(0, bytes) };
    // SAFETY: the elements are zeros, valid for every type; the memory lives as long as its owner,
    // may be freed on any thread, and is nobody else's.
    let tensor = unsafe {
        ManagedTensor::from_parts(
            data.cast(),
            compact,
            device,
            Access::Exclusive,
            Owner::keep(memory),
        )
    };
    Ok(tensor?)
}
