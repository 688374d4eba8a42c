//! Pinned host memory, which devices copy to and from directly.

use bridge_core::{Access, ManagedTensor, Owner, Result, TensorSpec};
use cudarc::driver::result;

use crate::context::errors::not_allocated;
use crate::driver::{self, PINNED};
use crate::gpu::Opened;

/// `CU_MEMHOSTALLOC_PORTABLE`: pinned for every context, not only for the current one.
const PORTABLE: u32 = 1;

/// A block of pinned memory, freed on drop. It is not write-combined: the CPU reads and writes it at
/// full speed.
pub(crate) struct Pinned {
    first: *mut u8,
    bytes: usize,
    gpu: &'static Opened,
}

// SAFETY: the memory is owned, plain bytes; pinned memory is freed from any thread.
unsafe impl Send for Pinned {}

impl Pinned {
    pub(crate) fn allocate(gpu: &'static Opened, bytes: usize) -> Result<Self> {
        let _current = gpu.enter()?;
        // SAFETY: a context is current.
        let first = unsafe { result::malloc_host(bytes, PORTABLE) }.map_err(not_allocated(
            PINNED,
            bytes,
            "allocate pinned memory",
        ))?;
        Ok(Self { first: first.cast(), bytes, gpu })
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn as_ptr(&self) -> *mut u8 {
        self.first
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let Ok(_current) = self.gpu.enter() else { return };
        // SAFETY: the memory came from `malloc_host`, and nobody uses it; an error means that the
        // driver is shut down.
        let _ = unsafe { result::free_host(self.first.cast()) };
    }
}

/// Allocates a tensor of zeros in pinned host memory, on device `cuda_host:0`. The CPU uses it like any
/// other memory; every GPU copies to and from it directly, or uses it in place.
///
/// Pinning is slow, some milliseconds per 10 MiB, and pinned memory cannot be swapped out: keep such
/// tensors for reuse.
///
/// # Errors
///
/// [`Error::Unavailable`](bridge_core::Error::Unavailable) without a driver,
/// [`TensorError::OutOfMemory`](bridge_core::TensorError::OutOfMemory), and as
/// [`TensorSpec::row_major`].
pub fn pinned(spec: &TensorSpec) -> Result<ManagedTensor> {
    let driver = driver::require()?;
    let compact = TensorSpec::row_major(spec.data_type, spec.layout.shape())?;
    let bytes = compact.layout.compact_bytes(compact.data_type)?;
    let memory = Pinned::allocate(driver.gpus[0].open()?, bytes.max(1))?;
    // SAFETY: the memory is this long, and nobody else's.
    unsafe { memory.first.write_bytes(0, bytes) };
    let data = memory.first.cast();
    // SAFETY: the elements are zeros, valid for every type; the memory lives as long as its owner,
    // may be freed on any thread, and is nobody else's.
    let tensor = unsafe {
        ManagedTensor::from_parts(data, compact, PINNED, Access::Exclusive, Owner::keep(memory))
    };
    Ok(tensor?)
}
