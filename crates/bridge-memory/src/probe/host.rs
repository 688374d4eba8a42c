//! The memory of the host, as far as this process may use it.

use std::path::PathBuf;

use bridge_core::Result;

use super::cgroup;
use super::measured::{Measured, Source};
use super::meminfo::MemInfo;
use super::memory_probe::MemoryProbe;
use super::proc_files::{ProcFiles, kilobytes};
use super::process::{ProcessMemory, STATUS};
use super::process_limits;

/// What the host is assumed to have where `/proc/meminfo` does not say it: 16 GiB, all of it
/// available.
pub const FALLBACK_BYTES: u64 = 16 << 30;

/// Measures the host's memory, as far as this process may use it.
///
/// The figures are the smallest of
/// - `MemTotal` and `MemAvailable` of `/proc/meminfo`; swap does not count;
/// - the limits of every cgroup that the process is in, from its own up to the root, v2
///   (`memory.max`, and `memory.high`, above which the kernel slows the process down) and v1
///   (`memory.limit_in_bytes`, `hierarchical_memory_limit`). What a group uses leaves out
///   `inactive_file`, the part of the file cache that the kernel gives up first;
/// - the process's own limits: `ulimit -v` and `ulimit -d`.
///
/// It always answers. Where `/proc/meminfo` cannot be read (no Linux, no `/proc`), the host is
/// assumed to have [`FALLBACK_BYTES`], marked [`Source::Fallback`]; where another file cannot be
/// read, its limit does not count. Either way [`Measured::problems`] says what is missing.
///
/// Each measurement reads some ten of the kernel's files, which takes a fraction of a millisecond; put
/// it into a [`Cached`](super::Cached) where it is asked often.
///
/// ```
/// use bridge_memory::probe::{HostProbe, MemoryProbe as _, Source};
///
/// let measured = HostProbe::new().measure()?;
/// if measured.total_from == Source::Fallback {
///     eprintln!("not measured: {}", measured.problems.join("; "));
/// }
/// # Ok::<(), bridge_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct HostProbe {
    files: ProcFiles,
}

impl HostProbe {
    /// Of this machine.
    pub fn new() -> Self {
        Self::at(PathBuf::from("/"))
    }

    /// As if `root` were the root of the file system, with `proc` and `sys` in it: for tests, and
    /// for a container that has the host's files elsewhere.
    pub fn at(root: PathBuf) -> Self {
        Self { files: ProcFiles::at(root) }
    }

    /// What the process has taken.
    ///
    /// # Errors
    ///
    /// As [`ProcessMemory::measure`].
    pub fn process(&self) -> Result<ProcessMemory> {
        ProcessMemory::read(&self.files)
    }
}

impl Default for HostProbe {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryProbe for HostProbe {
    fn measure(&self) -> Result<Measured> {
        let mut measured = of_the_machine(&self.files);
        let status = self.files.told(STATUS).ok();
        let resident = status.as_deref().and_then(|status| kilobytes(status, "VmRSS"));
        cgroup::apply(&self.files, resident, &mut measured);
        process_limits::apply(&self.files, status.as_deref(), &mut measured);
        Ok(measured)
    }

    /// What is resident of it.
    fn own(&self) -> Option<u64> {
        kilobytes(&self.files.told(STATUS).ok()?, "VmRSS")
    }
}

/// The memory of the machine, whoever may use it.
fn of_the_machine(files: &ProcFiles) -> Measured {
    let MemInfo { total, available, mut problems } = MemInfo::read(files);
    let source = |found: Option<u64>| found.map_or(Source::Fallback, |_| Source::MemInfo);
    if total.is_none() {
        problems.push(format!("{FALLBACK_BYTES} bytes of memory are assumed"));
    }
    let mut measured = Measured::new(total.unwrap_or(FALLBACK_BYTES), u64::MAX, source(total));
    if let Some(available) = available {
        measured.available = available.min(measured.total);
    } else if total.is_some() {
        problems.push("all memory is assumed to be available".to_owned());
    }
    measured.available_from = source(available);
    measured.problems = problems;
    measured
}
