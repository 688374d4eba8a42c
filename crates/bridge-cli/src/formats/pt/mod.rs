//! What PyTorch saves: a pickle, which says what the tensors are, and their storages, in a zip archive or,
//! from before PyTorch 1.6, one after the other. Read as `torch.load` does with `weights_only=True`, and by
//! no Python: tensors are found wherever they are among nested plain values. Programs of TorchScript and
//! what libtorch saves are read so too, without their code.

mod archive;
mod data_types;
mod globals;
mod heap;
mod legacy;
mod names;
mod numpy;
mod pickle;
mod rebuild;
mod tree;
mod unread;
mod write;

use self::archive::PickleArchive;
use self::heap::{Heap, Source, Storage, Value};
use self::legacy::Legacy;
use self::names::PICKLE;
use self::tree::{Nameless, Other};
use self::unread::Unread;
use super::arrays::{Array, Place, Reading};
use super::listing::{Listing, Refusal};
use super::mapped_file::MappedFile;
use crate::failure::{Failure, Outcome};

pub(super) use self::data_types::DATA_TYPES;
pub(super) use self::numpy::Latin1;
pub(super) use self::write::{Writer, pickle_of};

/// The most bytes of a pickle that are read: a tensor takes two or three hundred.
const LARGEST_PICKLE: usize = 64 << 20;

const SAVE_A_STATE_DICTIONARY: &str =
    "save only the tensors: torch.save(model.state_dict(), \"weights.pt\")";

const SAVE_THE_STATE_OF_A_MODEL: &str = "if you trust the file, in Python: \
     torch.save(torch.load(path, weights_only=False).state_dict(), \"weights.pt\")";

/// Whether the file begins as those from before PyTorch 1.6.
pub(super) fn is_legacy(bytes: &[u8]) -> bool {
    legacy::behind_magic(bytes).is_some()
}

/// Whether an archive's member of this name is what makes it a PyTorch file.
pub(super) fn is_pickle(member: &str) -> bool {
    member.strip_suffix(PICKLE).is_some_and(|folder| folder.ends_with('/'))
}

/// Where storages are, and the file's bytes.
struct Container<'a> {
    bytes: &'a [u8],
    kind: Kind<'a>,
}

enum Kind<'a> {
    Archive(PickleArchive),
    Legacy(Legacy<'a>),
}

impl Container<'_> {
    fn place_of(&mut self, storage: &Storage<'_>) -> Outcome<Place> {
        match &mut self.kind {
            Kind::Archive(archive) => archive.place_of(storage),
            Kind::Legacy(legacy) => legacy.place_of(storage),
        }
    }

    /// Where these bytes of the pickle are.
    fn place_in_pickle(&mut self, bytes: &[u8], is_text: bool) -> Outcome<Place> {
        // They were borrowed from the file, but for none.
        let start = bytes.as_ptr().addr().checked_sub(self.bytes.as_ptr().addr());
        let start = start.filter(|_| !bytes.is_empty()).unwrap_or(0);
        let index = match &mut self.kind {
            Kind::Archive(archive) => Some(archive.index_of_pickle()?),
            Kind::Legacy(_) => None,
        };
        Ok(match index {
            _ if is_text => Place::Latin1 { start, length: bytes.len(), index },
            Some(index) => Place::Stored { start, index },
            None => Place::Mapped { start },
        })
    }
}

/// Reads what tensors there are. A file of one tensor has no name for it: it is called `stem`.
pub(super) fn read(file: &MappedFile, stem: &str) -> Outcome<Listing> {
    let bytes = file.bytes();
    if let Some(at) = legacy::behind_magic(bytes) {
        let (values, at) = legacy::read_values(bytes, at)?;
        let kind = Kind::Legacy(Legacy::new(bytes, at, &values.heap)?);
        let mut container = Container { bytes, kind };
        return list(&values.heap, values.value, &mut container, stem);
    }
    let mut archive = PickleArchive::open(file)?;
    let place = archive.pickle()?;
    let values = pickle::read(&bytes[place])?;
    let constants = archive.constants();
    let mut container = Container { bytes, kind: Kind::Archive(archive) };
    let mut listing = list(&values.heap, values.value, &mut container, stem)?;
    if constants > 0
        && listing.arrays.is_empty()
        && listing.refusals.iter().all(|it| !it.would_be_lost())
    {
        return Err(Failure::new(format!("the program has {constants} tensors, all of its code"))
            .why("torch.jit.freeze makes constants of parameters, which lose their names")
            .remedy("save the program, or its state_dict(), before it is frozen"));
    }
    if constants > 0 {
        let failure = Failure::new(format!("{constants} tensors that belong to a program's code"))
            .why("of a TorchScript program its parameters and buffers are read");
        listing.refusals.push(Refusal::beside("constants", failure));
    }
    if let Kind::Archive(PickleArchive { archive, .. }) = container.kind {
        listing.archive = Some(archive);
    }
    Ok(listing)
}

/// Lists what tensors there are in a value, and what else.
fn list(
    heap: &Heap<'_>,
    root: Value<'_>,
    container: &mut Container<'_>,
    stem: &str,
) -> Outcome<Listing> {
    let mut room = heap.room;
    match root {
        Value::Tensor(tensor) if heap.lacks_elements(tensor) => {
            let refusals = vec![Refusal::new(stem, Unread::OfNumpy.failure())];
            return Ok(Listing { refusals, nameless: true, ..Listing::default() });
        }
        Value::Tensor(tensor) => {
            let arrays = vec![array(container, (heap, tensor), stem.to_owned())?];
            let mut refusals = Vec::new();
            if tree::leads_to_tensor(heap, heap.attributes(root), &mut room)? {
                let failure = nameless(Nameless::Attribute);
                refusals.push(Refusal::new(format!("{stem}.__dict__"), failure));
            }
            return Ok(Listing { arrays, refusals, nameless: true, ..Listing::default() });
        }
        Value::Set(_) if tree::leads_to_tensor(heap, root, &mut room)? => {
            let refusals = vec![Refusal::new(stem, nameless(Nameless::Set))];
            return Ok(Listing { refusals, nameless: true, ..Listing::default() });
        }
        Value::Unread(_) | Value::Storage(_) => {
            let unread = match root {
                Value::Unread(unread) => unread,
                _ => Unread::Storage,
            };
            let refusals = vec![Refusal::new(stem, unread.failure())];
            return Ok(Listing { refusals, nameless: true, ..Listing::default() });
        }
        _ => {}
    }
    let mut found = tree::find(heap, root, &mut room)?;
    if heap.is_archive(root) {
        // libtorch allows no dots in names: tch writes this in their place.
        found.tensors.iter_mut().for_each(|(name, _)| *name = name.replace('|', "."));
    }
    tree::check_names(&found.tensors, &mut room)?;
    let mut listing = Listing::default();
    for (name, tensor) in found.tensors {
        // Several names can stand for one tensor, whose shape and strides each then has.
        let lists = heap.tensors[tensor].spec.layout.rank() * 2 * size_of::<usize>();
        room.take(size_of::<Array>() + lists)?;
        let place = format!("the tensor \"{name}\"");
        let array =
            array(container, (heap, tensor), name).map_err(|failure| failure.within(&place))?;
        listing.arrays.push(array);
    }
    listing.refusals = found.others.into_iter().map(refusal).collect();
    if found.more > 0 {
        let failure = Failure::new(format!("{} more values that are no tensors", found.more));
        listing.refusals.push(Refusal::beside("…", failure));
    }
    let has_tensors = listing.refusals.iter().any(Refusal::would_be_lost);
    if listing.arrays.is_empty() && !has_tensors && !is_empty(heap, root) {
        return Err(Failure::new(format!("the file holds no tensors: it is {}", root.kind()))
            .why("nothing else can be converted")
            .remedy(SAVE_A_STATE_DICTIONARY));
    }
    Ok(listing)
}

/// Whether a value could hold tensors and holds nothing.
fn is_empty(heap: &Heap<'_>, value: Value<'_>) -> bool {
    match value {
        Value::Dict(dict) => heap.entries(dict).is_empty(),
        Value::Object(_) => true,
        other => heap.items(other).is_some_and(<[_]>::is_empty),
    }
}

fn refusal(other: Other<'_>) -> Refusal {
    match other {
        Other::Unread(name, unread) => {
            let failure = unread.failure().within(&format!("the entry \"{name}\""));
            Refusal::new(name, failure)
        }
        Other::Unnamed(name, key) => {
            let failure = Failure::new(format!("the entry \"{name}\": its key is {key}"))
                .why("arrays are named by texts and numbers")
                .remedy("save the tensors in a dictionary whose keys are texts");
            Refusal::new(name, failure)
        }
        Other::Nameless(name, which) => {
            let failure = nameless(which).within(&format!("the entry \"{name}\""));
            Refusal::new(name, failure)
        }
        Other::Beside(name, what) => Refusal::beside(name, Failure::new(what)),
    }
}

/// A tensor that has no name of its own, and would be lost.
fn nameless(which: Nameless) -> Failure {
    let (found, why) = match which {
        Nameless::Set => ("a tensor in a set", "the items of a set have no names"),
        Nameless::Key => ("a tensor in the key of a dictionary", "a key has no name of its own"),
        Nameless::Attribute => {
            ("a tensor in an attribute", "arrays are the values of lists and dictionaries")
        }
    };
    Failure::new(found).why(why).remedy("save it in a list or in a dictionary, as a value")
}

fn array(
    container: &mut Container<'_>,
    (heap, tensor): (&Heap<'_>, usize),
    name: String,
) -> Outcome<Array> {
    let rebuilt = &heap.tensors[tensor];
    let place = match rebuilt.source {
        Source::Storage(storage) => container.place_of(&heap.storages[storage])?,
        Source::Bytes(bytes) => container.place_in_pickle(bytes, false)?,
        Source::Latin1(text) => container.place_in_pickle(text.as_bytes(), true)?,
        Source::Numpy => return Err(Unread::OfNumpy.failure()),
    };
    let reading = Reading { swapped: rebuilt.swapped, scattered: None };
    Ok(Array { name, spec: rebuilt.spec.clone(), place, reading, part: 0 })
}

/// Fails where a storage has other bytes than it is said to have.
fn check_size(storage: &Storage<'_>, found: usize) -> Outcome<()> {
    if found == storage.size {
        return Ok(());
    }
    Err(Failure::new(format!(
        "the storage \"{}\" is said to have {} bytes, and has {found}",
        storage.key, storage.size
    ))
    .why("the file is damaged or forged")
    .remedy("write the file again, with torch.save")
    .damaged())
}

fn too_long(length: usize) -> Failure {
    Failure::new(format!("the pickle in the file has {length} bytes"))
        .why(format!("a pickle that only describes tensors has at most {LARGEST_PICKLE}"))
        .remedy(SAVE_A_STATE_DICTIONARY)
}
