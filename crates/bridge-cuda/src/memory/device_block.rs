//! Blocks of device memory: allocated and freed in the order of a stream, their home.

use std::sync::Arc;

use bridge_core::{Access, ManagedTensor, Owner, Result, Stream, TensorSpec};
use cudarc::driver::sys::CUresult;
use cudarc::driver::{CudaStream, DriverError, result};

use crate::context::errors::{failed, not_allocated};
use crate::gpu::Opened;
use crate::streams::home::number_of;

/// A block of device memory, freed on drop in the order of its home. That is late enough: whoever uses it
/// in another stream makes the home wait, see [`Home`](crate::streams::home::Home).
pub(crate) struct DeviceBlock {
    gpu: &'static Opened,
    home: Arc<CudaStream>,
    address: u64,
    bytes: usize,
}

impl DeviceBlock {
    /// Allocates `bytes`, uninitialized. Where memory runs out, waits for all work, trims the pool, and
    /// tries once more.
    pub(crate) fn allocate(
        gpu: &'static Opened,
        home: &Arc<CudaStream>,
        bytes: usize,
    ) -> Result<Self> {
        let _current = gpu.enter()?;
        let stream = home.cu_stream();
        // SAFETY: the context is current, and the stream is the GPU's.
        let allocate = || unsafe { gpu.pool.allocate(bytes, stream) };
        let address = match allocate() {
            Err(DriverError(CUresult::CUDA_ERROR_OUT_OF_MEMORY)) => {
                gpu.synchronize()?;
                // SAFETY: the context is current.
                unsafe { gpu.pool.trim() }?;
                allocate()
            }
            other => other,
        };
        let address =
            address.map_err(not_allocated(gpu.device(), bytes, "allocate device memory"))?;
        Ok(Self { gpu, home: Arc::clone(home), address, bytes })
    }

    pub(crate) fn address(&self) -> u64 {
        self.address
    }

    /// Sets every byte to `value`, in the order of the home.
    pub(crate) fn fill(&self, value: u8) -> Result<()> {
        let _current = self.gpu.enter()?;
        let stream = self.home.cu_stream();
        // SAFETY: the block is this long, and nothing else uses it.
        unsafe { result::memset_d8_async(self.address, value, self.bytes, stream) }
            .map_err(failed("fill device memory"))
    }

    /// The block as a tensor, ready in its home.
    ///
    /// # Safety
    ///
    /// `spec` lies within the block, and work that initializes it has been given to the home.
    pub(crate) unsafe fn into_tensor(self, spec: TensorSpec) -> Result<ManagedTensor> {
        let (address, device) = (self.address, self.gpu.device());
        let ready = Stream(number_of(&self.home));
        // SAFETY:
        // - The caller promises the elements; they stay until the owner, the block, is dropped.
        // - A block may be dropped on any thread.
        // - Nobody else has the block, so access is exclusive.
        // - They are ready in the home, which the block keeps.
        let tensor = unsafe {
            ManagedTensor::from_parts(
                address as *mut _,
                spec,
                device,
                Access::Exclusive,
                Owner::keep(self),
            )?
            .ready_on(Some(ready))
        };
        Ok(tensor)
    }

    /// Address and home.
    pub(crate) fn parts(&self) -> (u64, Arc<CudaStream>) {
        (self.address, Arc::clone(&self.home))
    }

    /// Leaves the memory to another owner, which frees it in the order of the home.
    pub(crate) fn give_up(&mut self) {
        self.address = 0;
    }
}

impl Drop for DeviceBlock {
    fn drop(&mut self) {
        if self.address == 0 {
            return; // It was given up.
        }
        let Ok(_current) = self.gpu.enter() else { return };
        // SAFETY: the context is current, the stream is the GPU's, and the block is used by
        // nothing that the home does not wait for. An error here means that the context is lost,
        // and the memory with it.
        let _ = unsafe { self.gpu.pool.free(self.address, self.home.cu_stream()) };
    }
}

/// A tensor without elements, on a device.
pub(crate) fn empty(gpu: &Opened, spec: TensorSpec) -> Result<ManagedTensor> {
    debug_assert!(spec.layout.is_empty(), "a tensor with elements needs memory");
    // SAFETY: there are no elements, so there is no memory to be valid.
    let tensor = unsafe {
        ManagedTensor::from_parts(
            std::ptr::null_mut(),
            spec,
            gpu.device(),
            Access::Exclusive,
            Owner::nothing(),
        )
    };
    Ok(tensor?)
}
