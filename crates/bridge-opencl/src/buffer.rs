//! Buffers: checked allocation, and what the driver knows of a handle from elsewhere.

use std::ffi::c_void;

use bridge_core::{Device, Result};
use opencl3::memory::{
    CL_MEM_ALLOC_HOST_PTR, CL_MEM_CONTEXT, CL_MEM_OBJECT_BUFFER, CL_MEM_READ_ONLY,
    CL_MEM_READ_WRITE, CL_MEM_REFERENCE_COUNT, CL_MEM_SIZE, CL_MEM_TYPE, CL_MEM_USE_HOST_PTR,
    create_buffer, get_mem_object_data,
};
use opencl3::types::{cl_context, cl_mem, cl_mem_flags, cl_mem_info};

use crate::device::ClDevice;
use crate::handle::{Mem, Owned};
use crate::info;
use crate::status::Doing;

/// A reference to a buffer of a device.
#[derive(Debug)]
pub(crate) struct Buffer {
    handle: Owned<Mem>,
    device: &'static ClDevice,
    /// Bytes that were allocated for it, of the device's memory.
    counted: usize,
}

impl Buffer {
    /// Allocates `bytes`, at least one, not initialized.
    ///
    /// # Errors
    ///
    /// [`TensorError::OutOfMemory`] above the device's limit, before the driver is asked, and where the
    /// driver has none.
    pub(crate) fn allocate(device: &'static ClDevice, bytes: usize) -> Result<Self> {
        device.can_hold(bytes)?;
        // Where memory is the host's, ask for memory that it can map.
        let shares = device.capabilities().shares_host_memory();
        let place = if shares { CL_MEM_ALLOC_HOST_PTR } else { 0 };
        let flags = CL_MEM_READ_WRITE | place;
        // SAFETY: there is no host pointer.
        let mut buffer = unsafe { Self::create(device, flags, bytes, std::ptr::null_mut()) }?;
        buffer.count(bytes);
        Ok(buffer)
    }

    /// Makes a buffer of memory that host and device share.
    ///
    /// # Errors
    ///
    /// As the driver says.
    ///
    /// # Safety
    ///
    /// `bytes` bytes at `first` can be read, and written unless `read_only`, until the driver has
    /// destroyed the buffer, and nobody else writes them while the buffer is not mapped.
    pub(crate) unsafe fn over_host(
        device: &'static ClDevice,
        first: *mut c_void,
        bytes: usize,
        read_only: bool,
    ) -> Result<Self> {
        let kind = if read_only { CL_MEM_READ_ONLY } else { CL_MEM_READ_WRITE };
        // SAFETY: the caller promises the memory.
        unsafe { Self::create(device, kind | CL_MEM_USE_HOST_PTR, bytes, first) }
    }

    /// # Safety
    ///
    /// As `clCreateBuffer` asks for these flags.
    unsafe fn create(
        device: &'static ClDevice,
        flags: cl_mem_flags,
        bytes: usize,
        host: *mut c_void,
    ) -> Result<Self> {
        let doing = Doing::new("create a buffer", device.device(), bytes);
        // SAFETY: the context is live, the size is not zero, and the caller promises the rest.
        let raw = unsafe { create_buffer(device.raw_context()?, flags, bytes.max(1), host) };
        // SAFETY: the buffer was just created, and the reference is handed over.
        let handle = unsafe { Owned::take_over(doing.check(raw)?) };
        Ok(Self { handle, device, counted: 0 })
    }

    /// Adds a reference to a buffer that somebody else holds.
    ///
    /// # Errors
    ///
    /// As the driver says.
    ///
    /// # Safety
    ///
    /// `raw` is a live buffer.
    pub(crate) unsafe fn retain(device: &'static ClDevice, raw: cl_mem) -> Result<Self> {
        let doing = Doing::new("hold a buffer", device.device(), 0);
        // SAFETY: the caller promises a live buffer.
        let handle = doing.check(unsafe { Owned::retain(raw) })?;
        Ok(Self { handle, device, counted: 0 })
    }

    pub(crate) fn raw(&self) -> cl_mem {
        self.handle.raw()
    }

    /// Says that the buffer takes `bytes` of the device's memory while it is held.
    pub(crate) fn count(&mut self, bytes: usize) {
        self.counted = bytes;
        self.device.count_allocated(bytes);
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.device.count_released(self.counted);
    }
}

/// What the driver knows of a buffer's handle.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BufferInfo {
    pub(crate) context: cl_context,
    pub(crate) bytes: usize,
    pub(crate) is_buffer: bool,
}

impl BufferInfo {
    /// # Safety
    ///
    /// `raw` is a live memory object.
    pub(crate) unsafe fn of(raw: cl_mem, device: Device) -> Result<Self> {
        let doing = Doing::new("ask a buffer for its size", device, 0);
        let answer = |what: cl_mem_info| doing.check(get_mem_object_data(raw, what));
        Ok(Self {
            context: info::handle(&answer(CL_MEM_CONTEXT)?),
            bytes: usize::try_from(info::number(&answer(CL_MEM_SIZE)?)).unwrap_or(usize::MAX),
            is_buffer: info::number(&answer(CL_MEM_TYPE)?) == u64::from(CL_MEM_OBJECT_BUFFER),
        })
    }
}

/// How many references there are to a memory object. The answer is of the past when it arrives.
///
/// # Safety
///
/// `raw` is a live memory object.
pub(crate) unsafe fn reference_count(raw: cl_mem) -> u64 {
    get_mem_object_data(raw, CL_MEM_REFERENCE_COUNT).map_or(0, |bytes| info::number(&bytes))
}
