//! Which format a file has, by what is in it.

use super::format::Format;
use super::mapped_file::MappedFile;
use super::zip_archive::Archive;
use super::{gguf, npy, pt};

/// The first entry of a zip archive, and the end of an empty one.
const ARCHIVE: [&[u8]; 2] = [b"PK\x03\x04", b"PK\x05\x06"];

/// Bytes of an entry before its name.
const BEFORE_NAME: usize = 30;

/// The format of a file, where its first bytes or the members of the archive that it is tell. `named` is
/// that of its name, which decides of archives that could be either.
pub(super) fn format_of(file: &MappedFile, named: Option<Format>) -> Option<Format> {
    let bytes = file.bytes();
    if bytes.starts_with(npy::MAGIC) {
        Some(Format::Npy)
    } else if ARCHIVE.iter().any(|start| bytes.starts_with(start)) {
        archive_of(file, named)
    } else if bytes.starts_with(gguf::MAGIC) {
        Some(Format::Gguf)
    } else if pt::is_legacy(bytes) {
        Some(Format::Pt)
    } else if is_safetensors(bytes) {
        Some(Format::Safetensors)
    } else {
        None
    }
}

/// Of an archive mostly the first member tells: to read the directory of a large one takes as long as its
/// arrays' headers do.
fn archive_of(file: &MappedFile, named: Option<Format>) -> Option<Format> {
    if let Some(format) = first_member(file.bytes()).and_then(format_of_member) {
        return Some(format);
    }
    if named == Some(Format::Npz) || named == Some(Format::Pt) {
        // Its reader says what is missing.
        let names = Archive::open(file, "torch.save").map(|archive| archive.names());
        let is_pickled = names.is_ok_and(|names| names.iter().any(|name| pt::is_pickle(name)));
        return if is_pickled { Some(Format::Pt) } else { named };
    }
    let names = Archive::open(file, "numpy.savez").ok()?.names();
    if names.iter().any(|name| pt::is_pickle(name)) {
        return Some(Format::Pt);
    }
    names.iter().any(|name| name.ends_with(".npy")).then_some(Format::Npz)
}

fn format_of_member(name: &str) -> Option<Format> {
    if pt::is_pickle(name) {
        Some(Format::Pt)
    } else if name.ends_with(".npy") {
        Some(Format::Npz)
    } else {
        None
    }
}

fn first_member(bytes: &[u8]) -> Option<&str> {
    let length = bytes.get(BEFORE_NAME - 4..BEFORE_NAME - 2)?;
    let length = usize::from(u16::from_le_bytes([length[0], length[1]]));
    std::str::from_utf8(bytes.get(BEFORE_NAME..BEFORE_NAME + length)?).ok()
}

/// Whether a length comes first that fits, and then what JSON's objects begin with.
fn is_safetensors(bytes: &[u8]) -> bool {
    let Some((length, header)) = bytes.split_first_chunk::<8>() else {
        return false;
    };
    header.first() == Some(&b'{') && u64::from_le_bytes(*length) <= header.len() as u64
}
