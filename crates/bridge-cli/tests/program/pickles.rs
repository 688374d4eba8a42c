//! Pickles as PyTorch writes them, and the files that they are in, built from bytes.

use crate::support::stored;

/// A value to pickle.
#[derive(Clone)]
pub(crate) enum Pickled {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(&'static str),
    List(Vec<Pickled>),
    Tuple(Vec<Pickled>),
    Dict(Vec<(Pickled, Pickled)>),
    Global(&'static str, &'static str),
    /// A call of a global.
    Call(&'static str, &'static str, Vec<Pickled>),
    /// An object of a class, and its attributes.
    Object(&'static str, &'static str, Vec<(&'static str, Pickled)>),
    /// Float32 elements that fill the storage of this key, and their number.
    Tensor(&'static str, i64),
    /// These bytes.
    Raw(Vec<u8>),
}

use Pickled::{Call, Dict, Global, Int, Text, Tuple};

pub(crate) fn call(module: &'static str, name: &'static str, given: &[Pickled]) -> Pickled {
    Call(module, name, given.to_vec())
}

pub(crate) fn dict(entries: &[(&'static str, Pickled)]) -> Pickled {
    Dict(entries.iter().map(|(key, value)| (Text(key), value.clone())).collect())
}

/// The id of a storage.
pub(crate) fn storage(
    class: &'static str,
    key: &'static str,
    place: &'static str,
    count: i64,
) -> Pickled {
    storage_saying(class, key, place, count, &[])
}

/// The same, with what files from before PyTorch 1.6 say besides.
fn storage_saying(
    class: &'static str,
    key: &'static str,
    place: &'static str,
    count: i64,
    more: &[Pickled],
) -> Pickled {
    let id = [Text("storage"), Global("torch", class), Text(key), Text(place), Int(count)];
    Pickled::Raw([Tuple([&id, more].concat()).operations(), b"Q".to_vec()].concat())
}

/// Float32 elements as files from before PyTorch 1.6 have them: the last `count` of a storage of `all`. Where
/// they are not all of it, as before PyTorch 0.4: in a storage that is a part of another one.
pub(crate) fn old_tensor(key: &'static str, all: i64, count: i64) -> Pickled {
    let part = || Tuple(vec![Text("part"), Int(all - count), Int(count)]);
    let part = if count == all { Pickled::None } else { part() };
    Pickled::Raw(tensor(storage_saying("FloatStorage", key, "cpu", all, &[part]), count))
}

impl Pickled {
    pub(crate) fn operations(&self) -> Vec<u8> {
        let all = |items: &[Self]| items.iter().flat_map(Self::operations).collect::<Vec<_>>();
        match self {
            Self::None => b"N".to_vec(),
            Self::Bool(true) => vec![0x88],
            Self::Bool(false) => vec![0x89],
            Self::Int(value) => [&[0x8a, 8][..], &value.to_le_bytes()].concat(),
            Self::Float(value) => [&b"G"[..], &value.to_be_bytes()].concat(),
            Self::Text(text) => {
                [&b"X"[..], &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat()
            }
            Self::List(items) => [&b"]("[..], &all(items), b"e"].concat(),
            Self::Tuple(items) => [&b"("[..], &all(items), b"t"].concat(),
            Self::Dict(entries) => {
                let pairs = entries.iter().flat_map(|(key, value)| [key, value]);
                let pairs: Vec<u8> = pairs.flat_map(Self::operations).collect();
                [&b"}("[..], &pairs, b"u"].concat()
            }
            Self::Global(module, name) => format!("c{module}\n{name}\n").into_bytes(),
            Self::Call(module, name, given) => {
                let function = Self::Global(module, name).operations();
                [function, Self::Tuple(given.clone()).operations(), b"R".to_vec()].concat()
            }
            Self::Object(module, name, attributes) => {
                let class = Self::Global(module, name).operations();
                [class, b")\x81".to_vec(), dict(attributes).operations(), b"b".to_vec()].concat()
            }
            Self::Tensor(key, count) => tensor(storage("FloatStorage", key, "cpu", *count), *count),
            Self::Raw(bytes) => bytes.clone(),
        }
    }

    /// A whole pickle.
    pub(crate) fn pickle(&self) -> Vec<u8> {
        [&b"\x80\x02"[..], &self.operations(), b"."].concat()
    }
}

/// What makes a tensor of one axis that fills a storage.
fn tensor(storage: Pickled, count: i64) -> Vec<u8> {
    let one = |value| Tuple(vec![Int(value)]);
    let hooks = call("collections", "OrderedDict", &[]);
    let given = [storage, Int(0), one(count), one(1), Pickled::Bool(false), hooks];
    call("torch._utils", "_rebuild_tensor_v2", &given).operations()
}

/// A tensor in a storage of another class, or on another device.
pub(crate) fn tensor_in(
    class: &'static str,
    key: &'static str,
    place: &'static str,
    count: i64,
) -> Pickled {
    Pickled::Raw(tensor(storage(class, key, place, count), count))
}

/// A file of `torch.save`: this value, and these storages.
pub(crate) fn torch_file(value: &Pickled, storages: &[(&str, &[u8])]) -> Vec<u8> {
    torch_archive(value, storages, &[])
}

/// The same, with other members in its folder.
pub(crate) fn torch_archive(
    value: &Pickled,
    storages: &[(&str, &[u8])],
    more: &[(&str, &[u8])],
) -> Vec<u8> {
    let pickle = value.pickle();
    let mut members = vec![("archive/data.pkl".to_owned(), &pickle[..])];
    members.push(("archive/byteorder".to_owned(), b"little"));
    let storages = storages.iter().map(|(key, bytes)| (format!("archive/data/{key}"), *bytes));
    members.extend(storages);
    members.extend(more.iter().map(|(name, bytes)| (format!("archive/{name}"), *bytes)));
    let members: Vec<_> = members.iter().map(|(name, bytes)| (&**name, *bytes)).collect();
    stored(&members)
}

/// A file from before PyTorch 1.6: this value, and the storages with the number of elements of each.
pub(crate) fn legacy_file(value: &Pickled, storages: &[(&'static str, u64, &[u8])]) -> Vec<u8> {
    let machine = dict(&[("protocol_version", Int(1001)), ("little_endian", Pickled::Bool(true))]);
    let keys = Pickled::List(storages.iter().map(|(key, ..)| Text(key)).collect());
    let mut bytes = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.".to_vec();
    for part in [&Int(1001), &machine, value, &keys] {
        bytes.extend(part.pickle());
    }
    for (_, count, elements) in storages {
        bytes.extend(count.to_le_bytes());
        bytes.extend(*elements);
    }
    bytes
}

/// A type of NumPy, with what is said of it later.
pub(crate) fn numpy_type(name: &'static str, order: &'static str, names: Pickled) -> Pickled {
    let made = call("numpy", "dtype", &[Text(name), Pickled::Bool(false), Pickled::Bool(true)]);
    let rest = [Int(-1), Int(-1), Int(0)];
    let state = [Int(3), Text(order), Pickled::None, names, Pickled::None];
    built(&made, &Tuple([&state[..], &rest].concat()))
}

/// A value whose state is said after it has been made.
pub(crate) fn built(made: &Pickled, state: &Pickled) -> Pickled {
    Pickled::Raw([made.operations(), state.operations(), b"b".to_vec()].concat())
}

/// An array as NumPy pickles it.
pub(crate) fn numpy_array(
    shape: &[i64],
    data_type: &Pickled,
    fortran: bool,
    elements: &Pickled,
) -> Pickled {
    let made = call(
        "numpy.core.multiarray",
        "_reconstruct",
        &[Global("numpy", "ndarray"), Tuple(vec![Int(0)]), Pickled::Raw(b"C\x01b".to_vec())],
    );
    let shape = Tuple(shape.iter().copied().map(Int).collect());
    let state = [Int(1), shape, data_type.clone(), Pickled::Bool(fortran), elements.clone()];
    built(&made, &Tuple(state.to_vec()))
}

/// Bytes as protocols from 3 on have them.
pub(crate) fn bytes(bytes: &[u8]) -> Pickled {
    Pickled::Raw([&b"B"[..], &(bytes.len() as u32).to_le_bytes(), bytes].concat())
}

/// Bytes as protocol 2 has them: the call that makes them of a text.
pub(crate) fn encoded(bytes: &[u8]) -> Pickled {
    let text: String = bytes.iter().copied().map(char::from).collect();
    let text = [&b"X"[..], &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat();
    call("_codecs", "encode", &[Pickled::Raw(text), Text("latin1")])
}
