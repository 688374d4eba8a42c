//! The primary context of one GPU, and the driver's errors. Everything else in the crate uses this.

mod current;
pub(crate) mod errors;

use std::sync::Arc;

use bridge_core::{Device, Result};
use cudarc::driver::sys::CUcontext;
use cudarc::driver::{CudaContext, result};

pub(crate) use current::Current;
use errors::failed;

/// The primary context of a GPU, which torch, CuPy and JAX work in too. It is never released.
#[derive(Clone)]
pub(crate) struct Context {
    device: Device,
    capability: i32,
    cudarc: Arc<CudaContext>,
}

impl Context {
    /// Retains the primary context of a device whose compute capability is 86 for 8.6.
    pub(crate) fn retain(device: Device, capability: i32) -> Result<Self> {
        let _current = Current::restored_after()?;
        let cudarc = CudaContext::new(device.ordinal() as usize)
            .map_err(failed("retain a primary context"))?;
        Ok(Self { device, capability, cudarc })
    }

    pub(crate) fn device(&self) -> Device {
        self.device
    }

    /// The GPU's compute capability: 86 for 8.6.
    pub(crate) fn capability(&self) -> i32 {
        self.capability
    }

    /// The context as cudarc's.
    pub(crate) fn cudarc(&self) -> &Arc<CudaContext> {
        &self.cudarc
    }

    /// The context as the driver's.
    pub(crate) fn raw(&self) -> CUcontext {
        self.cudarc.cu_ctx()
    }

    /// Makes the context current on this thread until the result is dropped.
    pub(crate) fn enter(&self) -> Result<Current> {
        Current::enter(self.raw())
    }

    /// Waits for all work of the GPU.
    pub(crate) fn synchronize(&self) -> Result<()> {
        let _current = self.enter()?;
        result::ctx::synchronize().map_err(failed("wait for the device"))
    }
}
