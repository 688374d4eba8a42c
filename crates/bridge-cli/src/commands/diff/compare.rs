//! Two arrays of one shape, read side by side.

use std::sync::mpsc::{Receiver, sync_channel};

use arraybridge::{Convert, CopyPolicy, DataType, ManagedTensor, Options};

use super::Rules;
use super::numbers::Numbers;
use super::report::{Place, Values};
use crate::failure::{Failure, Outcome};
use crate::formats::{Array, ArrayFile, Elements, Order, row_major_bytes};
use crate::room::Room;

/// Bytes of a part that is read at a time.
const WINDOW: usize = 4 << 20;

/// What differs; nothing where all elements are equal. The second file is read on another thread, as
/// compressed arrays can only be read from their beginning.
pub(super) fn compare(
    (file, array): (&ArrayFile, &Array),
    (other_file, other): (&ArrayFile, &Array),
    rules: Rules,
) -> Outcome<Option<Values>> {
    let room = Room::new(None)?;
    let scratch = std::env::temp_dir();
    let elements = |array| Elements {
        array,
        order: Order::RowMajor,
        window: WINDOW,
        room: &room,
        scratch: &scratch,
    };
    let others_elements = elements(other);
    let types = (array.spec.data_type, other.spec.data_type);
    let mut found = Found { rules, types, compared: 0, different: 0, first: None, worst: None };
    std::thread::scope(|scope| {
        let (sender, receiver) = sync_channel(1);
        let reading = scope.spawn(move || {
            other_file.read(others_elements, |tensor, _| {
                sender.send(tensor).map_err(|_| Failure::new("nobody reads on"))
            })
        });
        let mut others = Others { receiver, part: None, ended: false };
        let done = file.read(elements(array), |tensor, _| {
            let mut part = Part::new(tensor)?;
            while part.left() > 0 {
                found.compare(&mut part, others.part()?)?;
            }
            Ok(())
        });
        if done.is_ok() {
            others.drain();
        }
        let ended = others.ended;
        // Where it has not been read to its end, its thread waits for this.
        drop(others);
        let read = reading.join().unwrap_or_else(|_| Err(Failure::new("the comparison panicked")));
        // Whichever failed first made the other fail.
        match done {
            Err(_) if ended && read.is_err() => read,
            Err(failure) => Err(failure),
            Ok(()) => read,
        }
    })?;
    Ok(found.values(array.spec.layout.shape()))
}

/// The parts of the second array, as they come.
struct Others {
    receiver: Receiver<ManagedTensor>,
    part: Option<Part>,
    /// Whether no more came.
    ended: bool,
}

impl Others {
    /// The next part of which there is something left.
    fn part(&mut self) -> Outcome<&mut Part> {
        while self.part.as_ref().is_none_or(|part| part.left() == 0) {
            let Ok(tensor) = self.receiver.recv() else {
                self.ended = true;
                return Err(Failure::new("the other array ended before"));
            };
            self.part = Some(Part::new(tensor)?);
        }
        self.part.as_mut().ok_or_else(|| Failure::new("the other array has no part"))
    }

    /// Takes what comes yet: parts without elements, which nothing is compared with.
    fn drain(&mut self) {
        while self.receiver.recv().is_ok() {}
        self.ended = true;
    }
}

/// A part of an array.
struct Part {
    elements: State,
    data_type: DataType,
    count: usize,
    /// Elements that have been compared.
    done: usize,
}

enum State {
    /// As they lie in the file, in row-major order.
    AsRead(ManagedTensor),
    Numbers(Numbers),
    /// For a moment.
    Nothing,
}

impl Part {
    fn new(tensor: ManagedTensor) -> Outcome<Self> {
        let (data_type, count) = (tensor.data_type(), tensor.layout().element_count());
        let elements = State::AsRead(in_row_major_order(tensor)?);
        Ok(Self { elements, data_type, count, done: 0 })
    }

    fn left(&self) -> usize {
        self.count - self.done
    }

    /// The bytes, where nothing of it has been compared.
    fn bytes(&self) -> Outcome<Option<&[u8]>> {
        match &self.elements {
            State::AsRead(tensor) => row_major_bytes(tensor).map(Some),
            State::Numbers(_) | State::Nothing => Ok(None),
        }
    }

    fn numbers(&mut self) -> Outcome<&Numbers> {
        self.elements = match std::mem::replace(&mut self.elements, State::Nothing) {
            State::AsRead(tensor) => State::Numbers(Numbers::of(tensor)?),
            other => other,
        };
        match &self.elements {
            State::Numbers(numbers) => Ok(numbers),
            State::AsRead(_) | State::Nothing => Err(Failure::new("a part was lost")),
        }
    }
}

fn in_row_major_order(tensor: ManagedTensor) -> Outcome<ManagedTensor> {
    if tensor.layout().is_row_major() {
        return Ok(tensor);
    }
    Ok(tensor.convert_to(Options::default().copy(CopyPolicy::Always))?)
}

/// What has been found so far.
struct Found {
    rules: Rules,
    types: (DataType, DataType),
    compared: usize,
    different: u64,
    first: Option<(usize, Place)>,
    worst: Option<(usize, Place)>,
}

impl Found {
    /// Compares as much as there is left of both.
    fn compare(&mut self, part: &mut Part, other: &mut Part) -> Outcome<()> {
        let count = part.left().min(other.left());
        if !self.same_bytes(part, other)? {
            let (start, others_start) = (part.done, other.done);
            let views = (part.numbers()?.view()?, other.numbers()?.view()?);
            let pairs = views.0.from(start).iter().zip(views.1.from(others_start).iter());
            for (place, (a, b)) in pairs.take(count).enumerate() {
                let Some(gap) = a.gap(b, self.rules) else {
                    continue;
                };
                self.different += 1;
                let found = (self.compared + place, Place { index: Vec::new(), a, b, gap });
                if self.worst.as_ref().is_none_or(|(_, worst)| gap.absolute > worst.gap.absolute) {
                    self.worst = Some(found.clone());
                }
                self.first.get_or_insert(found);
            }
        }
        self.compared += count;
        part.done += count;
        other.done += count;
        Ok(())
    }

    /// Whether both are whole and alike to the bit, so that nothing has to be looked at one by one.
    fn same_bytes(&self, part: &Part, other: &Part) -> Outcome<bool> {
        let is_one_type = part.data_type == other.data_type && part.count == other.count;
        let may_be_nan = part.data_type.is_float() || part.data_type.is_complex();
        if !is_one_type || (may_be_nan && self.rules.nan_differs) {
            return Ok(false);
        }
        Ok(
            matches!((part.bytes()?, other.bytes()?), (Some(bytes), Some(others)) if bytes == others),
        )
    }

    fn values(self, shape: &[usize]) -> Option<Values> {
        let at = |(element, place): (usize, Place)| Place { index: index(element, shape), ..place };
        let (first, worst) = (at(self.first?), at(self.worst?));
        let elements = self.compared as u64;
        Some(Values { elements, different: self.different, first, worst, types: self.types })
    }
}

/// The index along each axis of an element that is counted in row-major order.
fn index(mut element: usize, shape: &[usize]) -> Vec<usize> {
    let mut index = vec![0; shape.len()];
    for (place, &extent) in index.iter_mut().zip(shape).rev() {
        let extent = extent.max(1);
        *place = element % extent;
        element /= extent;
    }
    index
}
