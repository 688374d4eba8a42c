//! The room on the disk that a directory is on.

use std::path::{Path, PathBuf};

use bridge_core::Result;

use super::host::HostProbe;
use super::measured::{Measured, Source};
use super::memory_probe::MemoryProbe;
use crate::arguments::invalid;

/// Measures the room on the disk that a directory is on, for spilling to it.
///
/// What is available is what the system leaves to programs without privileges. A directory in memory
/// (tmpfs, ramfs) takes memory of the host: then it is the smaller of its own room and what the
/// host has.
///
/// ```
/// use bridge_memory::probe::{DiskProbe, MemoryProbe as _};
///
/// # #[cfg(target_os = "linux")] {
/// let room = DiskProbe::of(std::env::temp_dir())?.measure()?;
/// assert!(room.available <= room.total);
/// # }
/// assert!(DiskProbe::of("/no/such/directory").is_err());
/// # Ok::<(), bridge_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct DiskProbe {
    directory: PathBuf,
    host: HostProbe,
}

impl DiskProbe {
    /// A probe of the disk that `directory` is on.
    ///
    /// # Errors
    ///
    /// An invalid argument where it is no directory, or cannot be looked at.
    pub fn of(directory: impl Into<PathBuf>) -> Result<Self> {
        Self::with_host(directory, HostProbe::new())
    }

    /// The same, where memory that a directory is in is measured by `host`.
    ///
    /// # Errors
    ///
    /// As [`of`](Self::of).
    pub fn with_host(directory: impl Into<PathBuf>, host: HostProbe) -> Result<Self> {
        let directory = directory.into();
        let kind =
            directory.metadata().map_err(|error| unusable(&directory, &error.to_string()))?;
        if !kind.is_dir() {
            return Err(unusable(&directory, "it is no directory"));
        }
        Ok(Self { directory, host })
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

impl MemoryProbe for DiskProbe {
    /// # Errors
    ///
    /// An invalid argument where the directory is gone.
    fn measure(&self) -> Result<Measured> {
        let room = Room::of(&self.directory).map_err(|why| unusable(&self.directory, &why))?;
        let own = Measured::new(room.total, room.available, Source::FileSystem);
        if !room.is_memory {
            return Ok(own);
        }
        let mut measured = self.host.measure()?;
        // One without a limit of its own says that it has no blocks.
        if room.total > 0 {
            measured.limit(own.total, own.available, &Source::FileSystem);
        }
        Ok(measured)
    }
}

fn unusable(directory: &Path, why: &str) -> bridge_core::Error {
    let expected = format!("{why}; name a directory that exists and can be written to");
    invalid("the directory", &directory.display(), &expected)
}

/// What a file system says of itself, in bytes.
struct Room {
    total: u64,
    available: u64,
    is_memory: bool,
}

#[cfg(target_os = "linux")]
impl Room {
    fn of(directory: &Path) -> Result<Self, String> {
        use std::ffi::CString;
        use std::io;
        use std::mem::MaybeUninit;
        use std::os::unix::ffi::OsStrExt as _;

        let path = CString::new(directory.as_os_str().as_bytes()).map_err(|_| "it has a NUL")?;
        let mut found = MaybeUninit::<libc::statfs>::uninit();
        // SAFETY:
        // - `path` is a string that ends with a NUL and lives through the call;
        // - `found` has room for what the call writes.
        let status = unsafe { libc::statfs(path.as_ptr(), found.as_mut_ptr()) };
        if status != 0 {
            return Err(io::Error::last_os_error().to_string());
        }
        // SAFETY: the call succeeded, so it has written all of it.
        let found = unsafe { found.assume_init() };
        #[allow(clippy::unnecessary_cast, reason = "the fields' types differ between targets")]
        let [block, total, available, kind] = [
            found.f_frsize as u64,
            found.f_blocks as u64,
            found.f_bavail as u64,
            found.f_type as u64,
        ];
        Ok(Self {
            total: total.saturating_mul(block),
            available: available.saturating_mul(block),
            is_memory: matches!(kind & 0xFFFF_FFFF, TMPFS | RAMFS),
        })
    }
}

#[cfg(target_os = "linux")]
const TMPFS: u64 = 0x0102_1994;
#[cfg(target_os = "linux")]
const RAMFS: u64 = 0x8584_58F6;

#[cfg(not(target_os = "linux"))]
impl Room {
    fn of(_: &Path) -> Result<Self, String> {
        Err("the room on it is measured on Linux only".to_owned())
    }
}
