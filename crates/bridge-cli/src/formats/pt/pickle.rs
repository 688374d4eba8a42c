//! Reads the pickle of a PyTorch file: the few operations that a state dictionary is made of, and
//! nothing that runs code. What else Python could pickle is refused by name.
//!
//! Values refer to each other by index, so that no file can build one that is deep enough to
//! exhaust the stack when it is dropped.

use std::collections::HashMap;

use super::rebuild::{self, Rebuilt, Storage};
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

/// Everything that values refer to.
#[derive(Debug, Default)]
pub(super) struct Heap<'a> {
    pub(super) tuples: Vec<Vec<Value<'a>>>,
    pub(super) dicts: Vec<Vec<(Value<'a>, Value<'a>)>>,
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
}

/// Reads a whole pickle: its value, and what that refers to.
pub(super) fn read(bytes: &[u8]) -> Outcome<(Value<'_>, Heap<'_>)> {
    let mut machine = Machine { bytes, at: 0, ..Machine::default() };
    loop {
        if let Some(value) = machine.step()? {
            return Ok((value, machine.heap));
        }
    }
}

#[derive(Debug, Default)]
struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    stack: Vec<Value<'a>>,
    /// Where on the stack the open collections begin.
    marks: Vec<usize>,
    memo: HashMap<u32, Value<'a>>,
    heap: Heap<'a>,
}

impl<'a> Machine<'a> {
    /// Takes one operation; the value of the pickle at its end.
    fn step(&mut self) -> Outcome<Option<Value<'a>>> {
        let operation = self.byte()?;
        match operation {
            0x80 => self.protocol()?,
            b'(' => self.marks.push(self.stack.len()),
            b')' => self.push_tuple(Vec::new()),
            b'}' => self.push_dict(),
            b'N' => self.stack.push(Value::None),
            0x88 => self.stack.push(Value::Bool(true)),
            0x89 => self.stack.push(Value::Bool(false)),
            b'K' => {
                let value = self.byte()?;
                self.stack.push(Value::Int(value.into()));
            }
            b'M' => {
                let value = u16::from_le_bytes(self.array()?);
                self.stack.push(Value::Int(value.into()));
            }
            b'J' => {
                let value = i32::from_le_bytes(self.array()?);
                self.stack.push(Value::Int(value.into()));
            }
            0x8a => {
                let value = self.long()?;
                self.stack.push(Value::Int(value));
            }
            b'G' => {
                let _: [u8; 8] = self.array()?;
                self.stack.push(Value::Float);
            }
            b'X' => {
                let length = u32::from_le_bytes(self.array()?);
                let text = self.take(length as usize)?;
                let text = std::str::from_utf8(text).map_err(broken)?;
                self.stack.push(Value::Text(text));
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                rebuild::check_global(module, name)?;
                self.stack.push(Value::Global(module, name));
            }
            b'q' => {
                let place = self.byte()?.into();
                self.remember(place)?;
            }
            b'r' => {
                let place = u32::from_le_bytes(self.array()?);
                self.remember(place)?;
            }
            b'h' => {
                let place = self.byte()?.into();
                self.recall(place)?;
            }
            b'j' => {
                let place = u32::from_le_bytes(self.array()?);
                self.recall(place)?;
            }
            b't' => {
                let items = self.since_mark()?;
                self.push_tuple(items);
            }
            0x85..=0x87 => {
                let first = self.stack.len().checked_sub(usize::from(operation - 0x84));
                let items = self.stack.split_off(first.ok_or_else(underrun)?);
                self.push_tuple(items);
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.top_dict()?.push((key, value));
            }
            b'u' => {
                let items = self.since_mark()?;
                let (pairs, []) = items.as_chunks::<2>() else {
                    return Err(broken("a dictionary has a key without a value"));
                };
                let pairs = pairs.iter().map(|&[key, value]| (key, value));
                self.top_dict()?.extend(pairs);
            }
            b'Q' => {
                let id = self.pop()?;
                let storage = rebuild::storage(&self.heap, id)?;
                self.heap.storages.push(storage);
                self.stack.push(Value::Storage(self.heap.storages.len() - 1));
            }
            b'R' => {
                let (arguments, function) = (self.pop()?, self.pop()?);
                let made = rebuild::call(&mut self.heap, function, arguments)?;
                self.stack.push(made);
            }
            b'b' => {
                // What a module says of its parameters besides: the versions of its layers.
                self.pop()?;
                self.top_dict()?;
            }
            b'.' => return self.pop().map(Some),
            other => {
                return Err(Failure::new(format!("the pickle has the operation {other:#04x}"))
                    .why("state dictionaries and tensors are made without it")
                    .remedy(rebuild::SAVE_A_STATE_DICTIONARY));
            }
        }
        Ok(None)
    }

    fn protocol(&mut self) -> Outcome<()> {
        match self.byte()? {
            2 => Ok(()),
            other => Err(Failure::new(format!("the pickle has protocol {other}"))
                .why(
                    "torch.load with weights_only reads protocol 2 alone, and so does this program",
                )
                .remedy("save it again without pickle_protocol")),
        }
    }

    fn take(&mut self, length: usize) -> Outcome<&'a [u8]> {
        let end = self.at.checked_add(length);
        let taken = end.and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or_else(|| broken("it ends in the middle of an operation"))?;
        self.at += length;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Outcome<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn byte(&mut self) -> Outcome<u8> {
        self.array().map(|[byte]| byte)
    }

    fn line(&mut self) -> Outcome<&'a str> {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().position(|&byte| byte == b'\n');
        let line = self.take(length.ok_or_else(|| broken("a name has no end"))?)?;
        self.at += 1;
        std::str::from_utf8(line).map_err(broken)
    }

    /// An integer of as many bytes as it needs, least significant first.
    fn long(&mut self) -> Outcome<i64> {
        let length = self.byte()?;
        let bytes = self.take(length.into())?;
        let negative = bytes.last().is_some_and(|last| last & 0x80 != 0);
        let mut wide = [if negative { 0xff } else { 0 }; 8];
        let fits = wide.get_mut(..bytes.len());
        fits.ok_or_else(|| broken("an integer is longer than 64 bits"))?.copy_from_slice(bytes);
        Ok(i64::from_le_bytes(wide))
    }

    fn remember(&mut self, place: u32) -> Outcome<()> {
        let value = *self.stack.last().ok_or_else(underrun)?;
        self.memo.insert(place, value);
        Ok(())
    }

    fn recall(&mut self, place: u32) -> Outcome<()> {
        let value = self.memo.get(&place);
        self.stack.push(*value.ok_or_else(|| broken("it refers to a value that it has not made"))?);
        Ok(())
    }

    fn pop(&mut self) -> Outcome<Value<'a>> {
        // What lies below a mark belongs to the collection around it.
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= floor {
            return Err(underrun());
        }
        self.stack.pop().ok_or_else(underrun)
    }

    fn since_mark(&mut self) -> Outcome<Vec<Value<'a>>> {
        let mark = self.marks.pop().ok_or_else(|| broken("a collection has no beginning"))?;
        Ok(self.stack.split_off(mark.min(self.stack.len())))
    }

    fn push_tuple(&mut self, items: Vec<Value<'a>>) {
        self.heap.tuples.push(items);
        self.stack.push(Value::Tuple(self.heap.tuples.len() - 1));
    }

    fn push_dict(&mut self) {
        self.heap.dicts.push(Vec::new());
        self.stack.push(Value::Dict(self.heap.dicts.len() - 1));
    }

    fn top_dict(&mut self) -> Outcome<&mut Vec<(Value<'a>, Value<'a>)>> {
        match self.stack.last() {
            Some(&Value::Dict(index)) => Ok(&mut self.heap.dicts[index]),
            _ => Err(Failure::new("the pickle sets the state of a value that is no dictionary")
                .why("only dictionaries of tensors are read")
                .remedy(rebuild::SAVE_A_STATE_DICTIONARY)),
        }
    }
}

fn underrun() -> Failure {
    broken("an operation has nothing to work on")
}

fn broken(why: impl std::fmt::Display) -> Failure {
    Failure::new("the pickle in the file is damaged or forged")
        .why(why)
        .remedy("write the file again, with torch.save")
}
