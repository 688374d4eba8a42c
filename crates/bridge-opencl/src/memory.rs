//! New memory for the arrays of a device.

use bridge_core::{HostMemory, ManagedTensor, Owner, Ownership, Result, TensorError, TensorSpec};
use opencl3::types::cl_mem;

use crate::buffer::Buffer;
use crate::device::ClDevice;
use crate::event::ClEvent;
use crate::hosted::Hosted;

/// New memory of a device.
///
/// A processor works in memory that a `Vec` can own, in place: an array goes back to the host
/// without a copy, and the host's own kernels fill it without a command. Other devices
/// work in their driver's memory.
pub(crate) enum Memory {
    Drivers(Buffer),
    Hosts(Hosted<ManagedTensor>),
}

/// New memory, and when what it is filled with is there: `None` where it already is.
pub(crate) struct Filled {
    pub(crate) memory: Memory,
    pub(crate) ready: Option<ClEvent>,
}

impl Memory {
    /// Memory for `spec`, of at least one element. What lies in it is not initialized: every element
    /// must be written before anything reads it.
    ///
    /// # Errors
    ///
    /// [`TensorError::OutOfMemory`](bridge_core::TensorError::OutOfMemory) above the device's limit, before
    /// anybody is asked, and where driver or host have none.
    pub(crate) fn allocate(device: &'static ClDevice, spec: &TensorSpec) -> Result<Self> {
        let bytes = bytes_of(spec)?;
        if !is_hosts(device, spec) {
            return Buffer::allocate(device, bytes).map(Self::Drivers);
        }
        device.can_hold(bytes)?;
        // SAFETY: no element is read here; whoever makes an array of the memory has them written
        // first.
        Self::of_host(device, unsafe { new_host(spec, HostMemory::allocate) }?)
    }

    /// Memory of the [host's](is_hosts) for `spec`, of at least one element, which are zero.
    ///
    /// # Errors
    ///
    /// As [`allocate`](Self::allocate).
    pub(crate) fn zeroed(device: &'static ClDevice, spec: &TensorSpec) -> Result<Self> {
        device.can_hold(bytes_of(spec)?)?;
        // SAFETY: zeros are initialized, and valid values of every element type.
        Self::of_host(device, unsafe { new_host(spec, HostMemory::zeroed) }?)
    }

    /// A row-major copy of a host tensor of at least one element, on a device that
    /// [works in host memory](works_in_host_memory). It is made when the call returns.
    ///
    /// # Errors
    ///
    /// As [`allocate`](Self::allocate).
    pub(crate) fn copied(device: &'static ClDevice, source: &ManagedTensor) -> Result<Self> {
        let spec = TensorSpec::row_major(source.data_type(), source.shape())?;
        // SAFETY: the copy writes every element, or fails and the memory is dropped unread.
        let mut host = unsafe { new_host(&spec, HostMemory::allocate) }?;
        bridge_host::copy(source, &mut host)?;
        Self::of_host(device, host)
    }

    /// The memory of a host tensor that nobody else holds.
    fn of_host(device: &'static ClDevice, host: ManagedTensor) -> Result<Self> {
        let bytes = bytes_of(&host.spec())?;
        device.can_hold(bytes)?;
        let first = host.data();
        // SAFETY: the tensor has these bytes from its data pointer on and is consumed, so that nobody
        // else writes them; it keeps them.
        let mut hosted = unsafe { Hosted::new(device, first, bytes, false, host) }?;
        hosted.count(bytes);
        Ok(Self::Hosts(hosted))
    }

    pub(crate) fn raw(&self) -> cl_mem {
        match self {
            Self::Drivers(buffer) => buffer.raw(),
            Self::Hosts(hosted) => hosted.raw(),
        }
    }

    /// What keeps the memory alive.
    pub(crate) fn into_owner(self) -> Owner {
        match self {
            Self::Drivers(buffer) => Owner::keep(buffer),
            Self::Hosts(hosted) => owner_of(hosted, Ownership::Movable),
        }
    }
}

/// The owner of a buffer over host memory of this ownership.
pub(crate) fn owner_of(hosted: Hosted<ManagedTensor>, ownership: Ownership) -> Owner {
    match ownership {
        Ownership::Movable => Owner::keep_vector(hosted),
        Ownership::Kept => Owner::keep(hosted),
    }
}

/// Whether new memory of the device is the host's.
pub(crate) fn works_in_host_memory(device: &ClDevice) -> bool {
    device.capabilities().is_cpu
}

/// Whether new memory for `spec` is the host's: a vector has neither gaps nor an offset.
pub(crate) fn is_hosts(device: &ClDevice, spec: &TensorSpec) -> bool {
    let is_vectors = spec.layout.is_row_major() && spec.layout.byte_offset() == 0;
    works_in_host_memory(device) && is_vectors
}

/// Bytes that a block of the host's is longer than its elements: with glibc's 16 bytes of bookkeeping two cache
/// lines. Blocks of whole pages lie side by side, each 16 bytes further on in its page than the one before;
/// drivers copy between them with the C library's `rep movsb`, which AMD's Zen 3 does twenty times slower
/// then, and its vector loads cross lines.
const APART: usize = 112;

/// New host memory for `spec`, which a vector can own.
///
/// # Safety
///
/// What `allocate` gives is initialized, or every element is written before anything reads it.
pub(crate) unsafe fn new_host(
    spec: &TensorSpec,
    allocate: fn(usize, usize) -> Result<HostMemory, TensorError>,
) -> Result<ManagedTensor> {
    let bytes = bytes_of(spec)?.saturating_add(APART);
    let memory = allocate(bytes, spec.data_type.alignment())?;
    // SAFETY: the caller promises the same.
    Ok(unsafe { ManagedTensor::from_host_memory(memory, spec.clone()) }?)
}

/// Bytes from the start of the memory to the end of the elements.
pub(crate) fn bytes_of(spec: &TensorSpec) -> Result<usize> {
    let span = spec.layout.span(spec.data_type)?;
    Ok(spec.layout.byte_offset().saturating_add_signed(span.end))
}
