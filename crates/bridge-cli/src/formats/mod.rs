//! Array files: what is in one, and how one is written. Each format is one module, and `format` chooses
//! among them.

mod array_file;
mod array_writer;
mod arrays;
mod content;
mod format;
mod index;
mod listing;
mod mapped_file;
mod memory;
mod npy;
mod npz;
mod other_kinds;
mod pt;
mod safetensors;
mod target_file;
mod windows;
mod writer;
mod zip_archive;

pub(crate) use self::array_file::{ArrayFile, Elements};
pub(crate) use self::arrays::{Array, Order, Outgoing};
pub(crate) use self::format::Format;
pub(crate) use self::listing::RefusalKind;
pub(crate) use self::memory::{bytes_of, read_tensor};
pub(crate) use self::target_file::TargetFile;
pub(crate) use self::writer::{Contents, Writer};
