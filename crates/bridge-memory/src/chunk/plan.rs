//! How many items a chunk has, and how many chunks there are.

use std::ops::Range;

use bridge_core::Result;

use crate::arguments::{factor, invalid};

/// Items divided into chunks: no chunk is empty, and each item is in one chunk.
///
/// [`exact`](Self::exact) and [`within`](Self::within) make one of a limit of memory,
/// [`of_size`](Self::of_size) of a number of items, and [`compatible`](Self::compatible) with the
/// numbers that NLSQ's memory manager has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChunkPlan {
    items: usize,
    /// Items of each of the first `large` chunks; the others have `small`.
    chunk: usize,
    large: usize,
    small: usize,
    count: usize,
    bytes: u64,
}

impl ChunkPlan {
    /// Chunks of `chunk` items, the last one with what is left.
    ///
    /// # Errors
    ///
    /// For no items, and for chunks of none.
    pub fn of_size(items: usize, chunk: usize) -> Result<Self> {
        let items = some_items(items)?;
        if chunk == 0 {
            return Err(invalid("the size of a chunk", &0, "it must be one item or more"));
        }
        let chunk = chunk.min(items);
        let (large, small) = (items / chunk, items % chunk);
        let count = large + usize::from(small > 0);
        Ok(Self { items, chunk, large, small, count, bytes: 0 })
    }

    /// As few chunks of at most `most` items as there can be, whose sizes differ by one at most.
    pub(super) fn even(items: usize, most: usize) -> Result<Self> {
        let count = some_items(items)?.div_ceil(most.max(1));
        let (small, longer) = (items / count, items % count);
        Ok(match longer {
            0 => Self { items, chunk: small, large: count, small: 0, count, bytes: 0 },
            large => Self { items, chunk: small + 1, large, small, count, bytes: 0 },
        })
    }

    /// The same chunks, which take so many bytes each.
    pub(super) fn taking(self, bytes: u64) -> Self {
        Self { bytes, ..self }
    }

    /// All items.
    pub fn items(&self) -> usize {
        self.items
    }

    /// Items of the largest chunk, which the first one is.
    pub fn chunk(&self) -> usize {
        self.chunk
    }

    /// The number of chunks, at least one.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Bytes that the largest chunk takes; 0 where the plan was made without a cost.
    pub fn bytes_per_chunk(&self) -> u64 {
        self.bytes
    }

    /// Whether there is more than one chunk.
    pub fn is_chunked(&self) -> bool {
        self.count > 1
    }

    /// The items of one chunk; `None` beyond the last.
    pub fn range(&self, index: usize) -> Option<Range<usize>> {
        if index >= self.count {
            return None;
        }
        let (full, short) = (index.min(self.large), index.saturating_sub(self.large));
        let start = full * self.chunk + short * self.small;
        let length = if index < self.large { self.chunk } else { self.small };
        Some(start..start + length)
    }
}

/// A part of what is available as a limit: NLSQ takes 0.8 of it.
///
/// # Errors
///
/// Where the factor is not a number above 0, or above 1.
pub fn share_of(available: u64, share: f64) -> Result<u64> {
    const EXPECTED: &str = "it must be a number above 0, and 1 at most";
    let share = factor("the share of the available memory", share, 0.0)?;
    if share <= 0.0 || share > 1.0 {
        return Err(invalid("the share of the available memory", &share, EXPECTED));
    }
    // A cast to an integer saturates; above 2^53 it may round up.
    Ok(((available as f64 * share) as u64).min(available))
}

/// The number of items, where there are any.
pub(super) fn some_items(items: usize) -> Result<usize> {
    match items {
        0 => Err(invalid("the number of items", &0, "there must be one or more to divide")),
        items => Ok(items),
    }
}
