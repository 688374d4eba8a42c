//! Zip archives whose checksums fit: a reader refuses all that a change of one byte makes otherwise.

use std::io::Read;
use std::ops::Range;

use flate2::read::DeflateDecoder;

const DIRECTORY_END: &[u8] = b"PK\x05\x06";
const DIRECTORY_ENTRY: &[u8] = b"PK\x01\x02";
const LOCAL_HEADER: &[u8] = b"PK\x03\x04";

/// The most bytes that a member is expanded to.
const MOST: u64 = 1 << 16;

/// The archive with the checksums of its members put right, in its directory and before each member; `None`
/// where it is no archive, or all of them are.
pub fn with_checksums(archive: &[u8]) -> Option<Vec<u8>> {
    let end = archive.windows(DIRECTORY_END.len()).rposition(|at| at == DIRECTORY_END)?;
    let mut entry = number::<4>(archive, end + 16)?;
    let mut repaired = archive.to_vec();
    for _ in 0..number::<2>(archive, end + 10)? {
        if !archive.get(entry..)?.starts_with(DIRECTORY_ENTRY) {
            break;
        }
        if let Some((local, checksum)) = checksum(archive, entry) {
            for place in [entry + 16, local + 14] {
                repaired.get_mut(place..place + 4)?.copy_from_slice(&checksum.to_le_bytes());
            }
        }
        let lengths = [28, 30, 32].map(|place| number::<2>(archive, entry + place));
        entry += 46 + lengths.into_iter().sum::<Option<usize>>()?;
    }
    (repaired != archive).then_some(repaired)
}

/// Where the header before a member is, and the checksum of what is in the member.
fn checksum(archive: &[u8], entry: usize) -> Option<(usize, u32)> {
    let local = number::<4>(archive, entry + 42)?;
    if !archive.get(local..)?.starts_with(LOCAL_HEADER) {
        return None;
    }
    let start = local + 30 + number::<2>(archive, local + 26)? + number::<2>(archive, local + 28)?;
    let member = archive.get(Range { start, end: start + number::<4>(archive, entry + 20)? })?;
    let checksum = match number::<2>(archive, entry + 10)? {
        0 => crc32fast::hash(member),
        8 => {
            let mut expanded = Vec::new();
            DeflateDecoder::new(member).take(MOST).read_to_end(&mut expanded).ok()?;
            crc32fast::hash(&expanded)
        }
        _ => return None,
    };
    Some((local, checksum))
}

/// The little-endian number of `N` bytes at this place.
fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..)?.first_chunk::<N>()?;
    Some(bytes.iter().rev().fold(0, |number, &byte| number << 8 | usize::from(byte)))
}
