//! The blocks that are in no use, by size and by age.

use std::collections::VecDeque;

/// What may be kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub bytes: u64,
    pub blocks: usize,
}

/// Blocks that are in no use: the one that came last is taken first, since its memory is warm, and
/// the one that came first is evicted first.
#[derive(Debug)]
pub(super) struct Shelf<B> {
    /// Ordered by size.
    classes: Vec<Class<B>>,
    /// The class that was used last.
    last: usize,
    limits: Limits,
    blocks: usize,
    bytes: u64,
    /// How many blocks have come.
    tick: u64,
}

#[derive(Debug)]
struct Class<B> {
    size: usize,
    /// Each with its tick, the oldest in front.
    blocks: VecDeque<(u64, B)>,
}

/// What became of a block that was put on a shelf.
pub(super) enum Put<B> {
    Kept,
    /// There is no room. The oldest was taken off to make some; put the block again.
    Evicted {
        oldest: B,
        again: B,
    },
    /// It can never be kept.
    Refused(B),
}

/// Sizes that are remembered although no block of them is there.
const EMPTY_CLASSES: usize = 256;

impl<B> Shelf<B> {
    pub(super) fn new(limits: Limits) -> Self {
        Self { classes: Vec::new(), last: 0, limits, blocks: 0, bytes: 0, tick: 0 }
    }

    pub(super) fn blocks(&self) -> usize {
        self.blocks
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The age of the block that came last.
    pub(super) fn tick(&self) -> u64 {
        self.tick
    }

    /// The block of this size that came last, and its tick.
    #[inline]
    pub(super) fn take(&mut self, size: usize) -> Option<(u64, B)> {
        let class = self.find(size).ok()?;
        let taken = self.classes[class].blocks.pop_back()?;
        self.went(size);
        Some(taken)
    }

    #[inline]
    pub(super) fn put(&mut self, size: usize, block: B) -> Put<B> {
        let bytes = size as u64;
        if bytes > self.limits.bytes || self.limits.blocks == 0 {
            return Put::Refused(block);
        }
        if self.bytes + bytes > self.limits.bytes || self.blocks >= self.limits.blocks {
            return match self.oldest(u64::MAX) {
                Some((_, oldest)) => Put::Evicted { oldest, again: block },
                None => Put::Refused(block),
            };
        }
        let Some(class) = self.class_for(size) else { return Put::Refused(block) };
        let blocks = &mut self.classes[class].blocks;
        // Memory may have run out, which must not end the program.
        if blocks.try_reserve(1).is_err() {
            return Put::Refused(block);
        }
        self.tick += 1;
        blocks.push_back((self.tick, block));
        self.blocks += 1;
        self.bytes += bytes;
        Put::Kept
    }

    /// Takes off the block that came first, and its size, where it came at `until` or before.
    pub(super) fn oldest(&mut self, until: u64) -> Option<(usize, B)> {
        let age = |class: &&mut Class<B>| class.blocks.front().map(|(tick, _)| *tick);
        let class =
            self.classes.iter_mut().filter(|class| !class.blocks.is_empty()).min_by_key(age)?;
        if class.blocks.front().is_some_and(|(tick, _)| *tick > until) {
            return None;
        }
        let (size, (_, block)) = (class.size, class.blocks.pop_front()?);
        self.went(size);
        Some((size, block))
    }

    #[inline]
    fn went(&mut self, size: usize) {
        self.blocks -= 1;
        self.bytes -= size as u64;
    }

    /// Where the class of this size is, or where it would be.
    #[inline]
    fn find(&mut self, size: usize) -> Result<usize, usize> {
        if self.classes.get(self.last).is_some_and(|class| class.size == size) {
            return Ok(self.last);
        }
        let found = self.classes.binary_search_by_key(&size, |class| class.size);
        self.last = found.unwrap_or(self.last);
        found
    }

    /// The class of this size, made where there is none; `None` where there is no memory for it.
    #[inline]
    fn class_for(&mut self, size: usize) -> Option<usize> {
        match self.find(size) {
            Ok(class) => Some(class),
            Err(_) => self.make_class(size),
        }
    }

    #[cold]
    fn make_class(&mut self, size: usize) -> Option<usize> {
        if self.classes.len() >= EMPTY_CLASSES {
            self.classes.retain(|class| !class.blocks.is_empty());
        }
        self.classes.try_reserve(1).ok()?;
        let place = self.classes.partition_point(|class| class.size < size);
        self.classes.insert(place, Class { size, blocks: VecDeque::new() });
        self.last = place;
        Some(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shelf(bytes: u64, blocks: usize) -> Shelf<&'static str> {
        Shelf::new(Limits { bytes, blocks })
    }

    fn keep(shelf: &mut Shelf<&'static str>, size: usize, block: &'static str) {
        assert!(matches!(shelf.put(size, block), Put::Kept));
    }

    #[test]
    fn the_last_of_a_size_is_taken_and_the_first_of_all_evicted() {
        let mut shelf = shelf(100, 4);
        for (size, name) in [(30, "a"), (20, "b"), (30, "c")] {
            keep(&mut shelf, size, name);
        }
        assert_eq!((shelf.blocks(), shelf.bytes()), (3, 80));
        let Put::Evicted { oldest: "a", again: "d" } = shelf.put(40, "d") else { panic!() };
        keep(&mut shelf, 40, "d");
        assert_eq!(shelf.take(30).map(|(_, block)| block), Some("c"));
        assert!(shelf.take(30).is_none() && shelf.take(7).is_none());
        assert_eq!(shelf.oldest(u64::MAX), Some((20, "b")));
        assert_eq!(shelf.oldest(shelf.tick() - 1), None, "d came last");
        assert_eq!(shelf.oldest(shelf.tick()), Some((40, "d")));
        assert_eq!((shelf.oldest(u64::MAX), shelf.bytes()), (None, 0));
    }

    #[test]
    fn limits_of_number_and_size_hold() {
        let mut two = shelf(100, 2);
        keep(&mut two, 1, "a");
        keep(&mut two, 2, "b");
        assert!(matches!(two.put(3, "c"), Put::Evicted { oldest: "a", again: "c" }));
        assert!(matches!(two.put(101, "d"), Put::Refused("d")));
        assert!(matches!(shelf(100, 0).put(1, "a"), Put::Refused("a")));
        assert!(matches!(shelf(0, 9).put(1, "a"), Put::Refused("a")));
    }

    #[test]
    fn sizes_that_are_used_no_more_are_forgotten() {
        let mut shelf = shelf(u64::MAX, usize::MAX);
        keep(&mut shelf, 5, "stays");
        for size in 10..2000 {
            keep(&mut shelf, size, "goes");
            assert!(shelf.take(size).is_some());
            assert!(shelf.classes.len() <= EMPTY_CLASSES);
        }
        assert!(shelf.classes.is_sorted_by_key(|class| class.size));
        assert_eq!(shelf.take(5).map(|(_, block)| block), Some("stays"));
    }
}
