//! Shared virtual memory: allocated for host and device alike.

use std::ffi::c_void;

use bridge_core::{Access, DataType, Error, ManagedTensor, Owner, Result, TensorError, TensorSpec};
use opencl3::memory::{CL_MEM_READ_WRITE, CL_MEM_SVM_FINE_GRAIN_BUFFER, svm_alloc, svm_free};

use crate::array::ClArray;
use crate::device::ClDevice;
use crate::enqueue::{After, Bytes};
use crate::hosted::Hosted;
use crate::queue::ClQueue;

/// An allocation of shared virtual memory, freed when dropped.
struct SvmMemory {
    first: *mut c_void,
    bytes: usize,
    device: &'static ClDevice,
}

// SAFETY: the allocation is owned, plain bytes; nothing in it depends on the thread.
unsafe impl Send for SvmMemory {}

impl SvmMemory {
    fn allocate(device: &'static ClDevice, bytes: usize) -> Result<Self> {
        let capabilities = device.capabilities();
        if !(capabilities.svm_coarse || capabilities.svm_fine) {
            return Err(Error::Unsupported {
                what: format!("shared virtual memory on {} ({})", device.device(), device.name()),
                remedy: "allocate a buffer, with ClArray::zeros".to_owned(),
            });
        }
        device.can_hold(bytes)?;
        let out_of_memory = Error::Tensor(TensorError::OutOfMemory {
            device: device.device(),
            requested: bytes as u64,
        });
        let fine = if capabilities.svm_fine { CL_MEM_SVM_FINE_GRAIN_BUFFER } else { 0 };
        // SAFETY: the context is live, the size is not zero, and the flags are those that the
        // device has; alignment 0 is the largest of OpenCL C's types.
        let first = unsafe { svm_alloc(device.raw_context()?, CL_MEM_READ_WRITE | fine, bytes, 0) };
        // The call has no status: it gives out an address or none.
        let first = first.map_err(|_| out_of_memory)?;
        device.count_allocated(bytes);
        Ok(Self { first, bytes, device })
    }
}

impl Drop for SvmMemory {
    fn drop(&mut self) {
        self.device.count_released(self.bytes);
        if let Ok(context) = self.device.raw_context() {
            // SAFETY: the address came from `svm_alloc` in this context and is freed once; the
            // buffer over it is gone.
            let _ = unsafe { svm_free(context, self.first) };
        }
    }
}

impl ClArray {
    /// An array of zeros in shared virtual memory, row-major, which [`into_host`](Self::into_host)
    /// hands to the host where it lies. The host has it while it is mapped, the device while it is
    /// not, also where the memory is coarse-grained.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] where the device has no such memory, and as [`zeros`](Self::zeros).
    pub fn zeros_in_svm(queue: &ClQueue, data_type: DataType, shape: &[usize]) -> Result<Self> {
        let spec = TensorSpec::row_major(data_type, shape)?;
        let count = spec.layout.compact_bytes(data_type)?;
        let device = queue.device();
        if spec.layout.is_empty() {
            return Self::zeros(queue, data_type, shape);
        }
        let memory = SvmMemory::allocate(device, count)?;
        let first = memory.first;
        // SAFETY: the allocation has these bytes, is nobody else's, and is kept.
        let hosted = unsafe { Hosted::new(device, first, count, false, memory) }?;
        let bytes = Bytes { mem: hosted.raw(), offset: 0, count };
        // SAFETY: the buffer has the bytes.
        let ready = unsafe { After { queue, events: &[] }.fill(bytes, &[0]) }?;
        // SAFETY: the buffer holds the elements, zeros once the command is done, which every use
        // waits for; the owner is `Send` and the only holder.
        let tensor = unsafe {
            let (data, owner) = (hosted.raw(), Owner::keep(hosted));
            ManagedTensor::from_parts(data, spec, device.device(), Access::Exclusive, owner)
        }?;
        Ok(Self::new(tensor, queue.clone(), Some(ready)))
    }
}
