//! What elements that come from a device arrive in, where the target takes them over.

use bridge_core::{
    Accepts, DataType, Device, HostMemory, ManagedTensor, MemorySource, Result, Runtime, TensorSpec,
};

/// How what a device downloads comes into memory that the target can take over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Landing {
    /// The memory that the device's runtime makes is such.
    AsItComes,
    /// The runtime writes to memory that is allocated for the target.
    InNewMemory,
    /// It may have to be copied once more.
    CopiedOnceMore,
}

impl Landing {
    pub(crate) fn of(
        accepts: &Accepts,
        runtime: &dyn Runtime,
        data_type: DataType,
        from: Device,
    ) -> Self {
        let is_aligned = accepts.alignment_for(data_type) <= data_type.alignment();
        let is_vector = !accepts.takes_only_vectors() || runtime.downloads_vectors();
        if is_aligned && is_vector {
            Self::AsItComes
        } else if runtime.writes(data_type, from, Device::CPU) {
            Self::InNewMemory
        } else {
            Self::CopiedOnceMore
        }
    }
}

/// New memory of the global allocator, for what a device writes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewHostMemory;

impl MemorySource for NewHostMemory {
    fn gives(&self, device: Device, _: usize) -> bool {
        device == Device::CPU
    }

    fn reserves(&self, _: Device, _: usize) -> bool {
        false
    }

    unsafe fn take(&self, spec: &TensorSpec, _: Device, alignment: usize) -> Result<ManagedTensor> {
        let memory = HostMemory::allocate(spec.layout.compact_bytes(spec.data_type)?, alignment)?;
        // SAFETY: the caller promises that every element is written before it is read.
        Ok(unsafe { ManagedTensor::from_host_memory(memory, spec.clone()) }?)
    }
}
