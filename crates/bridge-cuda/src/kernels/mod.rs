//! The kernels of a GPU: each is loaded at its first use.

pub(crate) mod launch;
pub(crate) mod loading;
pub(crate) mod loops;
pub(crate) mod number;
pub(crate) mod nvrtc;
mod ptx;
mod source;
pub(crate) mod specialized_casts;

use std::collections::HashMap;
use std::ffi::{CString, c_void};
use std::sync::{Mutex, OnceLock, PoisonError};

use bridge_core::Result;
use cudarc::driver::result::module;
use cudarc::driver::sys::CUfunction;
use cudarc::driver::{CudaStream, result};

use crate::context::Context;
use crate::context::errors::failed;
use launch::{Argument, Grid};

/// The kernels of one GPU.
pub(crate) struct Kernels {
    context: Context,
    /// The CUDA version that the driver supports: 12040 for 12.4.
    driver_version: i32,
    loaded: Mutex<HashMap<&'static str, Function>>,
    /// Why the driver takes no PTX, once it has refused some: the rest is compiled by NVRTC.
    refused: OnceLock<loading::Refusal>,
}

/// A kernel; its module is never unloaded.
#[derive(Clone, Copy)]
struct Function(CUfunction);

// SAFETY: functions are used from any thread.
unsafe impl Send for Function {}

impl Kernels {
    pub(crate) fn new(context: Context, driver_version: i32) -> Self {
        let (loaded, refused) = (Mutex::default(), OnceLock::new());
        Self { context, driver_version, loaded, refused }
    }

    /// Submits a kernel to `stream`.
    ///
    /// # Safety
    ///
    /// `name` is a kernel of kernels.cu that takes these arguments, and what it then reads and
    /// writes is device memory that `stream` may use.
    pub(crate) unsafe fn launch(
        &self,
        stream: &CudaStream,
        name: &'static str,
        grid: Grid,
        arguments: &[Argument<'_>],
    ) -> Result<()> {
        let _current = self.context.enter()?;
        let Function(function) = self.function(name)?;
        let mut arguments: Vec<*mut c_void> = arguments.iter().map(|one| one.0).collect();
        let Grid { blocks, block } = grid;
        // SAFETY: the function is loaded in this context, and the caller promises its arguments.
        unsafe {
            result::launch_kernel(
                function,
                (blocks, 1, 1),
                (block.0, block.1, 1),
                0,
                stream.cu_stream(),
                &mut arguments,
            )
        }
        .map_err(failed("launch a kernel"))
    }

    /// The kernel of this name; the context is current.
    fn function(&self, name: &'static str) -> Result<Function> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(&function) = loaded.get(name) {
            return Ok(function);
        }
        let module =
            loading::load((self.context.capability(), self.driver_version), name, &self.refused)?;
        let as_c = CString::new(name).unwrap_or_default();
        // SAFETY: the module was just loaded, and is never unloaded.
        let function =
            unsafe { module::get_function(module, as_c) }.map_err(failed("find a kernel"))?;
        loaded.insert(name, Function(function));
        Ok(Function(function))
    }
}
