//! Zip archives, which several formats are: read from a mapped file, and written so that they can be mapped.

mod read;
mod write;

pub(super) use self::read::{Archive, Member};
pub(super) use self::write::ArchiveWriter;
