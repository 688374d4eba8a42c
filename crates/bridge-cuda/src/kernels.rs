//! The kernels: loaded from PTX at their first use, which needs the driver only.
//!
//! `kernels/kernels.cu` is their source, `kernels/kernels.ptx` is made of it by `cargo xtask ptx`.

use std::collections::HashMap;
use std::ffi::{CString, c_void};
use std::marker::PhantomData;
use std::sync::{Mutex, PoisonError};

use bridge_core::{Error, Result};
use cudarc::driver::result::module;
use cudarc::driver::sys::{CUfunction, CUmodule, CUresult};
use cudarc::driver::{CudaStream, DriverError, result};

use crate::failure::{failed, message};
use crate::gpu::Opened;

/// The kernels, ending with a zero byte, as the driver wants it.
const PTX: &str = concat!(include_str!("kernels/kernels.ptx"), "\0");

/// The kernels of one GPU.
#[derive(Default)]
pub(crate) struct Kernels(Mutex<Option<Loaded>>);

struct Loaded {
    module: CUmodule,
    functions: HashMap<&'static str, CUfunction>,
}

// SAFETY: modules and functions are used from any thread.
unsafe impl Send for Loaded {}

/// How many threads a kernel runs in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Grid {
    blocks: u32,
    block: (u32, u32),
}

/// The most blocks; kernels loop where there is more to do.
const MOST_BLOCKS: u64 = 16_384;

impl Grid {
    /// One thread an element.
    pub(crate) fn lines(count: u64) -> Self {
        Self::of(count.div_ceil(256), (256, 1))
    }

    /// One block a tile.
    pub(crate) fn tiles(count: u64) -> Self {
        Self::of(count, (32, 8))
    }

    fn of(blocks: u64, block: (u32, u32)) -> Self {
        Self { blocks: u32::try_from(blocks.clamp(1, MOST_BLOCKS)).unwrap_or(1), block }
    }
}

/// An argument of a kernel: the driver copies it when the kernel is launched.
#[derive(Clone, Copy)]
pub(crate) struct Argument<'a>(*mut c_void, PhantomData<&'a ()>);

impl<'a> Argument<'a> {
    pub(crate) fn of<T>(value: &'a T) -> Self {
        Self((&raw const *value).cast_mut().cast(), PhantomData)
    }
}

impl Kernels {
    /// Gives a kernel to `stream`.
    ///
    /// # Safety
    ///
    /// `name` is a kernel of kernels.cu that takes these arguments, and what it then reads and
    /// writes is device memory that `stream` may use.
    pub(crate) unsafe fn launch(
        &self,
        gpu: &Opened,
        stream: &CudaStream,
        name: &'static str,
        grid: Grid,
        arguments: &[Argument<'_>],
    ) -> Result<()> {
        let _current = gpu.enter()?;
        let function = self.function(name)?;
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
    fn function(&self, name: &'static str) -> Result<CUfunction> {
        let mut loaded = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let loaded = match &mut *loaded {
            Some(loaded) => loaded,
            empty => empty.insert(Loaded { module: load()?, functions: HashMap::new() }),
        };
        if let Some(&function) = loaded.functions.get(name) {
            return Ok(function);
        }
        let as_c = CString::new(name).unwrap_or_default();
        // SAFETY: the module is never unloaded.
        let function = unsafe { module::get_function(loaded.module, as_c) }
            .map_err(failed("find a kernel"))?;
        loaded.functions.insert(name, function);
        Ok(function)
    }
}

fn load() -> Result<CUmodule> {
    // SAFETY: the image is PTX text that ends with a zero byte.
    unsafe { module::load_data(PTX.as_ptr().cast()) }.map_err(not_loaded)
}

fn not_loaded(error: DriverError) -> Error {
    match error.0 {
        CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU
        | CUresult::CUDA_ERROR_INVALID_PTX
        | CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION => Error::Unsupported {
            what: format!("running arraybridge's kernels on this GPU: {}", message(error)),
            remedy:
                "they need compute capability 6.0 or later and a driver for CUDA 12.0 or later; \
                     copy and cast on the host instead"
                    .to_owned(),
        },
        CUresult::CUDA_ERROR_JIT_COMPILER_NOT_FOUND => Error::Unsupported {
            what: "compiling arraybridge's kernels for this GPU".to_owned(),
            remedy: "install the driver's PTX compiler (libnvidia-ptxjitcompiler)".to_owned(),
        },
        _ => failed("load the kernels")(error),
    }
}
