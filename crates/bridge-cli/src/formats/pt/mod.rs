//! `.pt` and `.pth`: a zip archive of a pickle, which says what the tensors are, and one member a
//! storage. Read as `torch.load` does with `weights_only=True`, and by no Python: state dictionaries
//! and single tensors.

mod data_types;
mod heap;
mod names;
mod pickle;
mod rebuild;
mod write;

use self::heap::{Heap, Value};
use self::names::{BYTE_ORDER, PICKLE};
use self::rebuild::SAVE_A_STATE_DICTIONARY;
use super::arrays::{Array, Place, Reading};
use super::listing::{Listing, Refusal};
use super::mapped_file::MappedFile;
use super::zip_archive::Archive;
use crate::failure::{Failure, Outcome};

pub(super) use self::data_types::DATA_TYPES;
pub(super) use self::write::{Writer, pickle_of};

/// The most bytes of a pickle that are read: a tensor takes two or three hundred.
const LARGEST_PICKLE: u64 = 64 << 20;

/// Bytes that an entry takes that is no tensor, with its texts, beside its name.
const ROOM_OF_A_REFUSAL: usize = size_of::<Refusal>() + 512;

/// What files began with before PyTorch 1.6: a pickled magic number.
const LEGACY: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";

/// Opens the archive that the file is.
fn open(file: &MappedFile) -> Outcome<Archive> {
    if file.bytes().starts_with(LEGACY) {
        return Err(Failure::new("the file is in the format from before PyTorch 1.6")
            .why("it is one pickle, whose tensors cannot be read without running it")
            .remedy("load it in Python and save it again: torch.save(torch.load(path), path)"));
    }
    Archive::open(file, "torch.save")
}

/// Reads what tensors there are. A file of one tensor has no name for it: it is called `stem`.
pub(super) fn read(file: &MappedFile, stem: &str) -> Outcome<Listing> {
    let mut archive = open(file)?;
    let listing = read_tensors(file, &mut archive, stem)?;
    Ok(Listing { archive: Some(archive), ..listing })
}

/// The tensors, and the entries that are none.
fn read_tensors(file: &MappedFile, archive: &mut Archive, stem: &str) -> Outcome<Listing> {
    let folder = folder(archive)?;
    check_kind(file, archive, &folder)?;
    let (place, _) = member(archive, &format!("{folder}{PICKLE}"))?;
    if place.len() as u64 > LARGEST_PICKLE {
        return Err(Failure::new(format!("the pickle in the file has {} bytes", place.len()))
            .why(format!("a pickle that only describes tensors has at most {LARGEST_PICKLE}"))
            .remedy(SAVE_A_STATE_DICTIONARY));
    }
    let (value, heap) = pickle::read(&file.bytes()[place])?;
    match value {
        Value::Tensor(tensor) => {
            let array = array(archive, &folder, (&heap, tensor), stem)?;
            Ok(Listing { arrays: vec![array], nameless: true, ..Listing::default() })
        }
        Value::Dict(dict) => {
            let mut listing = Listing::default();
            let mut names = std::collections::HashSet::new();
            let mut room = heap.room;
            for (key, value) in heap.entries(dict) {
                let name = name(*key)?;
                let tensor = match tensor(name, *value) {
                    Ok(tensor) => tensor,
                    Err(failure) => {
                        room.take(ROOM_OF_A_REFUSAL + 4 * name.len())?;
                        listing.refusals.push(Refusal::new(name, failure));
                        continue;
                    }
                };
                // Several names can stand for one tensor, whose shape and strides each then has.
                let lists = heap.tensors[tensor].spec.layout.rank() * 2 * size_of::<usize>();
                room.take(size_of::<Array>() + size_of::<&str>() + name.len() + lists)?;
                if !names.insert(name) {
                    return Err(Failure::new(format!("two tensors are named \"{name}\""))
                        .why("one of them would be lost")
                        .remedy("write the file again, with torch.save"));
                }
                let array = array(archive, &folder, (&heap, tensor), name)
                    .map_err(|failure| failure.within(&format!("the tensor \"{name}\"")))?;
                listing.arrays.push(array);
            }
            Ok(listing)
        }
        _ => Err(Failure::new("the file holds neither a tensor nor a dictionary of tensors")
            .why("nothing else can be converted")
            .remedy(SAVE_A_STATE_DICTIONARY)),
    }
}

fn name(key: Value<'_>) -> Outcome<&str> {
    let Value::Text(name) = key else {
        return Err(Failure::new("a key of the dictionary is not a string")
            .why("arrays are named by strings")
            .remedy(SAVE_A_STATE_DICTIONARY));
    };
    Ok(name)
}

/// The tensor that an entry of the dictionary is.
fn tensor(name: &str, value: Value<'_>) -> Outcome<usize> {
    match value {
        Value::Tensor(tensor) => Ok(tensor),
        other => {
            let what = match other {
                Value::Dict(_) => "a dictionary",
                Value::Tuple(_) => "a tuple",
                Value::Int(_) | Value::Float | Value::Bool(_) => "a number",
                Value::Text(_) => "text",
                _ => "no tensor",
            };
            Err(Failure::new(format!("the entry \"{name}\" is {what}"))
                .why("it would be lost: array files hold tensors only")
                .remedy(SAVE_A_STATE_DICTIONARY))
        }
    }
}

/// The folder that all members are in, with a slash behind it.
fn folder(archive: &Archive) -> Outcome<String> {
    let names = archive.names().into_iter();
    let mut found = names.filter_map(|name| name.strip_suffix(PICKLE).map(str::to_owned));
    match (found.next(), found.next()) {
        (Some(folder), None) if folder.ends_with('/') => Ok(folder),
        _ => Err(Failure::new("the archive has no data.pkl, or several")
            .why("a PyTorch file has one, in the folder that everything else is in")
            .remedy("write the file again, with torch.save")),
    }
}

/// Fails for TorchScript programs and for big-endian files.
fn check_kind(file: &MappedFile, archive: &mut Archive, folder: &str) -> Outcome<()> {
    if archive.index_of(&format!("{folder}constants.pkl")).is_some() {
        return Err(Failure::new("the file is a TorchScript program")
            .why("its tensors are stored as part of a program")
            .remedy("save only the tensors: torch.save(torch.jit.load(path).state_dict(), path)"));
    }
    let order = format!("{folder}{BYTE_ORDER}");
    if archive.index_of(&order).is_some() {
        let (place, _) = member(archive, &order)?;
        if &file.bytes()[place] != b"little" {
            return Err(Failure::new("the file's numbers are not little-endian")
                .why("it was written on a big-endian machine")
                .remedy("load it in Python on this machine and save it again"));
        }
    }
    Ok(())
}

/// Where the bytes of a member lie, and its index.
fn member(archive: &mut Archive, name: &str) -> Outcome<(std::ops::Range<usize>, usize)> {
    let index = archive.index_of(name).ok_or_else(|| {
        Failure::new(format!("the archive has no member \"{name}\""))
            .why("the file is damaged or forged")
            .remedy("write the file again, with torch.save")
    })?;
    let mut read = || {
        let member = archive.member(index)?;
        if !member.is_stored() {
            return Err(Failure::new("it is compressed")
                .why("PyTorch stores members as they are")
                .remedy("write the file again, with torch.save"));
        }
        member.stored_bytes()
    };
    let place = read().map_err(|failure| failure.within(&format!("the member \"{name}\"")))?;
    Ok((place, index))
}

fn array(
    archive: &mut Archive,
    folder: &str,
    (heap, tensor): (&Heap<'_>, usize),
    name: &str,
) -> Outcome<Array> {
    let rebuilt = &heap.tensors[tensor];
    let storage = heap.storages[rebuilt.storage];
    let (place, index) = member(archive, &format!("{folder}data/{}", storage.key))?;
    if place.len() != storage.size {
        return Err(Failure::new(format!(
            "the storage \"{}\" is said to have {} bytes, and has {}",
            storage.key,
            storage.size,
            place.len()
        ))
        .why("the file is damaged or forged")
        .remedy("write the file again, with torch.save"));
    }
    let start = place.start;
    Ok(Array {
        name: name.to_owned(),
        spec: rebuilt.spec.clone(),
        place: Place::Stored { start, index },
        reading: Reading::default(),
    })
}
