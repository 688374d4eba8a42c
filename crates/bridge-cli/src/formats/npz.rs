//! `.npz`: a zip archive of `.npy` files.

use std::fs::File;

use super::array_writer::ArrayWriter;
use super::arrays::{Array, Outgoing, Place};
use super::listing::Listing;
use super::mapped_file::MappedFile;
use super::npy;
use super::zip_archive::{Archive, ArchiveWriter, Member};
use crate::failure::{Failure, Outcome};

/// What follows the name of an array in the archive.
const SUFFIX: &str = ".npy";

/// Reads the headers of all members.
pub(super) fn read(file: &MappedFile) -> Outcome<Listing> {
    let mut archive = Archive::open(file, "numpy.savez")?;
    let arrays: Outcome<Vec<Array>> = (0..archive.len())
        .map(|index| {
            let mut member = archive.member(index)?;
            let name = member.name()?;
            read_member(&mut member, index, &name, file)
                .map_err(|failure| failure.within(&format!("the member \"{name}\"")))
        })
        .collect();
    Ok(Listing { arrays: arrays?, archive: Some(archive), ..Listing::default() })
}

fn read_member(
    member: &mut Member<'_>,
    index: usize,
    name: &str,
    file: &MappedFile,
) -> Outcome<Array> {
    let Some(name) = name.strip_suffix(SUFFIX) else {
        return Err(Failure::new("it is not an .npy file")
            .why("an .npz file holds arrays and nothing else")
            .remedy("take it out of the archive, or write the archive again with numpy.savez"));
    };
    if let Some(why) = forbids_name(name) {
        return Err(Failure::new(format!("an array named \"{name}\""))
            .why(why)
            .remedy("give it another name"));
    }
    let (header, place) = if member.is_stored() {
        let bytes = member.stored_bytes()?;
        let header = npy::read_header(&file.bytes()[bytes.clone()])?;
        let start = bytes.start + header.length;
        (header, Place::Stored { start, index })
    } else {
        let header = read_deflated_header(member)?;
        let skip = header.length;
        (header, Place::Deflated { index, skip })
    };
    let needed = header.length as u64 + header.data_length as u64;
    if needed != member.size() {
        return Err(Failure::new(format!(
            "its header declares {needed} bytes, and the archive {}",
            member.size()
        ))
        .why("the file is damaged or forged")
        .remedy("write the file again, with numpy.savez"));
    }
    Ok(Array { name: name.to_owned(), spec: header.spec, place, part: 0 })
}

/// Reads no more than the header.
fn read_deflated_header(member: &mut Member<'_>) -> Outcome<npy::Header> {
    member.check_ratio()?;
    let mut bytes = Vec::new();
    member.read_up_to(12, &mut bytes)?;
    let length = npy::header_length(&bytes)?;
    member.read_up_to(length, &mut bytes)?;
    npy::read_header(&bytes)
}

/// Why an array cannot have this name, which could lead outside the folder that the archive is unpacked
/// to.
pub(super) fn forbids_name(name: &str) -> Option<&'static str> {
    let drive = name.as_bytes().get(1..3) == Some(b":/");
    if name.starts_with('/') || name.contains('\\') || drive {
        Some("in a zip archive it is an absolute path, or one on another system")
    } else if name.split('/').any(|part| matches!(part, "." | "..")) {
        Some("in a zip archive it is a path that leads elsewhere")
    } else if name.contains('\0') {
        Some("it has a NUL character, which cuts file names short")
    } else if name.len() > usize::from(u16::MAX) - ".npy".len() {
        Some("it is longer than a zip archive allows")
    } else {
        None
    }
}

/// Writes a member for each array.
pub(super) struct Writer(ArchiveWriter);

impl Writer {
    pub(super) fn new(file: File) -> Self {
        Self(ArchiveWriter::new(file))
    }
}

impl ArrayWriter for Writer {
    fn begin(&mut self, array: &Outgoing) -> Outcome<()> {
        let header = npy::header(array.data_type, &array.shape, array.order)?;
        let length = array.bytes()?.saturating_add(header.len() as u64);
        self.0.start_member(format!("{}{SUFFIX}", array.name), length)?;
        self.0.write(&header)
    }

    fn write(&mut self, bytes: &[u8]) -> Outcome<()> {
        self.0.write(bytes)
    }

    fn finish(self: Box<Self>) -> Outcome<File> {
        self.0.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_forbidden() {
        for name in ["../a", "/a", "a/../b", "..", "C:/a", "a\\b", "a\0b"] {
            assert!(forbids_name(name).is_some(), "{name:?}");
        }
        for name in ["a", "", "layer/weight", "a..b", "kernel:0", "模型.weight"] {
            assert_eq!(forbids_name(name), None, "{name:?}");
        }
    }
}
