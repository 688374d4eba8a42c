//! The blocks of a pool that several threads use, and what was counted.

use std::sync::Arc;

use super::shelf::{Age, Limits, Put, Shelf};
use super::slot::{Revoked, Slot};
use super::stats::{Counts, PoolStats, Released};
use super::thread_cache::ThreadCache;
use crate::sync::{self, AtomicBool, AtomicU64, Mutex, MutexGuard, Ordering};

/// Blocks in no use, and the counts of all. No block is freed while the lock is held: freeing a large
/// one takes long.
#[derive(Debug)]
pub(super) struct Store<T> {
    inner: Mutex<Inner<T>>,
    /// The age of the block that came last to the shelf, to be read without the lock.
    tick: AtomicU64,
    /// Written under the lock.
    is_closed: AtomicBool,
}

#[derive(Debug)]
struct Inner<T> {
    shelf: Shelf<Box<T>>,
    /// What the caches of threads have counts as in use.
    counts: Counts,
    caches: Vec<Arc<ThreadCache<T>>>,
}

impl<T> Store<T> {
    pub(super) fn new(limits: Limits) -> Self {
        let (shelf, counts) = (Shelf::new(limits), Counts::default());
        let inner = Inner { shelf, counts, caches: Vec::new() };
        let (tick, is_closed) = (AtomicU64::new(0), AtomicBool::new(false));
        Self { inner: Mutex::new(inner), tick, is_closed }
    }

    /// A panic cannot leave anything half done: nothing in here runs what others wrote.
    #[inline]
    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        sync::lock(&self.inner)
    }

    /// A block of this size for `asked` bytes, which is in use then, and when it came.
    #[inline]
    pub(super) fn take(&self, size: usize, asked: usize) -> Option<(u64, Box<T>)> {
        let mut inner = self.lock();
        let (age, block) = inner.shelf.take(size).or_else(|| inner.take_from_a_thread(size))?;
        inner.counts.hits += 1;
        inner.counts.hand_out(size as u64, asked as u64);
        Some((age.tick, block))
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
    pub(super) fn give_back(&self, size: usize, block: Box<T>) {
        let put = {
            let mut inner = self.lock();
            let put = inner.put(size, block, self.is_closed());
            self.tick.store(inner.shelf.tick(), Ordering::Relaxed);
            put
        };
        self.settle(size, put);
    }

    /// As [`give_back`](Self::give_back), by the thread that has this cache, which has no room for the block: from now
    /// on it has, if the limits of the pool leave any.
    #[inline]
    pub(super) fn give_back_to(&self, cache: &Arc<ThreadCache<T>>, size: usize, block: Box<T>) {
        let put = {
            let mut inner = self.lock();
            let put = if self.is_closed() {
                cache.close();
                inner.put(size, block, true)
            } else {
                inner.put_into(cache, size, block)
            };
            self.tick.store(inner.shelf.tick(), Ordering::Relaxed);
            put
        };
        self.settle(size, put);
    }

    #[inline]
    fn settle(&self, size: usize, put: Put<Box<T>>) {
        if !matches!(put, Put::Kept) {
            self.make_room(size, put);
        }
    }

    #[cold]
    fn make_room(&self, size: usize, mut put: Put<Box<T>>) {
        loop {
            match put {
                Put::Kept => return,
                Put::Refused(block) => {
                    self.lock().counts.evictions += 1;
                    drop(block);
                    return;
                }
                Put::Full(block) => {
                    let mut inner = self.lock();
                    if !inner.take_back_room()
                        && let Some((_, oldest)) = inner.oldest(u64::MAX)
                    {
                        inner.counts.evictions += 1;
                        drop(inner);
                        drop(oldest);
                        inner = self.lock();
                    }
                    put = if self.is_closed() {
                        Put::Refused(block)
                    } else {
                        inner.shelf.put(size, block)
                    };
                    self.tick.store(inner.shelf.tick(), Ordering::Relaxed);
                }
            }
        }
    }

    /// Frees the blocks that came first, of those that are there now, as long as `more` says so of
    /// what is left and of what was freed.
    pub(super) fn release(&self, more: impl Fn(Kept, Released) -> bool) -> Released {
        let mut released = Released::default();
        let until = self.lock().shelf.tick();
        loop {
            let oldest = {
                let mut inner = self.lock();
                if more(inner.kept(), released) { inner.oldest(until) } else { None }
            };
            let Some((size, block)) = oldest else { return released };
            drop(block);
            released.count += 1;
            released.bytes += size as u64;
        }
    }

    /// Nobody takes blocks any more: frees all, and each that comes back.
    pub(super) fn close(&self) {
        {
            let mut inner = self.lock();
            self.is_closed.store(true, Ordering::Relaxed);
            inner.take_back_room();
            inner.caches.iter().for_each(|cache| cache.close());
        }
        self.release(|_, _| true);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Relaxed)
    }

    pub(super) fn stats(&self) -> PoolStats {
        let inner = self.lock();
        let mut counts = inner.counts;
        for cache in &inner.caches {
            counts.add(cache.taken());
        }
        let kept = inner.kept();
        let in_caches = kept.blocks - inner.shelf.blocks();
        counts.buffers_in_use -= in_caches as u64;
        counts.bytes_in_use -= kept.bytes - inner.shelf.bytes();
        counts.stats(kept.blocks, kept.bytes)
    }

    /// When the block came that came last to the shelf.
    #[inline]
    pub(super) fn tick(&self) -> u64 {
        self.tick.load(Ordering::Relaxed)
    }
}

/// What a pool has that is in no use.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kept {
    pub blocks: usize,
    pub bytes: u64,
}

impl<T> Inner<T> {
    #[inline]
    fn put(&mut self, size: usize, block: Box<T>, is_closed: bool) -> Put<Box<T>> {
        self.counts.take_in(size as u64);
        if is_closed { Put::Refused(block) } else { self.shelf.put(size, block) }
    }

    /// Puts a block into a cache, and what is in its place on the shelf.
    fn put_into(&mut self, cache: &Arc<ThreadCache<T>>, size: usize, block: Box<T>) -> Put<Box<T>> {
        if !self.list(cache) {
            return self.put(size, block, false);
        }
        let Some(slot) = cache.slot_to_grant(size) else { return self.put(size, block, false) };
        // Memory may have run out, which must not end the program.
        if slot.age().is_some() && !self.shelf.prepare(slot.size()) {
            return self.put(size, block, false);
        }
        if let Some((size, age, before)) = self.revoke(slot) {
            self.shelf.insert(size, age, before);
        }
        if !self.shelf.lend(size) {
            return self.put(size, block, false);
        }
        match slot.grant(size, block, cache.age(self.shelf.tick())) {
            Ok(()) => Put::Kept,
            // Nobody opens a slot without the lock.
            Err(block) => {
                self.shelf.lend_no_more(size);
                self.put(size, block, false)
            }
        }
    }

    /// Has a cache from now on. False where there is no memory for that.
    fn list(&mut self, cache: &Arc<ThreadCache<T>>) -> bool {
        if cache.is_listed() {
            return true;
        }
        self.forget_ended_threads();
        let has_room = self.caches.try_reserve(1).is_ok();
        if has_room {
            cache.list();
            self.caches.push(Arc::clone(cache));
        }
        has_room
    }

    /// Lets go of the caches of threads that have ended, but for those with a block.
    #[cold]
    fn forget_ended_threads(&mut self) {
        self.take_back_room();
        let Self { caches, counts, .. } = self;
        caches.retain(|cache| {
            // The thread's own is the second.
            let goes = Arc::strong_count(cache) == 1 && cache.slots().iter().all(Slot::is_closed);
            if goes {
                counts.add(cache.taken());
            }
            !goes
        });
    }

    /// Closes a slot. The block that was there is in use no more: its size, when it came, and itself.
    fn revoke(&mut self, slot: &Slot<T>) -> Option<(usize, Age, Box<T>)> {
        let size = slot.size();
        let revoked = slot.revoke();
        if !matches!(revoked, Revoked::Nothing) {
            self.shelf.lend_no_more(size);
        }
        let Revoked::Block(age, block) = revoked else { return None };
        self.counts.take_in(size as u64);
        Some((size, age, block))
    }

    /// Closes the slots that are granted and empty. False where there were none.
    #[cold]
    fn take_back_room(&mut self) -> bool {
        let before = self.shelf.lent();
        for slot in self.caches.iter().flat_map(|cache| cache.slots()) {
            if slot.close_where_empty() {
                self.shelf.lend_no_more(slot.size());
            }
        }
        self.shelf.lent() < before
    }

    /// A block of this size that a thread has for itself.
    #[cold]
    fn take_from_a_thread(&mut self, size: usize) -> Option<(Age, Box<T>)> {
        for at in 0..self.caches.len() {
            let cache = Arc::clone(&self.caches[at]);
            for slot in cache.slots_for(size).filter(|slot| slot.age().is_some()) {
                // Its thread may have taken it just now.
                if let Some((_, age, block)) = self.revoke(slot) {
                    return Some((age, block));
                }
            }
        }
        None
    }

    /// Takes off the block that came first, wherever it is, and its size, where it came at `until` or before.
    fn oldest(&mut self, until: u64) -> Option<(usize, Box<T>)> {
        loop {
            let on_shelf = self.shelf.oldest_age();
            let of_a_thread = self.oldest_of_threads().filter(|(age, ..)| {
                age.tick <= until && on_shelf.is_none_or(|on_shelf| *age < on_shelf)
            });
            let Some((_, cache, slot)) = of_a_thread else {
                on_shelf.filter(|age| age.tick <= until)?;
                return self.shelf.take_oldest();
            };
            let cache = Arc::clone(&self.caches[cache]);
            // Its thread may have taken it just now.
            if let Some((size, _, block)) = self.revoke(&cache.slots()[slot]) {
                return Some((size, block));
            }
        }
    }

    /// When the block came that came first of those that threads have, whose it is, and in which slot it is.
    fn oldest_of_threads(&self) -> Option<(Age, usize, usize)> {
        let of_cache = |(at, cache): (usize, &Arc<ThreadCache<T>>)| {
            let ages = cache.slots().iter().map(Slot::age).enumerate();
            ages.filter_map(|(slot, age)| Some((age?, at, slot))).min()
        };
        self.caches.iter().enumerate().filter_map(of_cache).min()
    }

    /// What is in no use, of threads too.
    fn kept(&self) -> Kept {
        let mut kept = Kept { blocks: self.shelf.blocks(), bytes: self.shelf.bytes() };
        for slot in self.caches.iter().flat_map(|cache| cache.slots()) {
            if slot.age().is_some() {
                kept.blocks += 1;
                kept.bytes += slot.size() as u64;
            }
        }
        kept
    }
}
