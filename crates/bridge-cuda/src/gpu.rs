//! A GPU: what is known of it, and its primary context once it is used.

use std::sync::{Arc, OnceLock};

use bridge_core::{Device, Result};
use cudarc::driver::sys::{CUcontext, CUdevice, CUdevice_attribute};
use cudarc::driver::{CudaContext, DriverError, result};

use crate::current::Current;
use crate::event::Events;
use crate::failure::failed;
use crate::kernels::Kernels;
use crate::pool::Pool;
use crate::stream::Streams;

/// A GPU that the driver lists. Asking it for its properties makes no context.
pub(crate) struct Gpu {
    ordinal: u32,
    handle: CUdevice,
    opened: OnceLock<Opened>,
}

/// A GPU in use, for as long as the process runs.
pub(crate) struct Opened {
    device: Device,
    /// The compute capability: 86 for 8.6.
    capability: i32,
    /// The primary context, which torch, CuPy and JAX work in too.
    context: Arc<CudaContext>,
    pub(crate) pool: Pool,
    pub(crate) streams: Streams,
    pub(crate) events: Events,
    pub(crate) kernels: Kernels,
}

impl Gpu {
    pub(crate) fn find(ordinal: u32) -> Result<Self, DriverError> {
        let handle = result::device::get(ordinal.cast_signed())?;
        Ok(Self { ordinal, handle, opened: OnceLock::new() })
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

    /// A property; 0 where the driver does not tell.
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

    /// The GPU in use: retains the primary context at the first call.
    pub(crate) fn open(&'static self) -> Result<&'static Opened> {
        if let Some(opened) = self.opened.get() {
            return Ok(opened);
        }
        // What fails here may work another time, so only success is kept. Where two threads come
        // here at once, one of the two contexts' references is given back.
        let _current = Current::restored_after()?;
        let context =
            CudaContext::new(self.ordinal as usize).map_err(failed("retain a primary context"))?;
        let pool = Pool::of(self.handle, &context)?;
        Ok(self.opened.get_or_init(|| Opened {
            device: self.device(),
            capability: self.capability(),
            context,
            pool,
            streams: Streams::default(),
            events: Events::default(),
            kernels: Kernels::default(),
        }))
    }

    /// The GPU in use, where it already is.
    pub(crate) fn opened(&'static self) -> Option<&'static Opened> {
        self.opened.get()
    }
}

impl Opened {
    pub(crate) fn device(&self) -> Device {
        self.device
    }

    pub(crate) fn capability(&self) -> i32 {
        self.capability
    }

    pub(crate) fn context(&self) -> &Arc<CudaContext> {
        &self.context
    }

    pub(crate) fn raw_context(&self) -> CUcontext {
        self.context.cu_ctx()
    }

    /// Makes the GPU's context current on this thread.
    pub(crate) fn enter(&self) -> Result<Current> {
        Current::enter(self.raw_context())
    }

    /// Waits for all work of the GPU.
    pub(crate) fn synchronize(&self) -> Result<()> {
        let _current = self.enter()?;
        result::ctx::synchronize().map_err(failed("wait for the device"))
    }
}
