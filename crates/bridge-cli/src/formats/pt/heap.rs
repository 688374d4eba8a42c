//! The values of a pickle, and everything that they refer to, in a bounded amount of memory.
//!
//! Values refer to each other by index, so that no file can build one that is deep enough to
//! exhaust the stack when it is dropped.

use arraybridge::{DataType, TensorSpec};

use crate::failure::{Failure, Outcome};

/// A pickled value. Text is borrowed from the file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    Float,
    Text(&'a str),
    /// A class or a function, by its module and its name.
    Global(&'a str, &'a str),
    Tuple(usize),
    Dict(usize),
    Storage(usize),
    Tensor(usize),
}

/// A member of the archive, and what lies in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Storage<'a> {
    pub(super) key: &'a str,
    /// `None` where each tensor says it for itself.
    pub(super) data_type: Option<DataType>,
    /// Bytes.
    pub(super) size: usize,
}

/// A tensor: which storage it lies in, and where.
#[derive(Debug, Clone)]
pub(super) struct Rebuilt {
    pub(super) storage: usize,
    pub(super) spec: TensorSpec,
}

/// Everything that values refer to.
#[derive(Debug, Default)]
pub(super) struct Heap<'a> {
    pub(super) room: Room,
    tuples: Vec<Vec<Value<'a>>>,
    dicts: Vec<Vec<(Value<'a>, Value<'a>)>>,
    pub(super) storages: Vec<Storage<'a>>,
    pub(super) tensors: Vec<Rebuilt>,
}

impl<'a> Heap<'a> {
    pub(super) fn tuple(&self, value: Value<'a>) -> Option<&[Value<'a>]> {
        match value {
            Value::Tuple(index) => self.tuples.get(index).map(Vec::as_slice),
            _ => None,
        }
    }

    /// The entries of the dictionary with this index.
    pub(super) fn entries(&self, dict: usize) -> &[(Value<'a>, Value<'a>)] {
        &self.dicts[dict]
    }

    pub(super) fn new_tuple(&mut self, items: Vec<Value<'a>>) -> Outcome<Value<'a>> {
        self.room.take(size_of_val(items.as_slice()))?;
        self.room.add(&mut self.tuples, items)?;
        Ok(Value::Tuple(self.tuples.len() - 1))
    }

    pub(super) fn new_dict(&mut self) -> Outcome<Value<'a>> {
        self.room.add(&mut self.dicts, Vec::new())?;
        Ok(Value::Dict(self.dicts.len() - 1))
    }

    pub(super) fn insert(&mut self, dict: usize, key: Value<'a>, value: Value<'a>) -> Outcome<()> {
        self.room.add(&mut self.dicts[dict], (key, value))
    }

    pub(super) fn new_storage(&mut self, storage: Storage<'a>) -> Outcome<Value<'a>> {
        self.room.add(&mut self.storages, storage)?;
        Ok(Value::Storage(self.storages.len() - 1))
    }

    pub(super) fn new_tensor(&mut self, tensor: Rebuilt) -> Outcome<Value<'a>> {
        self.room.take(tensor.spec.layout.rank() * 2 * size_of::<usize>())?;
        self.room.add(&mut self.tensors, tensor)?;
        Ok(Value::Tensor(self.tensors.len() - 1))
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
