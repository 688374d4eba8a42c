//! How much memory the host, each device and a disk have, and how much of it could be taken now.
//!
//! A [`MemoryProbe`] answers with a [`Measured`]: bytes, and for each figure where it comes from.
//!
//! - [`HostProbe`]: the host, as far as this process may use it: what containers (cgroup v1 and v2)
//!   and the process's own limits allow.
//! - [`DeviceProbe`]: a device, through those who hold memory of it.
//! - [`DiskProbe`]: a directory that is spilled to.
//! - [`TotalProbe`]: several of them together.
//! - [`FixedProbe`]: what a test says.
//! - [`Cached`]: any of them, asked no more often than it has to be. A probe can take milliseconds.
//!
//! [`ProcessMemory`] is what this process has taken itself, and [`CgroupEvents`] tells how often a process ran
//! into the limits of its container.
//!
//! ```
//! use bridge_memory::probe::{Cached, HostProbe, MemoryProbe as _};
//!
//! let host = Cached::new(HostProbe::new());
//! let measured = host.measure()?;
//! assert!(measured.available <= measured.total);
//! println!("{measured}"); // tells the container's limit, too, where it is the smallest
//! # Ok::<(), bridge_core::Error>(())
//! ```

mod cached;
mod call_rate;
mod cgroup;
mod device;
mod disk;
mod fixed;
mod host;
mod measured;
mod meminfo;
mod memory_probe;
mod proc_files;
mod process;
mod process_limits;
mod total;

pub use cached::Cached;
pub use cgroup::{CgroupCounts, CgroupEvents};
pub use device::DeviceProbe;
pub use disk::DiskProbe;
pub use fixed::FixedProbe;
pub use host::{FALLBACK_BYTES, HostProbe};
pub use measured::{Measured, Source};
pub use memory_probe::MemoryProbe;
pub use process::ProcessMemory;
pub use total::TotalProbe;
