//! Where chunks come from: cut out of an array, and brought to where they are wanted.

use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{Builder, scope};

use bridge_convert::ConvertByName;
use bridge_core::{
    Admission, Array, Error, ManagedTensor, Options, Registry, Result, SharedTensor,
};

use super::plan::ChunkPlan;
use crate::arguments::invalid;
use crate::budget::{Consumer, ConvertHeldByName, Reservation, Shortage};

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

    /// Works on the chunks while another thread uploads the next one, which it gives away before it
    /// begins another.
    pub(super) fn run_overlapped(
        &self,
        whole: &SharedTensor,
        first: Chunk,
        work: &mut dyn FnMut(usize, Chunk) -> Result<()>,
    ) -> Result<()> {
        let mut first = Some(first);
        let mut work_on_first = |work: &mut dyn FnMut(usize, Chunk) -> Result<()>| {
            first.take().map_or(Ok(()), |first| work(0, first))
        };
        // In a budget, the result has its room before the next chunk takes some.
        if self.admission().is_some() {
            work_on_first(work)?;
        }
        scope(|scope| {
            let (give, take) = sync_channel(0);
            let source = *self;
            let upload = move || {
                for index in 1..source.plan.count() {
                    let chunk = source.chunk(whole, index);
                    let failed = chunk.is_err();
                    // Nobody takes it where the work has failed.
                    if give.send(chunk).is_err() || failed {
                        return;
                    }
                }
            };
            // Dropped before the thread is waited for, so that it ends where the work fails.
            let take: Receiver<Result<Chunk>> = take;
            let uploader = Builder::new().name("map_chunks".to_owned());
            let started = uploader.spawn_scoped(scope, upload).is_ok();
            work_on_first(work)?;
            for index in 1..self.plan.count() {
                let next = if started { take.recv().ok() } else { None };
                // A budget without room for two chunks has room for one, as the last one is gone now.
                let next = next.filter(|next| !next.as_ref().is_err_and(is_short));
                let next = next.unwrap_or_else(|| self.chunk(whole, index));
                work(index, next?)?;
            }
            Ok(())
        })
    }
}

/// Whether a budget has no room now, and may have some later.
fn is_short(error: &Error) -> bool {
    Shortage::of(error).is_some_and(Shortage::is_passing)
}
