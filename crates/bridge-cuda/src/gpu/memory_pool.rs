//! The memory pool of a GPU: the device's default pool, which other libraries in the process use too,
//! set up to keep freed memory for reuse.

use std::ffi::c_void;
use std::sync::Arc;

use bridge_core::Result;
use cudarc::driver::result::{device, mem_pool};
use cudarc::driver::sys::{self, CUdevice, CUmemPool_attribute, CUmemoryPool, CUstream};
use cudarc::driver::{CudaContext, DriverError, result};

use crate::context::errors::failed;

/// Where device memory comes from.
pub(crate) struct Pool {
    /// The default pool; `None` where the device has none and memory is allocated synchronously.
    pool: Option<CUmemoryPool>,
}

// SAFETY: the default pool lives as long as the device and may be used from any thread.
unsafe impl Send for Pool {}
// SAFETY: as for `Send`.
unsafe impl Sync for Pool {}

/// `CUmemAccessDesc` of cuda.h: a location of type device, and how it may access.
#[repr(C)]
struct Access {
    location_type: u32,
    location_id: i32,
    flags: u32,
}

const LOCATION_DEVICE: u32 = 1;
const READ_AND_WRITE: u32 = 3;

impl Pool {
    pub(crate) fn of(handle: CUdevice, context: &Arc<CudaContext>) -> Result<Self> {
        if !context.has_async_alloc() {
            return Ok(Self { pool: None });
        }
        // SAFETY: the handle is the driver's.
        let pool = unsafe { device::get_default_mem_pool(handle) }
            .map_err(failed("find the device's memory pool"))?;
        let this = Self { pool: Some(pool) };
        // By default the pool gives everything back at each synchronization, which makes every
        // allocation as slow as the first. A threshold that was set already is kept.
        let threshold = CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
        if this.attribute(threshold) == 0 {
            let mut keep = u64::MAX;
            // SAFETY: the attribute is a 64-bit number.
            unsafe { mem_pool::set_attribute(pool, threshold, (&raw mut keep).cast::<c_void>()) }
                .map_err(failed("set up the memory pool"))?;
        }
        Ok(this)
    }

    /// Allocates `bytes`, for use in `stream` and what waits for it.
    ///
    /// # Safety
    ///
    /// The context of the pool's device is current, and `stream` is one of its streams.
    pub(crate) unsafe fn allocate(
        &self,
        bytes: usize,
        stream: CUstream,
    ) -> Result<u64, DriverError> {
        // SAFETY: the caller promises the context and the stream.
        unsafe {
            match self.pool {
                Some(_) => result::malloc_async(stream, bytes),
                None => result::malloc_sync(bytes),
            }
        }
    }

    /// Frees memory once the work that `stream` has been given so far is done.
    ///
    /// # Safety
    ///
    /// As [`allocate`](Self::allocate), which the memory came from; nothing uses it later.
    pub(crate) unsafe fn free(&self, address: u64, stream: CUstream) -> Result<(), DriverError> {
        // SAFETY: the caller promises the same.
        unsafe {
            if self.pool.is_some() {
                return result::free_async(address, stream);
            }
            result::stream::synchronize(stream)?;
            result::free_sync(address)
        }
    }

    /// Gives the memory that is kept and not in use back to the device; returns how many bytes.
    ///
    /// # Safety
    ///
    /// The context of the pool's device is current.
    pub(crate) unsafe fn trim(&self) -> Result<u64> {
        let Some(pool) = self.pool else { return Ok(0) };
        let before = self.reserved();
        // SAFETY: the pool is alive.
        unsafe { mem_pool::trim_to(pool, 0) }.map_err(failed("trim the memory pool"))?;
        Ok(before.saturating_sub(self.reserved()))
    }

    /// Whether there is a pool, which keeps freed memory.
    pub(crate) fn keeps(&self) -> bool {
        self.pool.is_some()
    }

    /// Bytes that are kept for reuse and not in use.
    pub(crate) fn kept(&self) -> u64 {
        self.reserved().saturating_sub(self.used())
    }

    /// Bytes that are in use, by whoever allocates from the device's default pool.
    pub(crate) fn used(&self) -> u64 {
        self.attribute(CUmemPool_attribute::CU_MEMPOOL_ATTR_USED_MEM_CURRENT)
    }

    fn reserved(&self) -> u64 {
        self.attribute(CUmemPool_attribute::CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT)
    }

    /// One of the attributes that are 64-bit numbers; 0 where the driver does not know it.
    fn attribute(&self, attribute: CUmemPool_attribute) -> u64 {
        let Some(pool) = self.pool else { return 0 };
        let mut value = 0_u64;
        // SAFETY: the pool is alive, and the attributes asked for are 64-bit numbers.
        let asked =
            unsafe { mem_pool::get_attribute(pool, attribute, (&raw mut value).cast::<c_void>()) };
        if asked.is_ok() { value } else { 0 }
    }

    /// Lets the device with this ordinal read and write the pool's memory.
    pub(crate) fn allow(&self, ordinal: u32) -> Result<()> {
        let Some(pool) = self.pool else { return Ok(()) };
        let access = Access {
            location_type: LOCATION_DEVICE,
            location_id: ordinal.cast_signed(),
            flags: READ_AND_WRITE,
        };
        // SAFETY: the pool is alive; `Access` is laid out as the C struct, which all versions of
        // CUDA since 11.2 have, and one is given.
        unsafe { sys::cuMemPoolSetAccess(pool, (&raw const access).cast(), 1) }
            .result()
            .map_err(failed("let another device use the memory pool"))
    }
}
