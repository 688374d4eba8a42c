//! Runs the program as a user does, and looks at its exit code, its output and the files it leaves.
//!
//! Most tests call the library; those about the process itself start the program.

mod bad_files;
mod diff;
mod dtypes;
mod element_types;
mod every_backend;
mod gguf;
mod info;
mod json;
mod library;
#[cfg(unix)]
mod monitor;
mod names;
mod parts;
mod process;
mod random_bytes;
mod remedies;
mod round_trips;
mod streaming;
mod support;
mod targets;
mod torch_files;
mod usage;
