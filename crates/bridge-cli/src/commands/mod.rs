//! The commands, one a file.

pub(crate) mod completions;
pub(crate) mod convert;
pub(crate) mod diff;
pub(crate) mod doctor;
pub(crate) mod info;
pub(crate) mod matrix;
mod measure;
pub(crate) mod monitor;
pub(crate) mod plan;
