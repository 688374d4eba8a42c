//! The caches that a thread has, of each pool that it has given a block back to.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::host_pool::HostBlock;
use super::thread_cache::ThreadCache;

type Cache = ThreadCache<HostBlock>;

crate::sync::thread_local! {
    /// With the number of the pool. There is none any more while the thread ends.
    static OWN: RefCell<Vec<(u64, Arc<Cache>)>> = RefCell::default();
}

/// A number that no other pool has.
pub(super) fn next_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A block of this size that the thread has of the pool, for `asked` bytes.
#[inline]
pub(super) fn take(pool: u64, size: usize, asked: usize) -> Option<Box<HostBlock>> {
    let take = |own: &RefCell<Vec<_>>| find(&own.try_borrow().ok()?, pool)?.take(size, asked);
    OWN.try_with(take).ok().flatten()
}

/// Keeps a block of this size for the thread, or gives it back where it has no room for it.
#[inline]
pub(super) fn put(
    pool: u64,
    size: usize,
    block: Box<HostBlock>,
    tick: u64,
) -> Result<(), Box<HostBlock>> {
    let mut block = Some(block);
    let mut put = |own: &RefCell<Vec<_>>| {
        let own = own.try_borrow().ok()?;
        block = find(&own, pool)?.put(size, block.take()?, tick).err();
        Some(())
    };
    let _ended = OWN.try_with(&mut put);
    block.map_or(Ok(()), Err)
}

/// The thread's cache of the pool, made where there is none; `None` where there can be none.
pub(super) fn of(pool: u64) -> Option<Arc<Cache>> {
    let find_or_make = |own: &RefCell<Vec<(u64, Arc<Cache>)>>| {
        let mut own = own.try_borrow_mut().ok()?;
        if let Some((_, cache)) = own.iter().find(|(number, _)| *number == pool) {
            return Some(Arc::clone(cache));
        }
        own.retain(|(_, cache)| !cache.is_closed());
        own.try_reserve(1).ok()?;
        let cache = Arc::new(Cache::new());
        own.push((pool, Arc::clone(&cache)));
        Some(cache)
    };
    OWN.try_with(find_or_make).ok().flatten()
}

/// Lets go of the thread's caches of pools that have ended. Other threads do so when a pool ends there, or they end.
pub(super) fn forget_closed() {
    let forget = |own: &RefCell<Vec<(u64, Arc<Cache>)>>| {
        if let Ok(mut own) = own.try_borrow_mut() {
            own.retain(|(_, cache)| !cache.is_closed());
        }
    };
    let _ended = OWN.try_with(forget);
}

#[inline]
fn find(own: &[(u64, Arc<Cache>)], pool: u64) -> Option<&Cache> {
    own.iter().find(|(number, _)| *number == pool).map(|(_, cache)| &**cache)
}
