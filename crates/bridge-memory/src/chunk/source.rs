//! Where chunks come from: cut out of an array, and brought to where they are wanted.

use bridge_convert::ConvertByName;
use bridge_core::{Admission, Array, ManagedTensor, Options, Registry, Result, SharedTensor};

use super::plan::ChunkPlan;
use crate::arguments::invalid;
use crate::budget::{Consumer, ConvertHeldByName, Reservation};

/// Which chunks, and where they are wanted.
#[derive(Clone, Copy)]
pub(super) struct ChunkSource<'a> {
    pub registry: &'a Registry,
    pub plan: ChunkPlan,
    pub axis: usize,
    pub target: Option<&'a str>,
    pub options: Options<'a>,
    pub consumer: Option<&'a Consumer>,
}

/// A chunk where it is wanted, and the room that it has in a budget.
pub(super) struct Chunk {
    pub array: Array,
    pub room: Option<Reservation>,
}

impl<'a> ChunkSource<'a> {
    /// Who is asked for memory.
    pub(super) fn admission(&self) -> Option<&'a dyn Admission> {
        let consumer = self.consumer.map(|consumer| consumer as &dyn Admission);
        let chosen = consumer.or(self.options.admission());
        chosen.or(self.registry.admission().map(|one| one as _))
    }

    /// Fails where the plan does not divide this array.
    pub(super) fn check(&self, whole: &ManagedTensor) -> Result<()> {
        let shape = whole.shape();
        match shape.get(self.axis) {
            None => {
                let expected = format!("it must be below {}", shape.len());
                Err(invalid("the axis", &self.axis, &expected))
            }
            Some(&items) if items != self.plan.items() => {
                let expected = format!("axis {} of {shape:?} has {items}", self.axis);
                Err(invalid("the number of items of the plan", &self.plan.items(), &expected))
            }
            Some(_) => Ok(()),
        }
    }

    /// One chunk, where it is wanted.
    pub(super) fn chunk(&self, whole: &SharedTensor, index: usize) -> Result<Chunk> {
        let range = self.plan.range(index).unwrap_or_default();
        let part = ManagedTensor::alias(whole).sliced(self.axis, range.start, range.len(), 1)?;
        let array = Array::new(part);
        match (self.target, self.consumer) {
            (None, _) => Ok(Chunk { array, room: None }),
            (Some(target), None) => {
                let array = self.registry.convert(array, target, self.options)?;
                Ok(Chunk { array, room: None })
            }
            (Some(target), Some(consumer)) => {
                let held = self.registry.convert_held(array, target, self.options, consumer)?;
                let (array, room) = held.into_parts();
                Ok(Chunk { array, room: Some(room) })
            }
        }
    }
}
