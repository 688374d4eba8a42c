//! Runs the program as a user does, and looks at its exit code, its output and the files it leaves.
//!
//! Most tests call the library; those about the process itself start the program.

mod bad_files;
#[cfg(feature = "pt")]
mod checkpoints;
mod completions;
mod content;
mod diff;
mod dtypes;
mod element_types;
mod every_backend;
mod gguf;
mod info;
mod json;
mod library;
mod many_files;
#[cfg(unix)]
mod monitor;
mod names;
mod parts;
#[cfg_attr(not(feature = "pt"), allow(dead_code, reason = "most is for files of PyTorch"))]
mod pickles;
mod process;
#[cfg(feature = "pt")]
mod python;
#[cfg(feature = "pt")]
mod python_checkpoints;
mod random_bytes;
mod remedies;
mod round_trips;
mod shards;
mod standard_streams;
mod streaming;
mod support;
mod targets;
mod torch_files;
mod usage;
