//! What this process has taken.

use std::path::PathBuf;

use bridge_core::{Error, Result};

use super::proc_files::{ProcFiles, kilobytes};

pub(super) const STATUS: &str = "/proc/self/status";

/// The memory of this process, in bytes, as the kernel counts it: each figure can be some hundred
/// pages behind, as processors count by themselves for a while.
///
/// ```
/// # #[cfg(target_os = "linux")] {
/// use bridge_memory::probe::ProcessMemory;
///
/// let process = ProcessMemory::measure()?;
/// assert!(process.resident <= process.virtual_size);
/// # }
/// # Ok::<(), bridge_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProcessMemory {
    /// In the host's memory now (`VmRSS`).
    pub resident: u64,
    /// The most that was there at any time (`VmHWM`); `None` where the kernel does not count it.
    pub peak_resident: Option<u64>,
    /// The size of the address space in use (`VmSize`).
    pub virtual_size: u64,
}

impl ProcessMemory {
    /// Measures this process.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] where `/proc/self/status` does not say it.
    pub fn measure() -> Result<Self> {
        Self::read(&ProcFiles::at(PathBuf::from("/")))
    }

    pub(super) fn read(files: &ProcFiles) -> Result<Self> {
        let unknown = |what: String| Error::Unsupported {
            what: "measuring the memory of this process".to_owned(),
            remedy: format!("{what}; mount /proc of Linux"),
        };
        let status = files.told(STATUS).map_err(unknown)?;
        let value = |name: &str| {
            kilobytes(&status, name).ok_or_else(|| unknown(format!("{STATUS} has no valid {name}")))
        };
        Ok(Self {
            resident: value("VmRSS")?,
            peak_resident: kilobytes(&status, "VmHWM"),
            virtual_size: value("VmSize")?,
        })
    }
}
