//! Reads the pickle of a PyTorch file: the operations that plain values and tensors are made of, and
//! nothing that runs code. What else Python could pickle is refused by name.

use std::collections::HashMap;

use super::heap::{Heap, Value, too_large};
use super::{LARGEST_PICKLE, SAVE_A_STATE_DICTIONARY, globals, numpy, rebuild};
use crate::failure::{Failure, Outcome};

/// The most values and open collections that are on the stack at a time. A dictionary's entries are
/// there until it is complete.
const DEEPEST_STACK: usize = 1 << 20;

/// What a pickle is.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    pub(super) value: Value<'a>,
    /// What the value refers to.
    pub(super) heap: Heap<'a>,
    /// The bytes that it takes; others may follow.
    pub(super) length: usize,
}

/// Reads the pickle at the start of `bytes`, which takes no more than a certain number of them.
pub(super) fn read(bytes: &[u8]) -> Outcome<Pickle<'_>> {
    let within = bytes.get(..LARGEST_PICKLE).unwrap_or(bytes);
    let mut machine = Machine { bytes: within, at: 0, ..Machine::default() };
    loop {
        match machine.step() {
            Ok(Some(value)) => {
                return Ok(Pickle { value, heap: machine.heap, length: machine.at });
            }
            Ok(None) => {}
            Err(_) if machine.ran_out && within.len() < bytes.len() => {
                return Err(super::too_long(bytes.len()));
            }
            Err(failure) => return Err(failure),
        }
    }
}

#[derive(Debug, Default)]
struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Whether an operation asked for more bytes than there are.
    ran_out: bool,
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
            b'(' => push(&mut self.marks, self.stack.len())?,
            b')' => self.push_tuple(Vec::new())?,
            b'}' => {
                let made = self.heap.new_dict()?;
                self.push(made)?;
            }
            b']' => {
                let made = self.heap.new_list(Vec::new())?;
                self.push(made)?;
            }
            0x8f => {
                let made = self.heap.new_set(Vec::new())?;
                self.push(made)?;
            }
            b'N' => self.push(Value::None)?,
            0x88 => self.push(Value::Bool(true))?,
            0x89 => self.push(Value::Bool(false))?,
            b'K' => {
                let value = self.byte()?;
                self.push(Value::Int(value.into()))?;
            }
            b'M' => {
                let value = u16::from_le_bytes(self.array()?);
                self.push(Value::Int(value.into()))?;
            }
            b'J' => {
                let value = i32::from_le_bytes(self.array()?);
                self.push(Value::Int(value.into()))?;
            }
            0x8a | 0x8b => {
                let length = self.length(if operation == 0x8a { 1 } else { 4 })?;
                let bytes = self.take(length)?;
                self.push(integer(bytes))?;
            }
            b'G' => {
                let value = f64::from_be_bytes(self.array()?);
                self.push(Value::Float(value))?;
            }
            // Texts, those of Python 2, and bytes; with a length of one, four or eight bytes.
            0x8c | b'U' => self.text(1)?,
            b'X' | b'T' => self.text(4)?,
            0x8d => self.text(8)?,
            b'C' => self.bytes(1)?,
            b'B' => self.bytes(4)?,
            0x8e | 0x96 => self.bytes(8)?,
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                globals::check(module, name)?;
                self.push(Value::Global(module, name))?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (Value::Text(module), Value::Text(name)) = (module, name) else {
                    return Err(broken("a class is not named by texts"));
                };
                globals::check(module, name)?;
                self.push(Value::Global(module, name))?;
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
            0x94 => {
                let place = u32::try_from(self.memo.len()).map_err(|_| too_large())?;
                self.remember(place)?;
            }
            b'0' => {
                self.pop()?;
            }
            b'1' => {
                self.since_mark()?;
            }
            b'a' => {
                let item = self.pop()?;
                self.append(item)?;
            }
            b'e' => {
                for item in self.since_mark()? {
                    self.append(item)?;
                }
            }
            0x90 => {
                let items = self.since_mark()?;
                let Some(&Value::Set(set)) = self.stack.last() else {
                    return Err(broken("it adds to a value that is no set"));
                };
                for item in items {
                    self.heap.append(set, item)?;
                }
            }
            0x91 => {
                let items = self.since_mark()?;
                let made = self.heap.new_set(items)?;
                self.push(made)?;
            }
            b't' => {
                let items = self.since_mark()?;
                self.push_tuple(items)?;
            }
            0x85..=0x87 => {
                let first = self.stack.len().checked_sub(usize::from(operation - 0x84));
                let items = self.taken_off(first.ok_or_else(underrun)?)?;
                self.push_tuple(items)?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                let dict = self.top_dict()?;
                self.heap.insert(dict, key, value)?;
            }
            b'u' => {
                let items = self.since_mark()?;
                let (pairs, []) = items.as_chunks::<2>() else {
                    return Err(broken("a dictionary has a key without a value"));
                };
                let dict = self.top_dict()?;
                for &[key, value] in pairs {
                    self.heap.insert(dict, key, value)?;
                }
            }
            b'Q' => {
                let id = self.pop()?;
                let storage = rebuild::storage(&self.heap, id)?;
                let made = self.heap.new_storage(storage)?;
                self.push(made)?;
            }
            // What a class makes as it is created, and a function as it is called.
            b'R' | 0x81 => {
                let (arguments, function) = (self.pop()?, self.pop()?);
                let made = globals::call(&mut self.heap, function, arguments)?;
                self.push(made)?;
            }
            b'b' => {
                let state = self.pop()?;
                match self.stack.last() {
                    Some(&Value::Object(object)) => self.heap.set_state(object, state),
                    Some(&Value::NumpyType(index)) => {
                        numpy::set_type(&mut self.heap, index, state);
                    }
                    Some(&Value::Tensor(index)) if self.heap.lacks_elements(index) => {
                        numpy::set_array(&mut self.heap, index, state)?;
                    }
                    // What is said besides: of a dictionary of parameters the versions of layers.
                    Some(
                        &owner @ (Value::Dict(_)
                        | Value::List(_)
                        | Value::Set(_)
                        | Value::Tensor(_)),
                    ) => self.heap.add_attributes(owner, state)?,
                    Some(Value::Other(_) | Value::Unread(_)) => {}
                    _ => return Err(broken("it sets the state of a value that has none")),
                }
            }
            // How many bytes belong together in the file: they are all here.
            0x95 => {
                let _: [u8; 8] = self.array()?;
            }
            b'.' => return self.pop().map(Some),
            other => {
                return Err(Failure::new(format!("the pickle has the operation {other:#04x}"))
                    .why("plain values and tensors are made without it")
                    .remedy(SAVE_A_STATE_DICTIONARY));
            }
        }
        Ok(None)
    }

    fn protocol(&mut self) -> Outcome<()> {
        match self.byte()? {
            2..=5 => Ok(()),
            other => Err(Failure::new(format!("the pickle has protocol {other}"))
                .why("protocols 2 to 5 are read")
                .remedy("save it again without pickle_protocol")),
        }
    }

    fn take(&mut self, length: usize) -> Outcome<&'a [u8]> {
        let end = self.at.checked_add(length);
        let Some(taken) = end.and_then(|end| self.bytes.get(self.at..end)) else {
            self.ran_out = true;
            return Err(broken("it ends in the middle of an operation"));
        };
        self.at += length;
        Ok(taken)
    }

    /// A length that is written in `bytes` bytes.
    fn length(&mut self, bytes: usize) -> Outcome<usize> {
        let bytes = self.take(bytes)?.iter().rev();
        let length = bytes.fold(0_u64, |length, &byte| length << 8 | u64::from(byte));
        Ok(usize::try_from(length).unwrap_or(usize::MAX))
    }

    fn text(&mut self, bytes: usize) -> Outcome<()> {
        let length = self.length(bytes)?;
        let text = std::str::from_utf8(self.take(length)?);
        // Python 2 has one kind of value for both.
        self.push(text.map_or(Value::Other("bytes"), Value::Text))
    }

    fn bytes(&mut self, bytes: usize) -> Outcome<()> {
        let length = self.length(bytes)?;
        let bytes = self.take(length)?;
        self.push(Value::Bytes(bytes))
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
        let Some(length) = rest.iter().position(|&byte| byte == b'\n') else {
            self.ran_out = true;
            return Err(broken("a name has no end"));
        };
        let line = self.take(length)?;
        self.at += 1;
        std::str::from_utf8(line).map_err(broken)
    }

    fn remember(&mut self, place: u32) -> Outcome<()> {
        let value = *self.stack.last().ok_or_else(underrun)?;
        // The table has as many empty places, and grows into another one.
        self.heap.room.take(2 * size_of::<(u32, Value<'_>)>())?;
        self.memo.try_reserve(1).map_err(|_| too_large())?;
        self.memo.insert(place, value);
        Ok(())
    }

    fn recall(&mut self, place: u32) -> Outcome<()> {
        let value = self.memo.get(&place);
        self.push(*value.ok_or_else(|| broken("it refers to a value that it has not made"))?)
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
        self.taken_off(mark.min(self.stack.len()))
    }

    /// What is on the stack from `start` on.
    fn taken_off(&mut self, start: usize) -> Outcome<Vec<Value<'a>>> {
        let mut items = Vec::new();
        items.try_reserve_exact(self.stack.len() - start).map_err(|_| too_large())?;
        items.extend(self.stack.drain(start..));
        Ok(items)
    }

    fn push(&mut self, value: Value<'a>) -> Outcome<()> {
        push(&mut self.stack, value)
    }

    fn push_tuple(&mut self, items: Vec<Value<'a>>) -> Outcome<()> {
        let made = self.heap.new_tuple(items)?;
        self.push(made)
    }

    fn append(&mut self, item: Value<'a>) -> Outcome<()> {
        match self.stack.last() {
            Some(&Value::List(list)) => self.heap.append(list, item),
            _ => Err(broken("it appends to a value that is no list")),
        }
    }

    fn top_dict(&self) -> Outcome<usize> {
        match self.stack.last() {
            Some(&Value::Dict(index)) => Ok(index),
            _ => Err(broken("it sets an entry of a value that is no dictionary")),
        }
    }
}

/// An integer of as many bytes as it needs, least significant first.
fn integer(bytes: &[u8]) -> Value<'_> {
    let negative = bytes.last().is_some_and(|last| last & 0x80 != 0);
    let mut wide = [if negative { 0xff } else { 0 }; 8];
    match wide.get_mut(..bytes.len()) {
        Some(low) => {
            low.copy_from_slice(bytes);
            Value::Int(i64::from_le_bytes(wide))
        }
        // The seeds of some random numbers.
        None => Value::Other("a number"),
    }
}

fn push<T>(stack: &mut Vec<T>, item: T) -> Outcome<()> {
    if stack.len() >= DEEPEST_STACK {
        return Err(too_large());
    }
    stack.try_reserve(1).map_err(|_| too_large())?;
    stack.push(item);
    Ok(())
}

fn underrun() -> Failure {
    broken("an operation has nothing to work on")
}

fn broken(why: impl std::fmt::Display) -> Failure {
    Failure::new("the pickle in the file is damaged or forged")
        .why(why)
        .remedy("write the file again, with torch.save")
        .damaged()
}
