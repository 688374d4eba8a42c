//! A shelf that several threads use, and what was counted.

use super::shelf::{Limits, Put, Shelf};
use super::stats::{Counts, PoolStats, Released};
use crate::sync::{self, Mutex, MutexGuard};

/// Blocks in no use, and the counts of all. No block is freed while the lock is held: freeing a large
/// one takes long.
#[derive(Debug)]
pub(super) struct Store<B>(Mutex<Inner<B>>);

#[derive(Debug)]
struct Inner<B> {
    shelf: Shelf<B>,
    counts: Counts,
}

impl<B> Store<B> {
    pub(super) fn new(limits: Limits) -> Self {
        Self(Mutex::new(Inner { shelf: Shelf::new(limits), counts: Counts::default() }))
    }

    /// A panic cannot leave anything half done: nothing in here runs what others wrote.
    #[inline]
    fn lock(&self) -> MutexGuard<'_, Inner<B>> {
        sync::lock(&self.0)
    }

    /// A block of this size for `asked` bytes, which is in use then, and when it came.
    #[inline]
    pub(super) fn take(&self, size: usize, asked: usize) -> Option<(u64, B)> {
        let mut inner = self.lock();
        let taken = inner.shelf.take(size)?;
        inner.counts.hits += 1;
        inner.counts.hand_out(size as u64, asked as u64);
        Some(taken)
    }

    /// A block of this size was allocated for `asked` bytes, and is in use.
    pub(super) fn took_fresh(&self, size: usize, asked: usize) {
        let mut inner = self.lock();
        inner.counts.misses += 1;
        inner.counts.hand_out(size as u64, asked as u64);
        let held = inner.counts.bytes_in_use + inner.shelf.bytes();
        inner.counts.bytes_peak = inner.counts.bytes_peak.max(held);
    }

    /// A block that was taken or allocated is in use no more: it is kept, or freed.
    #[inline]
    pub(super) fn give_back(&self, size: usize, block: B) {
        let put = {
            let mut inner = self.lock();
            inner.counts.take_in(size as u64);
            inner.shelf.put(size, block)
        };
        if !matches!(put, Put::Kept) {
            self.make_room(size, put);
        }
    }

    #[cold]
    fn make_room(&self, size: usize, mut put: Put<B>) {
        loop {
            match put {
                Put::Kept => return,
                Put::Refused(block) => {
                    self.lock().counts.evictions += 1;
                    drop(block);
                    return;
                }
                Put::Evicted { oldest, again } => {
                    drop(oldest);
                    let mut inner = self.lock();
                    inner.counts.evictions += 1;
                    put = inner.shelf.put(size, again);
                }
            }
        }
    }

    /// Frees the blocks that came first, of those that are there now, as long as `more` says so of
    /// what is left and of what was freed.
    pub(super) fn release(&self, more: impl Fn(&Shelf<B>, Released) -> bool) -> Released {
        let mut released = Released::default();
        let until = self.lock().shelf.tick();
        loop {
            let oldest = {
                let shelf = &mut self.lock().shelf;
                if more(shelf, released) { shelf.oldest(until) } else { None }
            };
            let Some((size, block)) = oldest else { return released };
            drop(block);
            released.count += 1;
            released.bytes += size as u64;
        }
    }

    pub(super) fn stats(&self) -> PoolStats {
        let inner = self.lock();
        inner.counts.stats(inner.shelf.blocks(), inner.shelf.bytes())
    }

    /// When the block came that came last.
    pub(super) fn tick(&self) -> u64 {
        self.lock().shelf.tick()
    }
}
