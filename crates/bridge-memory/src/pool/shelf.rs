//! The blocks that are in no use, by size and by age.

use std::collections::VecDeque;

/// What may be kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub bytes: u64,
    pub blocks: usize,
}

/// When a block came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Age {
    /// How many had come to the shelf by then, with this one.
    pub tick: u64,
    /// Blocks that did not come to the shelf are counted from there on; 0 for one that did.
    pub after: u64,
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
    /// What others may keep, of what the limits allow.
    lent: Limits,
    /// How many blocks have come.
    tick: u64,
}

#[derive(Debug)]
struct Class<B> {
    size: usize,
    /// Each with its age, the oldest in front.
    blocks: VecDeque<(Age, B)>,
}

/// What became of a block that was put on a shelf.
pub(super) enum Put<B> {
    Kept,
    /// There is no room. Free what came first, and put it again.
    Full(B),
    /// It can never be kept.
    Refused(B),
}

/// Sizes that are remembered although no block of them is there.
const EMPTY_CLASSES: usize = 256;

impl<B> Shelf<B> {
    pub(super) fn new(limits: Limits) -> Self {
        let lent = Limits { bytes: 0, blocks: 0 };
        Self { classes: Vec::new(), last: 0, limits, blocks: 0, bytes: 0, lent, tick: 0 }
    }

    pub(super) fn blocks(&self) -> usize {
        self.blocks
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many blocks have come.
    pub(super) fn tick(&self) -> u64 {
        self.tick
    }

    /// The block of this size that came last, and when.
    #[inline]
    pub(super) fn take(&mut self, size: usize) -> Option<(Age, B)> {
        let class = self.find(size).ok()?;
        let taken = self.classes[class].blocks.pop_back()?;
        self.went(size);
        Some(taken)
    }

    #[inline]
    pub(super) fn put(&mut self, size: usize, block: B) -> Put<B> {
        if size as u64 > self.limits.bytes || self.limits.blocks == 0 {
            return Put::Refused(block);
        }
        if !self.has_room(size) {
            return Put::Full(block);
        }
        if !self.prepare(size) {
            return Put::Refused(block);
        }
        self.tick += 1;
        self.insert(size, Age { tick: self.tick, after: 0 }, block);
        Put::Kept
    }

    #[inline]
    fn has_room(&self, size: usize) -> bool {
        let Limits { bytes, blocks } = self.limits;
        self.bytes + self.lent.bytes + size as u64 <= bytes
            && self.blocks + self.lent.blocks < blocks
    }

    /// Makes place for a block of this size to be inserted. False where memory has run out, which must not end the
    /// program.
    #[inline]
    pub(super) fn prepare(&mut self, size: usize) -> bool {
        let class = self.class_for(size);
        class.is_some_and(|class| self.classes[class].blocks.try_reserve(1).is_ok())
    }

    /// Inserts a block that came some time ago, for which there is place and room.
    #[inline]
    pub(super) fn insert(&mut self, size: usize, age: Age, block: B) {
        let Some(class) = self.class_for(size) else { return };
        let blocks = &mut self.classes[class].blocks;
        if blocks.back().is_none_or(|(last, _)| *last < age) {
            blocks.push_back((age, block));
        } else {
            blocks.insert(blocks.partition_point(|(one, _)| *one < age), (age, block));
        }
        self.blocks += 1;
        self.bytes += size as u64;
    }

    /// Lends room for a block of this size, where the limits leave some.
    pub(super) fn lend(&mut self, size: usize) -> bool {
        let has_room = self.has_room(size);
        if has_room {
            self.lent.bytes += size as u64;
            self.lent.blocks += 1;
        }
        has_room
    }

    /// Room that was lent is given back.
    pub(super) fn lend_no_more(&mut self, size: usize) {
        self.lent.bytes -= size as u64;
        self.lent.blocks -= 1;
    }

    /// For how many blocks room is lent.
    pub(super) fn lent(&self) -> usize {
        self.lent.blocks
    }

    /// When the block came that came first.
    pub(super) fn oldest_age(&self) -> Option<Age> {
        self.classes.iter().filter_map(|class| class.blocks.front()).map(|(age, _)| *age).min()
    }

    /// Takes off the block that came first, and its size.
    pub(super) fn take_oldest(&mut self) -> Option<(usize, B)> {
        let age = |class: &&mut Class<B>| class.blocks.front().map(|(age, _)| *age);
        let filled = self.classes.iter_mut().filter(|class| !class.blocks.is_empty());
        let class = filled.min_by_key(age)?;
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
        let Put::Full("d") = shelf.put(40, "d") else { panic!() };
        assert_eq!(shelf.take_oldest(), Some((30, "a")));
        keep(&mut shelf, 40, "d");
        assert_eq!(shelf.take(30).map(|(_, block)| block), Some("c"));
        assert!(shelf.take(30).is_none() && shelf.take(7).is_none());
        assert_eq!(shelf.oldest_age(), Some(Age { tick: 2, after: 0 }));
        assert_eq!(shelf.take_oldest(), Some((20, "b")));
        assert_eq!(shelf.take_oldest(), Some((40, "d")));
        assert_eq!((shelf.take_oldest(), shelf.bytes(), shelf.oldest_age()), (None, 0, None));
    }

    #[test]
    fn a_block_that_is_inserted_later_keeps_its_age() {
        let mut shelf = shelf(100, 9);
        keep(&mut shelf, 10, "first");
        keep(&mut shelf, 10, "third");
        assert!(shelf.prepare(10));
        shelf.insert(10, Age { tick: 1, after: 1 }, "second");
        let order = [(); 3].map(|()| shelf.take_oldest().unwrap().1);
        assert_eq!(order, ["first", "second", "third"]);
    }

    #[test]
    fn what_is_lent_cannot_be_used_otherwise() {
        let mut shelf = shelf(100, 2);
        assert!(shelf.lend(60) && !shelf.lend(41));
        assert!(matches!(shelf.put(41, "a"), Put::Full("a")));
        keep(&mut shelf, 40, "b");
        assert!(!shelf.lend(0), "two blocks are all");
        shelf.lend_no_more(60);
        assert_eq!(shelf.lent(), 0);
        keep(&mut shelf, 60, "c");
    }

    #[test]
    fn limits_of_number_and_size_hold() {
        let mut two = shelf(100, 2);
        keep(&mut two, 1, "a");
        keep(&mut two, 2, "b");
        assert!(matches!(two.put(3, "c"), Put::Full("c")));
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
