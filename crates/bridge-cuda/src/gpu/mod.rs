//! A GPU: its properties, and, once it is used, its primary context with what is kept for it.

pub(crate) mod event;
pub(crate) mod memory_pool;
pub(crate) mod thread_streams;

use std::ops::Deref;
use std::sync::OnceLock;

use bridge_core::{Device, Result};
use cudarc::driver::sys::{CUdevice, CUdevice_attribute};
use cudarc::driver::{DriverError, result};

use crate::context::Context;
use crate::kernels::Kernels;
use event::Events;
use memory_pool::Pool;
use thread_streams::Streams;

/// A GPU that the driver lists. Asking for its properties creates no context.
pub(crate) struct Gpu {
    ordinal: u32,
    handle: CUdevice,
    /// The CUDA version that the driver supports: 12040 for 12.4.
    driver_version: i32,
    opened: OnceLock<Opened>,
}

/// A GPU in use, until the process ends: its context, and what is kept for reuse in it.
pub(crate) struct Opened {
    context: Context,
    pub(crate) pool: Pool,
    pub(crate) streams: Streams,
    pub(crate) events: Events,
    pub(crate) kernels: Kernels,
}

impl Deref for Opened {
    type Target = Context;

    fn deref(&self) -> &Context {
        &self.context
    }
}

impl Gpu {
    pub(crate) fn find(ordinal: u32, driver_version: i32) -> Result<Self, DriverError> {
        let handle = result::device::get(ordinal.cast_signed())?;
        Ok(Self { ordinal, handle, driver_version, opened: OnceLock::new() })
    }

    pub(crate) fn device(&self) -> Device {
        Device::cuda(self.ordinal)
    }

    pub(crate) fn handle(&self) -> CUdevice {
        self.handle
    }

    /// The GPU's name, as NVIDIA gives it.
    pub(crate) fn name(&self) -> Result<String, DriverError> {
        result::device::get_name(self.handle)
    }

    /// A property; 0 where the driver does not know it.
    pub(crate) fn attribute(&self, attribute: CUdevice_attribute) -> i32 {
        // SAFETY: the handle is the driver's.
        unsafe { result::device::get_attribute(self.handle, attribute) }.unwrap_or(0)
    }

    /// The compute capability: 86 for 8.6.
    pub(crate) fn capability(&self) -> i32 {
        10 * self.attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)
            + self.attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)
    }

    /// All of the GPU's memory, in bytes.
    pub(crate) fn total_memory(&self) -> Result<usize, DriverError> {
        // SAFETY: the handle is the driver's.
        unsafe { result::device::total_mem(self.handle) }
    }

    /// The GPU for use; the first call retains its primary context.
    pub(crate) fn open(&'static self) -> Result<&'static Opened> {
        if let Some(opened) = self.opened.get() {
            return Ok(opened);
        }
        // A failure may be temporary, so only success is kept. Where two threads come here at once,
        // one of the two references to the context is released.
        let context = Context::retain(self.device(), self.capability())?;
        let pool = Pool::of(self.handle, context.cudarc())?;
        Ok(self.opened.get_or_init(|| Opened {
            pool,
            streams: Streams::new(context.clone()),
            events: Events::new(context.clone()),
            kernels: Kernels::new(context.clone(), self.driver_version),
            context,
        }))
    }

    /// The GPU in use; `None` where it has not been used yet.
    pub(crate) fn opened(&'static self) -> Option<&'static Opened> {
        self.opened.get()
    }
}
