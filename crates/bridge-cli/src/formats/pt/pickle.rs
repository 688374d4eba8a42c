//! Reads the pickle of a PyTorch file: the few operations that a state dictionary is made of, and
//! nothing that runs code. What else Python could pickle is refused by name.

use std::collections::HashMap;

use super::heap::{Heap, Value, too_large};
use super::rebuild;
use crate::failure::{Failure, Outcome};

/// The most values and open collections that are on the stack at a time. A dictionary's entries are
/// there until it is complete.
const DEEPEST_STACK: usize = 1 << 20;

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
            b'(' => push(&mut self.marks, self.stack.len())?,
            b')' => self.push_tuple(Vec::new())?,
            b'}' => {
                let made = self.heap.new_dict()?;
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
            0x8a => {
                let value = self.long()?;
                self.push(Value::Int(value))?;
            }
            b'G' => {
                let _: [u8; 8] = self.array()?;
                self.push(Value::Float)?;
            }
            b'X' => {
                let length = u32::from_le_bytes(self.array()?);
                let text = self.take(length as usize)?;
                let text = std::str::from_utf8(text).map_err(broken)?;
                self.push(Value::Text(text))?;
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                rebuild::check_global(module, name)?;
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
            b'R' => {
                let (arguments, function) = (self.pop()?, self.pop()?);
                let made = rebuild::call(&mut self.heap, function, arguments)?;
                self.push(made)?;
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

    fn top_dict(&self) -> Outcome<usize> {
        match self.stack.last() {
            Some(&Value::Dict(index)) => Ok(index),
            _ => Err(Failure::new("the pickle sets the state of a value that is no dictionary")
                .why("only dictionaries of tensors are read")
                .remedy(rebuild::SAVE_A_STATE_DICTIONARY)),
        }
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
}
