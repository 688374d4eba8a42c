//! Array files: what is in one, and how one is written. Each format is one module, and `format` chooses
//! among them.

mod array_file;
mod array_writer;
mod arrays;
mod buffered_file;
mod byte_order;
mod content;
mod format;
mod gguf;
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
pub(crate) use self::listing::{Refusal, RefusalKind};
pub(crate) use self::mapped_file::MappedFile;
pub(crate) use self::memory::{bytes_of, in_written_order, read_tensor, row_major_bytes};
pub(crate) use self::target_file::{TargetFile, is_same_file};
pub(crate) use self::writer::{Contents, Writer};
