//! What this process has taken.

use std::path::PathBuf;

use bridge_core::{Error, Result};

use super::proc_files::{ProcFiles, kilobytes};

pub(super) const STATUS: &str = "/proc/self/status";

/// The memory of a process, in bytes, as the kernel counts it: each figure can be some hundred
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

    /// Measures another process, by its number.
    ///
    /// # Errors
    ///
    /// As [`measure`](Self::measure): also where the process has ended.
    pub fn of(process: u32) -> Result<Self> {
        let status = format!("/proc/{process}/status");
        Self::read_from(&ProcFiles::at(PathBuf::from("/")), &status)
    }

    pub(super) fn read(files: &ProcFiles) -> Result<Self> {
        Self::read_from(files, STATUS)
    }

    fn read_from(files: &ProcFiles, path: &str) -> Result<Self> {
        let unknown = |what: String| Error::Unsupported {
            what: "measuring the memory of a process".to_owned(),
            remedy: format!("{what}; the process must run, and /proc of Linux be mounted"),
        };
        let status = files.told(path).map_err(unknown)?;
        let value = |name: &str| {
            kilobytes(&status, name).ok_or_else(|| unknown(format!("{path} has no valid {name}")))
        };
        Ok(Self {
            resident: value("VmRSS")?,
            peak_resident: kilobytes(&status, "VmHWM"),
            virtual_size: value("VmSize")?,
        })
    }
}
