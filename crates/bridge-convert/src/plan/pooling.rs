//! Which copies of a plan lie in memory of a pool.

use bridge_core::{Accepts, DataType, Device, MemorySource, Options, Registry};

use super::step::Step;

/// The pool that a conversion takes memory from, and what decides where it does.
#[derive(Clone, Copy)]
pub(crate) struct Pooling<'a> {
    source: &'a dyn MemorySource,
    /// What the target takes.
    accepts: &'a Accepts,
    /// Where runtimes are looked up; without one, only what the host's tools write is known to be pooled.
    registry: Option<&'a Registry>,
}

/// What a step that copies makes.
#[derive(Clone, Copy)]
pub(crate) struct Made {
    pub(crate) data_type: DataType,
    pub(crate) from: Device,
    pub(crate) to: Device,
    /// Whether it has elements.
    pub(crate) is_empty: bool,
    /// Whether it is what the target takes over.
    pub(crate) is_last: bool,
}

impl<'a> Pooling<'a> {
    pub(crate) fn of(
        options: &Options<'a>,
        accepts: &'a Accepts,
        registry: Option<&'a Registry>,
    ) -> Option<Self> {
        options.memory_source().map(|source| Self { source, accepts, registry })
    }

    /// Whose memory what a step makes lies in, where it is not new.
    pub(crate) fn source_for(&self, step: &Step, made: Made) -> Option<&'a dyn MemorySource> {
        let Made { data_type, from, to, is_empty, is_last } = made;
        let owns_a_vector = is_last && self.accepts.takes_only_vectors();
        let pooled = !is_empty
            && !owns_a_vector
            && self.source.gives(to, self.alignment(data_type))
            && self.can_write(step, data_type, from, to);
        pooled.then_some(self.source)
    }

    /// Whether it is the pool that reserves what a step makes.
    pub(crate) fn reserves(&self, step: &Step, made: Made) -> bool {
        let source = self.source_for(step, made);
        source.is_some_and(|source| source.reserves(made.to, self.alignment(made.data_type)))
    }

    /// What the target needs.
    fn alignment(&self, data_type: DataType) -> usize {
        self.accepts.alignment_for(data_type)
    }

    /// Whether who takes the step writes to memory that is given.
    fn can_write(&self, step: &Step, data_type: DataType, from: Device, to: Device) -> bool {
        let runtime = |on| self.registry.and_then(|registry| registry.runtime(on).ok());
        match (step, step.worker(from)) {
            // A runtime casts to memory of its own.
            (Step::Cast { .. }, worker) => worker.is_none(),
            (_, None) => true,
            (_, Some(on)) => runtime(on).is_some_and(|one| one.writes(data_type, from, to)),
        }
    }
}
