//! What a piece of code takes, and a monitor over time.

mod footprints;
mod monitors;
#[cfg(feature = "plot")]
mod pictures;
mod usage;
