//! `.npz`: a zip archive of `.npy` files.

use std::io::{Cursor, Read};

use zip::read::ZipFile;
use zip::{CompressionMethod, ZipArchive};

use super::listed::{Array, Place};
use super::mapped_file::MappedFile;
use super::{Format, names, npy};
use crate::failure::{Failure, Outcome};

/// What the name of an array has in the archive besides.
pub(super) const SUFFIX: &str = ".npy";

/// Deflate makes at most this many bytes of one.
const HIGHEST_RATIO: u64 = 1032;

pub(super) type Archive = ZipArchive<Cursor<MappedFile>>;
pub(super) type Member<'a> = ZipFile<'a, Cursor<MappedFile>>;

/// What writes such files, for advice.
pub(super) const WRITTEN_WITH: &str = "numpy.savez";

/// Opens the archive that the file is, which is written `with` a function of Python.
pub(super) fn open(file: &MappedFile, with: &str) -> Outcome<Archive> {
    let archive = ZipArchive::new(Cursor::new(file.clone()));
    let mut archive = archive.map_err(|error| broken(&error, with))?;
    if archive.has_duplicate_names() {
        return Err(Failure::new("two members of the archive have the same name")
            .why("one of them would be lost")
            .remedy(format!("write the file again, with {with}")));
    }
    if archive.has_overlapping_files().map_err(|error| broken(&error, with))? {
        return Err(Failure::new("members of the archive overlap")
            .why("bytes that are used twice make small archives expand without end")
            .remedy(format!("write the file again, with {with}")));
    }
    Ok(archive)
}

/// Reads the headers of all members.
pub(super) fn read(file: &MappedFile, archive: &mut Archive) -> Outcome<Vec<Array>> {
    (0..archive.len())
        .map(|index| {
            let broken = |error| broken(&error, WRITTEN_WITH);
            let mut member = archive.by_index(index).map_err(broken)?;
            let name = member.name().map_err(broken)?.into_owned();
            read_member(&mut member, index, &name, file)
                .map_err(|failure| failure.within(&format!("the member \"{name}\"")))
        })
        .collect()
}

fn read_member(
    member: &mut Member<'_>,
    index: usize,
    name: &str,
    file: &MappedFile,
) -> Outcome<Array> {
    let Some(name) = name.strip_suffix(SUFFIX) else {
        return Err(Failure::new("it is no .npy file")
            .why("an .npz file holds arrays and nothing else")
            .remedy("take it out of the archive, or write the archive again with numpy.savez"));
    };
    names::check_name(Format::Npz, name)?;
    let (header, place) = match member.compression() {
        CompressionMethod::Stored => {
            let bytes = stored_bytes(member, file, WRITTEN_WITH)?;
            let header = npy::read_header(&file.bytes()[bytes.clone()])?;
            let start = bytes.start + header.length;
            (header, Place::Stored { start, index })
        }
        _ => {
            let header = read_deflated_header(member)?;
            let skip = header.length;
            (header, Place::Deflated { index, skip })
        }
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
    Ok(Array { name: name.to_owned(), spec: header.spec, place })
}

/// Where the bytes of a stored member lie in the file.
pub(super) fn stored_bytes(
    member: &Member<'_>,
    file: &MappedFile,
    with: &str,
) -> Outcome<std::ops::Range<usize>> {
    let range = || {
        let start = usize::try_from(member.data_start()?).ok()?;
        let length = usize::try_from(member.size()).ok()?;
        let end = start.checked_add(length)?;
        let inside = end <= file.bytes().len() && member.size() == member.compressed_size();
        inside.then_some(start..end)
    };
    range().ok_or_else(|| {
        Failure::new(format!(
            "it claims {} bytes, which reach beyond the end of the file",
            member.size()
        ))
        .why("the file is cut short or forged")
        .remedy(format!("write the file again, with {with}"))
    })
}

/// Reads no more than the header.
fn read_deflated_header(member: &mut Member<'_>) -> Outcome<npy::Header> {
    let most = member.compressed_size().saturating_add(1).saturating_mul(HIGHEST_RATIO);
    if member.size() > most {
        return Err(Failure::new(format!(
            "it claims to hold {} bytes in {} compressed ones",
            member.size(),
            member.compressed_size()
        ))
        .why(format!("deflate makes at most {HIGHEST_RATIO} bytes of one: the sizes are forged"))
        .remedy("write the file again, with numpy.savez_compressed"));
    }
    let mut bytes = Vec::new();
    let mut read_up_to = |length: usize| {
        let missing = length.saturating_sub(bytes.len()) as u64;
        member
            .by_ref()
            .take(missing)
            .read_to_end(&mut bytes)
            .map_err(|error| unreadable(&error))?;
        Ok::<_, Failure>(bytes.clone())
    };
    let length = npy::header_length(&read_up_to(12)?)?;
    npy::read_header(&read_up_to(length)?)
}

/// Reads a stored member whole, which compares its checksum, and lets go of its pages.
pub(super) fn verify(
    file: &MappedFile,
    mut archive: Archive,
    index: usize,
    with: &str,
) -> Outcome<()> {
    let mut member = archive.by_index(index).map_err(|error| broken(&error, with))?;
    let mut at = stored_bytes(&member, file, with)?.start;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match member.read(&mut buffer).map_err(|error| unreadable(&error))? {
            0 => return Ok(()),
            read => {
                file.let_go(at, read);
                at += read;
            }
        }
    }
}

/// Gives `read` the elements of a deflated member as a stream of exactly the declared length, whose
/// checksum is compared at its end.
pub(super) fn with_deflated<T>(
    mut archive: Archive,
    (index, skip, length): (usize, usize, u64),
    read: impl FnOnce(&mut dyn Read) -> Outcome<T>,
) -> Outcome<T> {
    let mut member = archive.by_index(index).map_err(|error| broken(&error, WRITTEN_WITH))?;
    let header = std::io::copy(&mut member.by_ref().take(skip as u64), &mut std::io::sink());
    header.map_err(|error| unreadable(&error))?;
    let mut elements = member.by_ref().take(length);
    let done = read(&mut elements)?;
    // One byte more would be one too many; none makes the reader compare the checksum.
    match member.read(&mut [0]).map_err(|error| unreadable(&error))? {
        0 => Ok(done),
        _ => Err(Failure::new("it holds more bytes than its header declares")
            .why("the file is forged")
            .remedy("write the file again, with numpy.savez_compressed")),
    }
}

fn unreadable(error: &std::io::Error) -> Failure {
    Failure::new("its bytes cannot be read")
        .why(error)
        .remedy("the file is damaged: write it again")
}

pub(super) fn broken(error: &zip::result::ZipError, with: &str) -> Failure {
    Failure::new("the file is no zip archive that can be read")
        .why(error)
        .remedy(format!("write the file again, with {with}"))
}
