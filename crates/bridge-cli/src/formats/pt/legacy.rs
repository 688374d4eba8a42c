//! Files from before PyTorch 1.6: five pickles (a magic number, the version of the format, what machine
//! wrote it, the values, the keys of the storages), then each storage with its length before it.

use std::collections::HashMap;
use std::ops::Range;

use super::archive::not_little_endian;
use super::heap::{Heap, Storage, Value};
use super::pickle::{self, Pickle};
use crate::failure::{Failure, Outcome};
use crate::formats::arrays::Place;

/// The magic number 0x1950a86a20f9469cfc6c as pickles have it, and the end of its pickle.
const MAGIC: &[u8] = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";

/// The magic number begins within so many bytes: behind the protocol, and from protocol 4 on a length.
const BEFORE_MAGIC: usize = 16;

/// The one version of the format.
const VERSION: i64 = 1001;

/// Bytes of a storage's length, which counts elements.
const LENGTH: usize = 8;

/// Where the pickle of the magic number ends, if the file begins with it.
pub(super) fn behind_magic(bytes: &[u8]) -> Option<usize> {
    let start = bytes.get(..BEFORE_MAGIC + MAGIC.len()).unwrap_or(bytes);
    let at = start.windows(MAGIC.len()).position(|window| window == MAGIC)?;
    (start.first() == Some(&0x80)).then_some(at + MAGIC.len())
}

/// Where each storage lies in the file.
#[derive(Debug)]
pub(super) struct Legacy<'a>(HashMap<&'a str, Range<usize>>);

/// Reads the pickle of the values, which follow the magic number's that ends at `at`; and where it ends.
pub(super) fn read_values(bytes: &[u8], mut at: usize) -> Outcome<(Pickle<'_>, usize)> {
    let mut next = || -> Outcome<Pickle<'_>> {
        let pickle = pickle::read(&bytes[at..])?;
        at += pickle.length;
        Ok(pickle)
    };
    let version = next()?.value;
    if version != Value::Int(VERSION) {
        return Err(Failure::new("the file has an unknown version of the format from before 1.6")
            .why(format!("there is version {VERSION} alone"))
            .remedy("write the file again, with torch.save"));
    }
    if is_big_endian(&next()?) {
        return Err(not_little_endian());
    }
    let values = next()?;
    Ok((values, at))
}

fn is_big_endian(machine: &Pickle<'_>) -> bool {
    let Value::Dict(dict) = machine.value else {
        return false;
    };
    machine.heap.entries(dict).contains(&(Value::Text("little_endian"), Value::Bool(false)))
}

impl<'a> Legacy<'a> {
    /// Finds the storages that the values lie in: their keys, and the storages in the same order, begin at
    /// `at` and end with the file.
    pub(super) fn new(bytes: &'a [u8], mut at: usize, values: &Heap<'_>) -> Outcome<Self> {
        let mut described = HashMap::new();
        for storage in &values.storages {
            let before = described.insert(storage.key, storage);
            if before.is_some_and(|before| before.size != storage.size) {
                return Err(broken(format!("the storage \"{}\" has two lengths", storage.key)));
            }
        }
        let keys = pickle::read(&bytes[at..])?;
        at += keys.length;
        let no_list = || broken("the keys of the storages are no list".to_owned());
        let list = keys.heap.items(keys.value).ok_or_else(no_list)?;
        let mut places = HashMap::new();
        for key in list {
            let Value::Text(key) = *key else {
                return Err(no_list());
            };
            let storage = described
                .get(key)
                .ok_or_else(|| broken(format!("no tensor lies in the storage \"{key}\"")))?;
            let cut_off = || broken(format!("it ends before the storage \"{key}\" does"));
            let length = bytes.get(at..).and_then(|rest| rest.first_chunk::<LENGTH>());
            let length = u64::from_le_bytes(*length.ok_or_else(cut_off)?);
            let found = usize::try_from(length).ok().and_then(|it| it.checked_mul(storage.element));
            super::check_size(storage, found.unwrap_or(usize::MAX))?;
            let start = at + LENGTH;
            at = start.checked_add(storage.size).ok_or_else(cut_off)?;
            if at > bytes.len() {
                return Err(cut_off());
            }
            if places.insert(key, start..at).is_some() {
                return Err(broken(format!("the storage \"{key}\" is there twice")));
            }
        }
        if at != bytes.len() {
            return Err(Failure::new(format!("{} bytes follow the tensors", bytes.len() - at))
                .why(
                    "what follows them would be lost: some programs save several times to one file",
                )
                .remedy("save each to a file of its own"));
        }
        Ok(Self(places))
    }

    /// Where the elements of a storage lie.
    pub(super) fn place_of(&self, storage: &Storage<'_>) -> Outcome<Place> {
        let place = self
            .0
            .get(storage.key)
            .ok_or_else(|| broken(format!("the storage \"{}\" is not in the file", storage.key)))?;
        Ok(Place::Mapped { start: place.start })
    }
}

fn broken(found: String) -> Failure {
    Failure::new(found)
        .why("the file is cut short, damaged or forged")
        .remedy("write the file again, with torch.save")
        .damaged()
}
