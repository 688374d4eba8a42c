//! The kernels of a GPU: each is loaded at its first use.

use std::collections::HashMap;
use std::ffi::{CString, c_void};
use std::sync::{Mutex, OnceLock, PoisonError};

use bridge_core::Result;
use cudarc::driver::result::module;
use cudarc::driver::sys::CUfunction;
use cudarc::driver::{CudaStream, result};

use crate::failure::failed;
use crate::gpu::Opened;
use crate::kernel_module;
use crate::launch::{Argument, Grid};

/// The kernels of one GPU.
#[derive(Default)]
pub(crate) struct Kernels {
    loaded: Mutex<HashMap<&'static str, Function>>,
    /// Why the driver takes no PTX, once it has said so: the rest is compiled by NVRTC.
    pub(crate) refused: OnceLock<kernel_module::Refusal>,
}

/// A kernel; its module is never unloaded.
#[derive(Clone, Copy)]
struct Function(CUfunction);

// SAFETY: functions are used from any thread.
unsafe impl Send for Function {}

impl Kernels {
    /// Gives a kernel to `stream`.
    ///
    /// # Safety
    ///
    /// `name` is a kernel of kernels.cu that takes these arguments, and what it then reads and
    /// writes is device memory that `stream` may use.
    pub(crate) unsafe fn launch(
        &self,
        gpu: &'static Opened,
        stream: &CudaStream,
        name: &'static str,
        grid: Grid,
        arguments: &[Argument<'_>],
    ) -> Result<()> {
        let _current = gpu.enter()?;
        let Function(function) = self.function(gpu, name)?;
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

    /// The kernel of this name; the GPU's context is current.
    fn function(&self, gpu: &'static Opened, name: &'static str) -> Result<Function> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(&function) = loaded.get(name) {
            return Ok(function);
        }
        let module = kernel_module::load(gpu, name, &self.refused)?;
        let as_c = CString::new(name).unwrap_or_default();
        // SAFETY: the module was just loaded, and is never unloaded.
        let function =
            unsafe { module::get_function(module, as_c) }.map_err(failed("find a kernel"))?;
        loaded.insert(name, Function(function));
        Ok(Function(function))
    }
}
