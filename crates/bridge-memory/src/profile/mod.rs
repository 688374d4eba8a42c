//! What a piece of code takes, and a monitor over time.
//!
//! - [`Usage`]: what the process and each device take now, by holder.
//! - [`profile`] and [`Profiler`]: how that changes while a piece of code runs: a [`MemoryDelta`].
//! - [`PeakScope`]: the most that was allocated meanwhile, in a program that counts with a
//!   [`CountingAllocator`].
//! - [`Footprint`]: what the layers of a model take, by name: a [`FootprintReport`].
//! - [`Monitor`]: a thread that samples: a [`Recording`], with its [`Summary`], which is written as CSV,
//!   as JSON by `serde_json`, and drawn as a `Picture` with the Cargo feature `plot`.

mod counting_allocator;
mod delta;
mod footprint;
mod layers;
mod mebibytes;
mod monitor;
mod peak;
#[cfg(feature = "plot")]
mod plot;
mod recorder;
mod recording;
mod usage;

pub use counting_allocator::CountingAllocator;
pub use delta::{DeviceDelta, HolderDelta, MemoryDelta, Profiler, profile};
pub use footprint::{Footprint, FootprintReport, Part};
pub use layers::{Dense, Sketched};
pub use monitor::{Marker, Monitor, MonitorBuilder};
pub use peak::{Peak, PeakScope, allocated_bytes};
#[cfg(feature = "plot")]
pub use plot::Picture;
pub use recorder::{Reading, SampleError, readings};
pub use recording::{Mark, Point, Recording, Seen, Series, SeriesKind, Summary};
pub use usage::{DeviceUsage, HolderUsage, Usage};
