//! Runs the program as a user does, and looks at its exit code, its output and the files it leaves.

mod bad_files;
mod dtypes;
mod every_backend;
mod json;
mod names;
#[cfg(feature = "pt")]
#[path = "../../../../benches/src/python.rs"]
mod python;
mod random_bytes;
mod round_trips;
mod streaming;
mod support;
mod targets;
mod torch_files;
mod usage;
