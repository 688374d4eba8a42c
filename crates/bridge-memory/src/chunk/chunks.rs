//! Running over chunks, in order or shuffled.

use std::ops::Range;

use super::permutation::Permutation;
use super::plan::ChunkPlan;

impl ChunkPlan {
    /// The items of each chunk, in order.
    pub fn chunks(&self) -> Chunks {
        Chunks { plan: *self, left: 0..self.count() }
    }

    /// The chunks of the shuffled items: the items of each, in an order that depends on `seed` and
    /// the number of items alone. However large the chunks are, one after the other they give the
    /// same items in the same order, on every machine.
    ///
    /// ```
    /// use bridge_memory::chunk::ChunkPlan;
    ///
    /// let order = |chunk| -> Vec<usize> {
    ///     ChunkPlan::of_size(10, chunk).unwrap().shuffled(42).flatten().collect()
    /// };
    /// assert_eq!(order(3), order(7));
    /// ```
    pub fn shuffled(&self, seed: u64) -> ShuffledChunks {
        ShuffledChunks { chunks: self.chunks(), permutation: Permutation::new(self.items(), seed) }
    }
}

impl IntoIterator for &ChunkPlan {
    type Item = Range<usize>;
    type IntoIter = Chunks;

    fn into_iter(self) -> Chunks {
        self.chunks()
    }
}

/// The items of each chunk: what [`ChunkPlan::chunks`] gives.
#[derive(Debug, Clone)]
pub struct Chunks {
    plan: ChunkPlan,
    left: Range<usize>,
}

impl Iterator for Chunks {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        self.left.next().and_then(|index| self.plan.range(index))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.left.size_hint()
    }
}

impl DoubleEndedIterator for Chunks {
    fn next_back(&mut self) -> Option<Range<usize>> {
        self.left.next_back().and_then(|index| self.plan.range(index))
    }
}

impl ExactSizeIterator for Chunks {}

/// The chunks of shuffled items: what [`ChunkPlan::shuffled`] gives.
#[derive(Debug, Clone)]
pub struct ShuffledChunks {
    chunks: Chunks,
    permutation: Permutation,
}

impl Iterator for ShuffledChunks {
    type Item = Shuffled;

    fn next(&mut self) -> Option<Shuffled> {
        let places = self.chunks.next()?;
        Some(Shuffled { places, permutation: self.permutation })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.chunks.size_hint()
    }
}

impl ExactSizeIterator for ShuffledChunks {}

/// The items of one chunk of shuffled items.
#[derive(Debug, Clone)]
pub struct Shuffled {
    places: Range<usize>,
    permutation: Permutation,
}

impl Iterator for Shuffled {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        self.places.next().and_then(|place| self.permutation.at(place))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.places.size_hint()
    }
}

impl ExactSizeIterator for Shuffled {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_come_in_order_from_both_ends() {
        let plan = ChunkPlan::of_size(10, 4).unwrap();
        assert_eq!(plan.chunks().collect::<Vec<_>>(), [0..4, 4..8, 8..10]);
        assert_eq!(plan.chunks().rev().collect::<Vec<_>>(), [8..10, 4..8, 0..4]);
        assert_eq!(plan.chunks().len(), 3);
        let even = ChunkPlan::of_size(8, 4).unwrap();
        assert_eq!((&even).into_iter().collect::<Vec<_>>(), [0..4, 4..8]);
        let one = ChunkPlan::of_size(3, 100).unwrap();
        assert_eq!((one.count(), one.range(0), one.range(1)), (1, Some(0..3), None));
    }

    #[test]
    fn the_order_of_shuffled_items_does_not_depend_on_the_chunks() {
        let order = |chunk, seed| -> Vec<usize> {
            let chunks = ChunkPlan::of_size(1000, chunk).unwrap().shuffled(seed);
            assert_eq!(chunks.len(), 1000_usize.div_ceil(chunk));
            chunks.flatten().collect()
        };
        let all = order(1000, 1);
        assert_eq!(all, order(1, 1));
        assert_eq!(all, order(333, 1));
        assert_ne!(all, order(333, 2));
        let mut sorted = all.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..1000).collect::<Vec<_>>());
    }
}
