//! Vector clocks: what is known to have happened before something.

use std::collections::BTreeMap;

use super::handle::StreamId;

/// For each stream, the number of its operations that have happened before.
#[derive(Debug, Clone, Default)]
pub(crate) struct Clock(BTreeMap<StreamId, u64>);

impl Clock {
    /// Adds the first `operations` of a stream.
    pub(crate) fn add(&mut self, stream: StreamId, operations: u64) {
        if operations > 0 {
            let entry = self.0.entry(stream).or_default();
            *entry = operations.max(*entry);
        }
    }

    /// Adds everything that `other` knows of.
    pub(crate) fn join(&mut self, other: &Self) {
        for (&stream, &operations) in &other.0 {
            self.add(stream, operations);
        }
    }

    /// How many operations of a stream have happened before.
    pub(crate) fn of(&self, stream: StreamId) -> u64 {
        self.0.get(&stream).copied().unwrap_or(0)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (StreamId, u64)> + '_ {
        self.0.iter().map(|(&stream, &operations)| (stream, operations))
    }
}
