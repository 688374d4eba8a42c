//! `.npz`: a zip archive of `.npy` files.

use std::collections::HashSet;
use std::io::{Seek, Write};

use super::array_writer::ArrayWriter;
use super::arrays::{Array, Outgoing, Place};
use super::listing::{Listing, Refusal};
use super::mapped_file::MappedFile;
use super::npy;
use super::zip_archive::{Archive, ArchiveWriter, Member};
use crate::failure::{Failure, Outcome};

/// What follows the name of an array in the archive.
const SUFFIX: &str = ".npy";

/// Reads the headers of all members.
pub(super) fn read(file: &MappedFile) -> Outcome<Listing> {
    let mut archive = Archive::open(file, "numpy.savez")?;
    let mut listing = Listing::default();
    for index in 0..archive.len() {
        let name = archive.name_of(index)?;
        if let Some(what) = holds_no_data(&name) {
            let failure = Failure::new(format!("the member \"{name}\": {what}"))
                .why("it holds no array, and the arrays are whole without it");
            listing.refusals.push(Refusal::beside(name, failure));
            continue;
        }
        let size = archive.size_of(index);
        match read_member(&mut archive, index, &name, file) {
            Ok((arrays, refusals)) => {
                listing.arrays.extend(arrays);
                listing.refusals.extend(refusals.into_iter().map(|mut refusal| {
                    refusal.failure = refusal.failure.within(&format!("the member \"{name}\""));
                    refusal
                }));
            }
            Err(failure) => {
                let failure = failure.within(&format!("the member \"{name}\""));
                let name = name.strip_suffix(SUFFIX).unwrap_or(&name);
                listing.refusals.push(Refusal::new(name, failure).of_bytes(size));
            }
        }
    }
    // Members have names of their own; a field can have that of another member.
    if listing.arrays.iter().any(Array::is_scattered) {
        let mut names = HashSet::new();
        let twice = listing.arrays.iter().find(|array: &&Array| !names.insert(&array.name));
        if let Some(twice) = twice {
            return Err(Failure::new(format!("two arrays are named \"{}\"", twice.name))
                .why("a field of records is named after its member, as another member is")
                .remedy("give one of them another name"));
        }
    }
    listing.archive = Some(archive);
    Ok(listing)
}

/// What a member is that tools put beside the data: an entry for a folder, or notes of the system that
/// packed the archive.
fn holds_no_data(name: &str) -> Option<&'static str> {
    let last = name.rsplit('/').next().unwrap_or(name);
    if name.starts_with("__MACOSX/") || last == ".DS_Store" {
        Some("it is what macOS adds to archives")
    } else if name.ends_with('/') {
        Some("it is a folder")
    } else {
        None
    }
}

fn read_member(
    archive: &mut Archive,
    index: usize,
    name: &str,
    file: &MappedFile,
) -> Outcome<(Vec<Array>, Vec<Refusal>)> {
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
    let mut member = archive.member(index)?;
    let (header, place) = if member.is_stored() {
        let bytes = member.stored_bytes()?;
        let header = npy::read_header(&file.bytes()[bytes.clone()])?;
        let start = bytes.start + header.length;
        (header, Place::Stored { start, index })
    } else {
        let header = read_deflated_header(&mut member)?;
        let skip = header.length;
        (header, Place::Deflated { index, skip })
    };
    let needed = header.length as u64 + header.data_length as u64;
    if needed != member.size() {
        let found =
            format!("its header declares {needed} bytes, and the archive {}", member.size());
        return Err(if needed < member.size() {
            Failure::new(found)
                .why("what follows the array in the member would be lost")
                .remedy("save each array as a member of its own: numpy.savez(path, x=x, y=y)")
        } else {
            Failure::new(found)
                .why("the member is cut short, or its header forged")
                .remedy("write the file again, with numpy.savez")
                .damaged()
        });
    }
    header.arrays(name, &format!("{name}."), place)
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
pub(super) struct Writer<F: Write + Seek>(ArchiveWriter<F>);

impl<F: Write + Seek> Writer<F> {
    pub(super) fn new(file: F) -> Self {
        Self(ArchiveWriter::new(file))
    }
}

impl<F: Write + Seek> ArrayWriter for Writer<F> {
    fn begin(&mut self, array: &Outgoing) -> Outcome<()> {
        let header = npy::header(array.data_type, &array.shape, array.order)?;
        let length = array.bytes()?.saturating_add(header.len() as u64);
        self.0.start_member(format!("{}{SUFFIX}", array.name), length)?;
        self.0.write(&header)
    }

    fn write(&mut self, bytes: &[u8]) -> Outcome<()> {
        self.0.write(bytes)
    }

    fn finish(self: Box<Self>) -> Outcome<u64> {
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
