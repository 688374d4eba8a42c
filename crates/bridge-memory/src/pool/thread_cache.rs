//! The blocks that one thread gave back last.

use super::shelf::Age;
use super::slot::Slot;
use crate::sync::{AtomicBool, AtomicU64, Ordering};

/// Blocks that a thread keeps for itself.
const SLOTS: usize = 8;

/// A few blocks, for one thread to take and put without a lock: to take a lock and to give it
/// back takes longer than the rest of a call.
///
/// The pool has them too. It grants the slots as far as its limits go, takes from them what another thread needs,
/// and frees what is in them as it frees what it keeps itself. What is in them counts as in use there.
#[derive(Debug)]
#[repr(align(128))] // Lines of no other thread.
pub(super) struct ThreadCache<T> {
    slots: [Slot<T>; SLOTS],
    /// What its thread counts, which writes them alone.
    hits: AtomicU64,
    requested: AtomicU64,
    used: AtomicU64,
    put: AtomicU64,
    /// Whether its pool has it; written under the lock of the pool.
    is_listed: AtomicBool,
    /// Whether its pool has ended.
    is_closed: AtomicBool,
}

/// Blocks that were taken from a cache.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Taken {
    pub hits: u64,
    pub requested: u64,
    pub used: u64,
}

impl<T> ThreadCache<T> {
    pub(super) fn new() -> Self {
        Self {
            slots: std::array::from_fn(|_| Slot::closed()),
            hits: AtomicU64::new(0),
            requested: AtomicU64::new(0),
            used: AtomicU64::new(0),
            put: AtomicU64::new(0),
            is_listed: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
        }
    }

    pub(super) fn slots(&self) -> &[Slot<T>] {
        &self.slots
    }

    /// A block of this size, for `asked` bytes. For its own thread.
    #[inline]
    pub(super) fn take(&self, size: usize, asked: usize) -> Option<Box<T>> {
        let block = self.slots_for(size).find_map(Slot::take)?;
        add(&self.hits, 1);
        add(&self.requested, asked as u64);
        add(&self.used, size as u64);
        Some(block)
    }

    /// Keeps a block of this size which came at `tick`, or gives it back where there is no room. For its own thread.
    #[inline]
    pub(super) fn put(&self, size: usize, block: Box<T>, tick: u64) -> Result<(), Box<T>> {
        match self.slots_for(size).find(|slot| slot.is_empty()) {
            Some(slot) => slot.put(block, self.age(tick)),
            None => Err(block),
        }
    }

    #[inline]
    pub(super) fn slots_for(&self, size: usize) -> impl Iterator<Item = &Slot<T>> {
        self.slots.iter().filter(move |slot| slot.size() == size)
    }

    /// The slot to be granted to one more block of this size: one that is closed, or has room for another
    /// size, or has the block of another size that came first.
    pub(super) fn slot_to_grant(&self, size: usize) -> Option<&Slot<T>> {
        let others = || self.slots.iter().filter(move |slot| slot.size() != size);
        let closed = self.slots.iter().find(|slot| slot.is_closed());
        closed.or_else(|| others().min_by_key(|slot| slot.age()))
    }

    /// The age of a block that comes now: after all that came at `tick`.
    #[inline]
    pub(super) fn age(&self, tick: u64) -> Age {
        add(&self.put, 1);
        Age { tick, after: self.put.load(Ordering::Relaxed) }
    }

    pub(super) fn taken(&self) -> Taken {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Taken { hits: read(&self.hits), requested: read(&self.requested), used: read(&self.used) }
    }

    pub(super) fn is_listed(&self) -> bool {
        self.is_listed.load(Ordering::Relaxed)
    }

    /// Its pool has it from now on.
    pub(super) fn list(&self) {
        self.is_listed.store(true, Ordering::Relaxed);
    }

    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Relaxed)
    }
}

/// Counts on where one thread writes alone.
#[inline]
fn add(count: &AtomicU64, more: u64) {
    count.store(count.load(Ordering::Relaxed).saturating_add(more), Ordering::Relaxed);
}
