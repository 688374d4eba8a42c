//! The tensors of nested values, under dotted names: `optimizer.state.0.exp_avg`.
//!
//! Nothing here calls itself: values can be nested a million deep.

use std::fmt::Write;

use super::heap::{Heap, Room, Value};
use super::unread::Unread;
use crate::failure::{Failure, Outcome};

/// A value that is none of a file's tensors, and where it is.
#[derive(Debug)]
pub(super) enum Other<'a> {
    /// A tensor of a kind that is not read.
    Unread(String, Unread<'a>),
    /// A key that gives tensors no name, of the dictionary there.
    Unnamed(String, &'static str),
    /// Tensors that have no name of their own.
    Nameless(String, Nameless),
    /// No tensor, and without one in it.
    Beside(String, &'static str),
}

/// Where tensors are that have no name of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nameless {
    Set,
    Key,
    Attribute,
}

/// What was found, in the order of the file.
#[derive(Debug, Default)]
pub(super) struct Found<'a> {
    /// Each tensor by its index, with its name.
    pub(super) tensors: Vec<(String, usize)>,
    pub(super) others: Vec<Other<'a>>,
    /// How many more values are no tensors than `others` has.
    pub(super) more: usize,
}

/// So many values that are no tensors are named, and the rest counted.
const NAMED: usize = 4096;

/// Bytes that a value takes that is no tensor, with the texts that will be made of it.
const ROOM_OF_OTHERS: usize = 512;

/// A value that others are in, and which of them comes next.
#[derive(Debug)]
struct Frame<'a> {
    value: Value<'a>,
    next: usize,
    /// Bytes of the name so far.
    name: usize,
}

/// Whether a value holds a tensor, and whether it is being looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    New,
    Open,
    WithTensors,
    Without,
}

/// A mark for each value that can hold others.
#[derive(Debug)]
struct Marks([Vec<Mark>; 3]);

impl Marks {
    fn new(heap: &Heap<'_>, room: &mut Room) -> Outcome<Self> {
        room.take(heap.counts().iter().sum())?;
        Ok(Self(heap.counts().map(|count| vec![Mark::New; count])))
    }

    fn of(&mut self, value: Value<'_>) -> Option<&mut Mark> {
        let (kind, index) = match value {
            Value::Tuple(index) | Value::List(index) | Value::Set(index) => (0, index),
            Value::Dict(index) => (1, index),
            Value::Object(index) => (2, index),
            _ => return None,
        };
        self.0[kind].get_mut(index)
    }

    /// Whether the value is a tensor, or leads to one that has not been looked at on the way to it.
    fn lead_to_tensor(&mut self, value: Value<'_>) -> bool {
        match self.of(value) {
            None => is_tensor(value),
            Some(mark) => *mark == Mark::WithTensors,
        }
    }
}

fn is_tensor(value: Value<'_>) -> bool {
    matches!(value, Value::Tensor(_) | Value::Unread(_))
}

/// The value with this number in another one, and the key that it has there.
fn child<'a>(
    heap: &Heap<'a>,
    value: Value<'a>,
    number: usize,
) -> Option<(Option<Value<'a>>, Value<'a>)> {
    match value {
        Value::Tuple(_) | Value::List(_) => Some((None, *heap.items(value)?.get(number)?)),
        Value::Dict(dict) => heap.entries(dict).get(number).map(|&(key, value)| (Some(key), value)),
        Value::Object(object) => match heap.state(object) {
            Value::None => None,
            state @ (Value::Tuple(_) | Value::List(_) | Value::Dict(_)) => {
                child(heap, state, number)
            }
            state => (number == 0).then_some((None, state)),
        },
        _ => None,
    }
}

/// The value with this number that is in another one in any way: its children, the items of a set, the
/// keys of a dictionary, and attributes.
fn part<'a>(heap: &Heap<'a>, value: Value<'a>, number: usize) -> Option<Value<'a>> {
    let found = match value {
        Value::Dict(dict) => heap
            .entries(dict)
            .get(number / 2)
            .map(|&(key, value)| if number.is_multiple_of(2) { key } else { value }),
        Value::Set(set) => heap.sequence(set).get(number).copied(),
        Value::Object(object) => (number == 0).then(|| heap.state(object)),
        _ => child(heap, value, number).map(|(_, value)| value),
    };
    let before = match value {
        Value::Dict(dict) => 2 * heap.entries(dict).len(),
        Value::Tuple(index) | Value::List(index) | Value::Set(index) => heap.sequence(index).len(),
        _ => return found,
    };
    found.or_else(|| (number == before).then(|| heap.attributes(value)))
}

/// Marks every value that `root` leads to with whether there are tensors in it. One that leads back to
/// itself has those that are in it without going round.
fn mark<'a>(heap: &Heap<'a>, root: Value<'a>, room: &mut Room) -> Outcome<Marks> {
    let mut marks = Marks::new(heap, room)?;
    mark_from(heap, root, &mut marks, room)?;
    // Those of tensors are parts of no other value.
    for state in heap.all_attributes() {
        mark_from(heap, state, &mut marks, room)?;
    }
    Ok(marks)
}

fn mark_from<'a>(
    heap: &Heap<'a>,
    root: Value<'a>,
    marks: &mut Marks,
    room: &mut Room,
) -> Outcome<()> {
    let mut frames = Vec::new();
    if let Some(mark @ Mark::New) = marks.of(root) {
        *mark = Mark::Open;
        room.add(&mut frames, (root, 0_usize, false))?;
    }
    while let Some((value, next, has_tensors)) = frames.last_mut() {
        let Some(child) = part(heap, *value, *next) else {
            let done = if *has_tensors { Mark::WithTensors } else { Mark::Without };
            if let Some(mark) = marks.of(*value) {
                *mark = done;
            }
            frames.pop();
            if let Some((_, _, above)) = frames.last_mut() {
                *above |= done == Mark::WithTensors;
            }
            continue;
        };
        *next += 1;
        match marks.of(child) {
            None => *has_tensors |= is_tensor(child),
            Some(Mark::WithTensors) => *has_tensors = true,
            Some(Mark::Without | Mark::Open) => {}
            Some(mark @ Mark::New) => {
                *mark = Mark::Open;
                room.add(&mut frames, (child, 0, false))?;
            }
        }
    }
    Ok(())
}

/// Whether a value that is no tensor leads to one.
pub(super) fn leads_to_tensor<'a>(
    heap: &Heap<'a>,
    value: Value<'a>,
    room: &mut Room,
) -> Outcome<bool> {
    Ok(mark(heap, value, room)?.lead_to_tensor(value))
}

/// Finds the tensors in `root`, which is itself none.
pub(super) fn find<'a>(heap: &Heap<'a>, root: Value<'a>, room: &mut Room) -> Outcome<Found<'a>> {
    let mut marks = mark(heap, root, room)?;
    let mut found = Found::default();
    let mut name = String::new();
    let mut frames = Vec::new();
    // From here on `Open` is what the way to a value leads through.
    room.add(&mut frames, Frame { value: root, next: 0, name: 0 })?;
    if let Some(mark) = marks.of(root) {
        *mark = Mark::Open;
    }
    while let Some(frame) = frames.last_mut() {
        name.truncate(frame.name);
        let number = frame.next;
        let Some((key, value)) = child(heap, frame.value, number) else {
            let owner = match frame.value {
                Value::Object(object) => heap.state(object),
                value => value,
            };
            if marks.lead_to_tensor(heap.attributes(owner)) {
                add_nameless(&mut found, room, attributes_of(&name), Nameless::Attribute)?;
            }
            if let Some(mark) = marks.of(frame.value) {
                *mark = Mark::WithTensors;
            }
            frames.pop();
            continue;
        };
        frame.next += 1;
        let holds = marks.lead_to_tensor(value);
        let key_holds = key.is_some_and(|key| marks.lead_to_tensor(key));
        if !holds && !key_holds && found.others.len() >= NAMED {
            found.more += 1;
            continue;
        }
        let unnamed = push_key(&mut name, key, number, room)?;
        match (holds, value, unnamed) {
            _ if key_holds => add_nameless(&mut found, room, name.clone(), Nameless::Key)?,
            (true, Value::Set(_), _) => {
                add_nameless(&mut found, room, name.clone(), Nameless::Set)?;
            }
            (true, _, Some(key)) => {
                room.take(ROOM_OF_OTHERS + name.len())?;
                found.others.push(Other::Unnamed(name.clone(), key));
            }
            (true, Value::Tensor(tensor), None) if heap.lacks_elements(tensor) => {
                room.take(ROOM_OF_OTHERS + name.len())?;
                found.others.push(Other::Unread(name.clone(), Unread::OfNumpy));
            }
            (true, Value::Tensor(tensor), None) => {
                room.take(name.len())?;
                room.add(&mut found.tensors, (name.clone(), tensor))?;
                if marks.lead_to_tensor(heap.attributes(value)) {
                    add_nameless(&mut found, room, attributes_of(&name), Nameless::Attribute)?;
                }
            }
            (true, Value::Unread(unread), None) => {
                room.take(ROOM_OF_OTHERS + name.len())?;
                found.others.push(Other::Unread(name.clone(), unread));
            }
            (true, value, None) => {
                if let Some(mark) = marks.of(value) {
                    *mark = Mark::Open;
                }
                name.push('.');
                room.add(&mut frames, Frame { value, next: 0, name: name.len() })?;
            }
            (false, value, _) => {
                room.take(ROOM_OF_OTHERS + name.len())?;
                found.others.push(Other::Beside(name.clone(), value.kind()));
            }
        }
    }
    Ok(found)
}

fn add_nameless(
    found: &mut Found<'_>,
    room: &mut Room,
    name: String,
    which: Nameless,
) -> Outcome<()> {
    room.take(ROOM_OF_OTHERS + name.len())?;
    found.others.push(Other::Nameless(name, which));
    Ok(())
}

/// What the attributes of the value are called whose name this is, or that and a dot.
fn attributes_of(name: &str) -> String {
    match name.strip_suffix('.').unwrap_or(name) {
        "" => "__dict__".to_owned(),
        name => format!("{name}.__dict__"),
    }
}

/// Adds what a value is called in the one that it is in; says what the key is where that gives no name.
/// There is room for the name before it is longer: a short pickle can repeat a long key.
fn push_key(
    name: &mut String,
    key: Option<Value<'_>>,
    number: usize,
    room: &mut Room,
) -> Outcome<Option<&'static str>> {
    let before = name.len();
    // Writing to a text does not fail.
    let _ = match key {
        None => write!(name, "{number}"),
        Some(Value::Text(text)) => {
            room.take(text.len() + 1)?;
            name.push_str(text);
            return Ok(None);
        }
        Some(Value::Int(number)) => write!(name, "{number}"),
        Some(Value::Float(number)) => write!(name, "{number:?}"),
        Some(Value::Bool(true)) => write!(name, "True"),
        Some(Value::Bool(false)) => write!(name, "False"),
        Some(Value::None) => write!(name, "None"),
        Some(other) => {
            name.push('?');
            return Ok(Some(other.kind()));
        }
    };
    room.take(name.len() - before + 1)?;
    Ok(None)
}

/// Fails where two tensors have one name, which dots in keys make possible.
pub(super) fn check_names(tensors: &[(String, usize)], room: &mut Room) -> Outcome<()> {
    room.take(size_of::<usize>() * tensors.len())?;
    let mut names: Vec<&str> = tensors.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        None => Ok(()),
        Some(pair) => Err(Failure::new(format!("two tensors are named \"{}\"", pair[0]))
            .why("one of them would be lost")
            .remedy("write the file again, with torch.save")),
    }
}
