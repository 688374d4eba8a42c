//! The values of a pickle, and everything that they refer to, in a bounded amount of memory.
//!
//! Values refer to each other by index, so that no file can build one that is deep enough to
//! exhaust the stack when it is dropped.

use std::collections::HashMap;

use arraybridge::{DataType, TensorSpec};

use super::unread::Unread;
use crate::failure::{Failure, Outcome};

/// A pickled value. Text is borrowed from the file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(&'a str),
    Bytes(&'a [u8]),
    /// Bytes that protocol 2 has as a text, each of whose letters is the byte of its number; and how many.
    Latin1(&'a str, usize),
    /// A class or a function, by its module and its name.
    Global(&'a str, &'a str),
    Tuple(usize),
    List(usize),
    Dict(usize),
    Set(usize),
    /// Of a class of a TorchScript program.
    Object(usize),
    Storage(usize),
    Tensor(usize),
    /// A tensor of a kind that is not read.
    Unread(Unread<'a>),
    /// A type of elements of NumPy.
    NumpyType(usize),
    /// What else there is, in words: nobody asks more of it.
    Other(&'static str),
}

impl Value<'_> {
    /// What it is, in words.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Bool(_) => "True or False",
            Self::Int(_) | Self::Float(_) => "a number",
            Self::Text(_) => "text",
            Self::Bytes(_) | Self::Latin1(..) => "bytes",
            Self::Global("torch", _) | Self::NumpyType(_) => "a type of elements",
            Self::Global(..) => "a class",
            Self::Tuple(_) => "a tuple",
            Self::List(_) => "a list",
            Self::Dict(_) => "a dictionary",
            Self::Set(_) => "a set",
            Self::Object(_) => "an object",
            Self::Storage(_) => "a storage",
            Self::Tensor(_) | Self::Unread(_) => "a tensor",
            Self::Other(what) => what,
        }
    }
}

/// The memory that tensors lie in: a member of the archive, or a part of a file from before PyTorch 1.6.
#[derive(Debug, Clone, Copy)]
pub(super) struct Storage<'a> {
    pub(super) key: &'a str,
    /// `None` where each tensor says it for itself, and for elements of quantised tensors.
    pub(super) data_type: Option<DataType>,
    /// Bytes of an element.
    pub(super) element: usize,
    /// Bytes of all.
    pub(super) size: usize,
}

/// A tensor, or an array of NumPy.
#[derive(Debug, Clone)]
pub(super) struct Rebuilt<'a> {
    pub(super) source: Source<'a>,
    pub(super) spec: TensorSpec,
    /// Bytes of each number, where these lie in the other order than this machine's.
    pub(super) swapped: Option<usize>,
}

/// Where the elements of a tensor are.
#[derive(Debug, Clone, Copy)]
pub(super) enum Source<'a> {
    /// In the storage with this index.
    Storage(usize),
    /// In the pickle.
    Bytes(&'a [u8]),
    /// The same, as a text.
    Latin1(&'a str),
    /// Of an array of NumPy whose elements have not been told yet, or are not read.
    Numpy,
}

/// A type of elements of NumPy.
#[derive(Debug, Clone, Copy)]
pub(super) struct NumpyType<'a> {
    /// As in `f4`.
    pub(super) name: &'a str,
    /// `<` or `>`, or `|` where it does not matter.
    pub(super) order: &'a str,
    /// Whether it has no fields or other parts.
    pub(super) is_plain: bool,
}

/// An object of a TorchScript class.
#[derive(Debug, Clone, Copy)]
struct Object<'a> {
    /// Whether the class is the one that libtorch gives what it saves that is no program.
    is_archive: bool,
    /// What it is made of.
    state: Value<'a>,
}

/// A value that can have attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Owner {
    Sequence(usize),
    Dict(usize),
    Tensor(usize),
}

impl Owner {
    fn of(value: Value<'_>) -> Option<Self> {
        match value {
            Value::Tuple(index) | Value::List(index) | Value::Set(index) => {
                Some(Self::Sequence(index))
            }
            Value::Dict(index) => Some(Self::Dict(index)),
            Value::Tensor(index) => Some(Self::Tensor(index)),
            _ => None,
        }
    }
}

/// Everything that values refer to.
#[derive(Debug, Default)]
pub(super) struct Heap<'a> {
    pub(super) room: Room,
    /// Tuples, lists and sets.
    sequences: Vec<Vec<Value<'a>>>,
    dicts: Vec<Vec<(Value<'a>, Value<'a>)>>,
    objects: Vec<Object<'a>>,
    /// What is said of values besides, as attributes of tensors and of collections.
    attributes: HashMap<Owner, Value<'a>>,
    pub(super) storages: Vec<Storage<'a>>,
    pub(super) tensors: Vec<Rebuilt<'a>>,
    numpy_types: Vec<NumpyType<'a>>,
}

impl<'a> Heap<'a> {
    pub(super) fn tuple(&self, value: Value<'a>) -> Option<&[Value<'a>]> {
        match value {
            Value::Tuple(index) => self.sequences.get(index).map(Vec::as_slice),
            _ => None,
        }
    }

    /// The items of a tuple or a list.
    pub(super) fn items(&self, value: Value<'a>) -> Option<&[Value<'a>]> {
        match value {
            Value::Tuple(index) | Value::List(index) => {
                self.sequences.get(index).map(Vec::as_slice)
            }
            _ => None,
        }
    }

    /// The items of the tuple, list or set with this index.
    pub(super) fn sequence(&self, index: usize) -> &[Value<'a>] {
        &self.sequences[index]
    }

    /// The entries of the dictionary with this index.
    pub(super) fn entries(&self, dict: usize) -> &[(Value<'a>, Value<'a>)] {
        &self.dicts[dict]
    }

    /// What the object with this index is made of.
    pub(super) fn state(&self, object: usize) -> Value<'a> {
        self.objects[object].state
    }

    /// The attributes of a value; `None` where it has none.
    pub(super) fn attributes(&self, value: Value<'a>) -> Value<'a> {
        let state = Owner::of(value).and_then(|owner| self.attributes.get(&owner));
        state.copied().unwrap_or(Value::None)
    }

    /// The attributes of all values.
    pub(super) fn all_attributes(&self) -> impl Iterator<Item = Value<'a>> {
        self.attributes.values().copied()
    }

    /// Says what attributes a value has, besides those that have been said.
    pub(super) fn add_attributes(&mut self, value: Value<'a>, state: Value<'a>) -> Outcome<()> {
        let Some(owner) = Owner::of(value) else {
            return Ok(());
        };
        let state = match self.attributes(value) {
            Value::None => state,
            before => self.new_tuple(vec![before, state])?,
        };
        // The table has as many empty places, and grows into another one.
        self.room.take(2 * size_of::<(Owner, Value<'_>)>())?;
        self.attributes.try_reserve(1).map_err(|_| too_large())?;
        self.attributes.insert(owner, state);
        Ok(())
    }

    /// Whether it is what libtorch saves that is no program.
    pub(super) fn is_archive(&self, value: Value<'a>) -> bool {
        matches!(value, Value::Object(object) if self.objects[object].is_archive)
    }

    /// How many tuples, lists and sets, how many dictionaries, and objects there are.
    pub(super) fn counts(&self) -> [usize; 3] {
        [self.sequences.len(), self.dicts.len(), self.objects.len()]
    }

    pub(super) fn new_tuple(&mut self, items: Vec<Value<'a>>) -> Outcome<Value<'a>> {
        self.new_sequence(items).map(Value::Tuple)
    }

    pub(super) fn new_list(&mut self, items: Vec<Value<'a>>) -> Outcome<Value<'a>> {
        self.new_sequence(items).map(Value::List)
    }

    pub(super) fn new_set(&mut self, items: Vec<Value<'a>>) -> Outcome<Value<'a>> {
        self.new_sequence(items).map(Value::Set)
    }

    fn new_sequence(&mut self, items: Vec<Value<'a>>) -> Outcome<usize> {
        self.room.take(size_of_val(items.as_slice()))?;
        self.room.add(&mut self.sequences, items)?;
        Ok(self.sequences.len() - 1)
    }

    /// Adds an item to the list or set with this index.
    pub(super) fn append(&mut self, list: usize, item: Value<'a>) -> Outcome<()> {
        self.room.add(&mut self.sequences[list], item)
    }

    pub(super) fn new_dict(&mut self) -> Outcome<Value<'a>> {
        self.room.add(&mut self.dicts, Vec::new())?;
        Ok(Value::Dict(self.dicts.len() - 1))
    }

    pub(super) fn insert(&mut self, dict: usize, key: Value<'a>, value: Value<'a>) -> Outcome<()> {
        self.room.add(&mut self.dicts[dict], (key, value))
    }

    pub(super) fn new_object(&mut self, is_archive: bool) -> Outcome<Value<'a>> {
        self.room.add(&mut self.objects, Object { is_archive, state: Value::None })?;
        Ok(Value::Object(self.objects.len() - 1))
    }

    /// Says what the object with this index is made of.
    pub(super) fn set_state(&mut self, object: usize, state: Value<'a>) {
        self.objects[object].state = state;
    }

    pub(super) fn new_storage(&mut self, storage: Storage<'a>) -> Outcome<Value<'a>> {
        self.room.add(&mut self.storages, storage)?;
        Ok(Value::Storage(self.storages.len() - 1))
    }

    pub(super) fn new_tensor(&mut self, tensor: Rebuilt<'a>) -> Outcome<Value<'a>> {
        self.room.take(tensor.spec.layout.rank() * 2 * size_of::<usize>())?;
        self.room.add(&mut self.tensors, tensor)?;
        Ok(Value::Tensor(self.tensors.len() - 1))
    }

    /// Says what the array of NumPy with this index is made of.
    pub(super) fn set_array(&mut self, index: usize, array: Rebuilt<'a>) -> Outcome<()> {
        self.room.take(array.spec.layout.rank() * 2 * size_of::<usize>())?;
        self.tensors[index] = array;
        Ok(())
    }

    /// Whether the tensor with this index is an array of NumPy without elements that are read.
    pub(super) fn lacks_elements(&self, tensor: usize) -> bool {
        matches!(self.tensors[tensor].source, Source::Numpy)
    }

    pub(super) fn new_numpy_type(&mut self, made: NumpyType<'a>) -> Outcome<Value<'a>> {
        self.room.add(&mut self.numpy_types, made)?;
        Ok(Value::NumpyType(self.numpy_types.len() - 1))
    }

    pub(super) fn numpy_type(&self, index: usize) -> NumpyType<'a> {
        self.numpy_types[index]
    }

    pub(super) fn set_numpy_type(&mut self, index: usize, made: NumpyType<'a>) {
        self.numpy_types[index] = made;
    }
}

/// The most bytes that the values of a pickle take: room for a hundred thousand tensors.
const LARGEST_HEAP: usize = 256 << 20;

/// The bytes that values may take yet. One byte of a pickle can ask for dozens.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room(usize);

impl Default for Room {
    fn default() -> Self {
        Self(LARGEST_HEAP)
    }
}

impl Room {
    pub(super) fn take(&mut self, bytes: usize) -> Outcome<()> {
        self.0 = self.0.checked_sub(bytes).ok_or_else(too_large)?;
        Ok(())
    }

    /// Adds to a vector that only grows.
    pub(super) fn add<T>(&mut self, items: &mut Vec<T>, item: T) -> Outcome<()> {
        self.take(size_of::<T>())?;
        items.try_reserve(1).map_err(|_| too_large())?;
        items.push(item);
        Ok(())
    }
}

pub(super) fn too_large() -> Failure {
    Failure::new("the pickle in the file describes more values than there is room for")
        .why(format!(
            "values may take at most {} MiB: the file is forged, or has too many tensors",
            LARGEST_HEAP >> 20
        ))
        .remedy("save the tensors in several files")
}
