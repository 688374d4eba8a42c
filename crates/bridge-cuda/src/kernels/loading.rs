//! Loading one kernel: as PTX, or, where the driver does not take that, compiled by NVRTC.
//!
//! PTX goes first. The driver compiles a kernel from PTX in a tenth of the time that NVRTC takes, and
//! keeps the result for later processes; `docs/cuda.md` has the figures.

use std::ffi::OsString;
use std::sync::OnceLock;

use bridge_core::{Error, Result, TensorError};
use cudarc::driver::DriverError;
use cudarc::driver::result::module;
use cudarc::driver::sys::{CUmodule, CUresult};

use super::nvrtc::Nvrtc;
use super::{ptx, source};
use crate::context::errors::{failed, message};
use bridge_core::Unavailable;

/// The environment variable that allows only one of the two: `ptx` or `nvrtc`.
pub(crate) const CHOICE: &str = "ARRAYBRIDGE_CUDA_KERNELS";

/// Where kernels may come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    PtxThenNvrtc,
    Ptx,
    Nvrtc,
}

impl Choice {
    /// The choice that the environment variable makes.
    pub(crate) fn made() -> Result<Self> {
        Self::of(std::env::var_os(CHOICE))
    }

    fn of(value: Option<OsString>) -> Result<Self> {
        match value.as_ref().map(|value| value.to_str()) {
            None | Some(Some("")) => Ok(Self::PtxThenNvrtc),
            Some(Some("ptx")) => Ok(Self::Ptx),
            Some(Some("nvrtc")) => Ok(Self::Nvrtc),
            _ => Err(Error::Tensor(TensorError::InvalidArgument {
                what: CHOICE,
                found: value.unwrap_or_default().to_string_lossy().into_owned(),
                expected: "ptx, nvrtc, or unset for both, in this order".to_owned(),
            })),
        }
    }
}

/// Why a driver takes no PTX, and what to do.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) reason: String,
    remedy: &'static str,
}

impl Refusal {
    /// `None` for errors that are not about the PTX.
    fn of(error: DriverError) -> Option<Self> {
        use CUresult as R;
        let remedy = match error.0 {
            R::CUDA_ERROR_JIT_COMPILER_NOT_FOUND => {
                "install the driver's PTX compiler (libnvidia-ptxjitcompiler.so.1), which a container \
                 gets with NVIDIA_DRIVER_CAPABILITIES=compute"
            }
            R::CUDA_ERROR_UNSUPPORTED_PTX_VERSION => {
                "update the driver to one for CUDA 12.0 or later"
            }
            R::CUDA_ERROR_NO_BINARY_FOR_GPU | R::CUDA_ERROR_INVALID_PTX => {
                "use a GPU of compute capability 6.0 or later, and a driver that has it"
            }
            R::CUDA_ERROR_JIT_COMPILATION_DISABLED => "unset CUDA_DISABLE_PTX_JIT",
            _ => return None,
        };
        Some(Self { reason: message(error), remedy })
    }

    /// The error where NVRTC cannot take over.
    fn error(&self, no_nvrtc: Option<&Unavailable>) -> Error {
        let mut what = format!(
            "running arraybridge's kernels on this GPU, whose driver takes no PTX ({})",
            self.reason
        );
        let mut remedy = self.remedy.to_owned();
        if let Some(no_nvrtc) = no_nvrtc {
            what.push_str(&format!(", without NVRTC ({})", no_nvrtc.reason));
            remedy.push_str(&format!("; or {}", no_nvrtc.remedy));
        }
        remedy.push_str("; or copy and cast on the host");
        Error::Unsupported { what, remedy }
    }
}

/// Loads the module of a kernel, for this compute capability and driver's version; the GPU's context is
/// current. Where the driver takes no PTX, its reason is kept in `refused`.
pub(crate) fn load(
    (capability, driver_version): (i32, i32),
    kernel: &'static str,
    refused: &OnceLock<Refusal>,
) -> Result<CUmodule> {
    let choice = Choice::made()?;
    if choice != Choice::Nvrtc && refused.get().is_none() {
        let error = match load_ptx(kernel)? {
            Ok(module) => return Ok(module),
            Err(error) => error,
        };
        match Refusal::of(error) {
            Some(refusal) if choice == Choice::Ptx => return Err(refusal.error(None)),
            Some(refusal) => refused.get_or_init(|| refusal),
            None => return Err(failed("load a kernel")(error)),
        };
    }
    match Nvrtc::find(driver_version) {
        Ok(nvrtc) => compiled(nvrtc, kernel, capability),
        Err(no_nvrtc) => Err(match refused.get() {
            Some(refusal) => refusal.error(Some(&no_nvrtc)),
            None => Error::Unsupported {
                what: format!("{CHOICE}=nvrtc without NVRTC ({})", no_nvrtc.reason),
                remedy: no_nvrtc.remedy,
            },
        }),
    }
}

fn load_ptx(kernel: &'static str) -> Result<Result<CUmodule, DriverError>> {
    let image = ptx::module_of(kernel).ok_or_else(|| unknown(kernel))?;
    // SAFETY: the image is PTX text that ends with a zero byte.
    Ok(unsafe { module::load_data(image.as_ptr().cast()) })
}

fn compiled(nvrtc: &Nvrtc, kernel: &'static str, capability: i32) -> Result<CUmodule> {
    let program = source::program_of(kernel).ok_or_else(|| unknown(kernel))?;
    let binary = nvrtc.compile(&program, capability)?;
    // SAFETY: the image is a whole binary, which NVRTC made.
    unsafe { module::load_data(binary.as_ptr().cast()) }
        .map_err(failed("load a kernel that NVRTC compiled"))
}

fn unknown(kernel: &str) -> Error {
    Error::Tensor(TensorError::InvalidArgument {
        what: "the kernel",
        found: kernel.to_owned(),
        expected: "a kernel of entries.h".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_choice_is_an_error() {
        assert_eq!(Choice::of(None).unwrap(), Choice::PtxThenNvrtc);
        assert_eq!(Choice::of(Some("nvrtc".into())).unwrap(), Choice::Nvrtc);
        let error = Choice::of(Some("PTX!".into())).unwrap_err().to_string();
        assert!(error.contains(CHOICE) && error.contains("PTX!"), "{error}");
    }
}
