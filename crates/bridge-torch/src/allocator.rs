//! libtorch's memory: zeroed tensors, and what its caching allocator holds.

use bridge_core::{
    Access, Allocator, Backend, Device, DeviceKind, DeviceMemory, Error, Holdings, HostMemory,
    ManagedTensor, Owner, Result, TensorError, TensorSpec,
};
use tch::Tensor;

use crate::backend::Torch;
use crate::devices::{has_memory_of, ordinal};
use crate::shim::{self, Work};
use crate::streams::current_stream;

impl Allocator for Torch {
    fn backend(&self) -> &'static dyn Backend {
        &Torch
    }

    fn holds(&self, device: Device) -> bool {
        has_memory_of(device)
    }

    fn allocate(&self, spec: &TensorSpec, device: Device) -> Result<ManagedTensor> {
        allocated(spec, device)
    }

    fn usage(&self, device: Device) -> Result<DeviceMemory> {
        if device == Device::CPU {
            return Err(Error::Unsupported {
                what: "measuring the host's memory with torch".to_owned(),
                remedy: "ask the operating system".to_owned(),
            });
        }
        figures(device).map(|[free, total, ..]| DeviceMemory { total, free })
    }

    /// Gives the unused memory of the caching allocator back to the device.
    fn trim(&self, device: Device) -> Result<u64> {
        if device == Device::CPU {
            return Ok(0);
        }
        let before = cached_memory(device)?.reserved;
        // SAFETY: the shim takes nothing.
        let status = unsafe { shim::bridge_torch_cuda_empty_cache() };
        work("empty the cache", device, 0).check(status)?;
        Ok(before.saturating_sub(cached_memory(device)?.reserved))
    }

    /// What the caching allocator has. Nothing is loaded for the answer: a device that has not
    /// been used holds nothing.
    fn holdings(&self, device: Device) -> Result<Option<Holdings>> {
        let ordinal = match device.kind() {
            DeviceKind::Cuda => i32::try_from(device.ordinal()).unwrap_or(i32::MAX),
            _ => return Ok(None),
        };
        // SAFETY: the shim takes any number.
        if unsafe { shim::bridge_torch_cuda_in_use(ordinal) } == 0 {
            return Ok(Some(Holdings::default()));
        }
        let CachedMemory { allocated, reserved } = cached_memory(device)?;
        Ok(Some(Holdings { in_use: allocated, cached: reserved.saturating_sub(allocated) }))
    }

    /// On CUDA devices, whose memory libtorch's caching allocator keeps.
    fn caches(&self, device: Device) -> bool {
        has_memory_of(device)
    }
}

/// Zeroed memory that `spec` fits.
pub(crate) fn allocated(spec: &TensorSpec, device: Device) -> Result<ManagedTensor> {
    let span = spec.layout.span(spec.data_type)?;
    let bytes = spec.layout.byte_offset().saturating_add_signed(span.end);
    if device == Device::CPU {
        let memory = HostMemory::zeroed(bytes, spec.data_type.alignment())?;
        // SAFETY: the memory is initialized with zeros, which are valid for every element type.
        return unsafe { ManagedTensor::from_host_memory(memory, spec.clone()) }
            .map_err(Error::from);
    }
    let ordinal = ordinal(device)?;
    let asked = i64::try_from(bytes).map_err(|_| {
        Error::Tensor(TensorError::TooLarge { what: format!("an allocation of {bytes} bytes") })
    })?;
    let mut made = std::ptr::null_mut();
    // SAFETY: the shim writes the handle where it succeeds.
    let status = unsafe { shim::bridge_torch_cuda_zeros(asked, ordinal, &raw mut made) };
    work("allocate memory", device, bytes as u64).check(status)?;
    // SAFETY: the shim has made it just now.
    let memory = unsafe { shim::tensor_of(made) };
    // SAFETY: it is zeroed, and has the bytes of the layout's span.
    unsafe { over(memory, spec.clone(), device) }
}

/// A tensor over the bytes of a torch tensor.
///
/// # Safety
///
/// `memory` is nobody else's, lies on `device`, and has every element of `spec`, each of them
/// submitted to the current stream at the latest.
pub(crate) unsafe fn over(
    memory: Tensor,
    spec: TensorSpec,
    device: Device,
) -> Result<ManagedTensor> {
    let data = memory.data_ptr();
    let owner = Owner::keep(Bytes(memory));
    // SAFETY: as the caller promises; tch's tensors may be dropped on any thread.
    let tensor =
        unsafe { ManagedTensor::from_parts(data, spec, device, Access::Exclusive, owner) }?;
    let stream = current_stream(device)?;
    // SAFETY: libtorch has written the memory on its current stream.
    Ok(unsafe { tensor.ready_on(stream) })
}

/// Memory that is no tensor of its elements: `import` must not take it for one.
struct Bytes(#[expect(dead_code, reason = "held for its drop")] Tensor);

/// What libtorch's caching allocator holds of a CUDA device, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CachedMemory {
    /// In use by tensors.
    pub allocated: u64,
    /// Taken from the device: in use, or kept for the next tensors.
    pub reserved: u64,
}

/// What libtorch's caching allocator holds of a CUDA device.
///
/// # Errors
///
/// [`Error::Unavailable`] with the reason where libtorch has no CUDA device,
/// [`Error::DeviceUnavailable`] where it has others, and [`Error::Unsupported`] for the CPU, whose
/// memory libtorch does not cache.
pub fn cached_memory(device: Device) -> Result<CachedMemory> {
    if device == Device::CPU {
        return Err(Error::Unsupported {
            what: "asking how much host memory libtorch caches".to_owned(),
            remedy: "ask for a CUDA device: on the CPU it caches nothing".to_owned(),
        });
    }
    figures(device).map(|[_, _, allocated, reserved]| CachedMemory { allocated, reserved })
}

/// Bytes of the device: free and all; and of the caching allocator: in use and reserved.
fn figures(device: Device) -> Result<[u64; 4]> {
    let ordinal = ordinal(device)?;
    let mut figures = [0; 4];
    // SAFETY: the shim writes four figures.
    let status = unsafe { shim::bridge_torch_cuda_memory(ordinal, figures.as_mut_ptr()) };
    work("measure memory", device, 0).check(status)?;
    Ok(figures)
}

fn work(operation: &'static str, device: Device, bytes: u64) -> Work {
    Work { operation, device, bytes }
}
