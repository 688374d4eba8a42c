//! The pool of host memory.

use std::fmt;
use std::mem::MaybeUninit;
use std::sync::{Arc, Weak};

use bridge_core::{Device, Element, HostMemory, Result, TensorError};

use super::buffer::PooledBuffer;
use super::own_caches;
use super::room::{Block, Budgeted, Keeper, Room, released_by};
use super::shelf::Limits;
use super::size_class::{QuarterSteps, SizeClass};
use super::stats::{PoolStats, Released};
use super::store::Store;
use crate::budget::Budget;
use crate::recovery::ReleaseHook;

/// What buffers are aligned to: enough for every element type, and a cache line.
pub(super) const ALIGNMENT: usize = 64;

/// Host memory that is used again, for buffers of any element type.
///
/// Clones are the same pool. All calls can be made from all threads at any time. What is kept is limited
/// in bytes and in number: a buffer that comes back makes the pool free the ones that came back
/// first, and is freed itself where it alone is too large. All that is kept is freed when the
/// [caches of the host are released](crate::recovery::release_caches).
///
/// Below some 100 KiB the system's allocator keeps pages too; there a pool gains little.
#[derive(Clone)]
pub struct Pool {
    home: Arc<Open>,
}

/// The pool as long as anybody can take from it.
struct Open(Arc<Home>);

/// Where buffers come from and go back to. Every block of it has it too.
pub(super) struct Home {
    /// Of all pools that there have been.
    number: u64,
    store: Store<HostBlock>,
    classes: Box<dyn SizeClass>,
    budgeted: Option<Budgeted>,
    _released: ReleaseHook,
}

impl Keeper for Home {
    type Block = HostBlock;

    fn store(&self) -> &Store<HostBlock> {
        &self.store
    }
}

/// Memory that knows where it goes back to.
pub(super) struct HostBlock {
    block: Block<HostMemory>,
    home: Arc<Home>,
    /// How often it came back, as far as that matters.
    returns: u8,
}

/// Bytes of a block from which its pages matter.
const LARGE: usize = 4 << 20;
/// How often a large block comes back until it is one that is used again and again.
const OFTEN: u8 = 4;

impl HostBlock {
    #[inline]
    pub(super) fn memory(&self) -> &HostMemory {
        &self.block.memory
    }

    /// Lets the pool keep it, or frees it.
    #[inline]
    pub(super) fn give_back(mut self: Box<Self>) {
        let size = self.memory().size();
        if size >= LARGE && self.returns < OFTEN {
            self.came_back();
        }
        let (number, tick) = (self.home.number, self.home.store.tick());
        if let Err(block) = own_caches::put(number, size, self, tick) {
            give_back_to_all(size, block);
        }
    }

    /// Puts large pages under a block that is used again and again: one that is cut from memory that smaller blocks
    /// have left has small ones, whatever was asked when it was allocated.
    #[cold]
    fn came_back(&mut self) {
        self.returns += 1;
        if self.returns == OFTEN {
            self.memory().make_pages_large();
        }
    }
}

/// Gives a block back for which this thread has no room of its own: most likely it has from then on.
#[cold]
fn give_back_to_all(size: usize, block: Box<HostBlock>) {
    let home = Arc::clone(&block.home);
    let is_open = !home.store.is_closed();
    match is_open.then(|| own_caches::of(home.number)).flatten() {
        Some(cache) => home.store.give_back_to(&cache, size, block),
        None => home.store.give_back(size, block),
    }
}

/// What is kept has the pool, and the pool what is kept: until here.
impl Drop for Open {
    fn drop(&mut self) {
        self.0.store.close();
        own_caches::forget_closed();
    }
}

/// How a [`Pool`] is made.
///
/// ```
/// use bridge_memory::pool::{Exact, PoolOptions};
///
/// let pool = PoolOptions::new().max_bytes(256 << 20).max_buffers(16).size_classes(Exact).build();
/// assert_eq!(pool.stats().bytes_cached, 0);
/// ```
pub struct PoolOptions {
    pub(super) limits: Limits,
    pub(super) classes: Box<dyn SizeClass>,
    pub(super) room: Option<Room>,
}

impl PoolOptions {
    /// A pool that keeps at most 1 GiB in at most 1024 buffers of [`QuarterSteps`].
    pub fn new() -> Self {
        let limits = Limits { bytes: 1 << 30, blocks: 1024 };
        Self { limits, classes: Box::new(QuarterSteps), room: None }
    }

    /// Keeps at most so many bytes in buffers that are in no use; 0 keeps none.
    #[must_use]
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.limits.bytes = bytes;
        self
    }

    /// Keeps at most so many buffers that are in no use; 0 keeps none.
    #[must_use]
    pub fn max_buffers(mut self, buffers: usize) -> Self {
        self.limits.blocks = buffers;
        self
    }

    /// Rounds sizes up by another rule.
    #[must_use]
    pub fn size_classes(mut self, classes: impl SizeClass) -> Self {
        self.classes = Box::new(classes);
        self
    }

    /// Reserves all that the pool holds, in use or not, in a budget, under a name. Before the budget
    /// refuses anybody something, the pool frees what is in no use. As with conversions, a
    /// budget of another device counts nothing.
    #[must_use]
    pub fn within(mut self, budget: &Budget, name: &str) -> Self {
        self.room = Some(Room::new(budget, name));
        self
    }

    /// The pool, which is empty.
    pub fn build(self) -> Pool {
        let Self { limits, classes, room } = self;
        let home = Arc::new_cyclic(|home| {
            let released = released_by(Weak::clone(home), room.as_ref(), Device::CPU);
            let budgeted = room.map(|room| Budgeted::new(room, home, Device::CPU));
            let (number, store) = (own_caches::next_number(), Store::new(limits));
            Home { number, store, classes, budgeted, _released: released }
        });
        Pool { home: Arc::new(Open(home)) }
    }
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl Pool {
    /// A pool as [`PoolOptions::new`] describes it.
    pub fn new() -> Self {
        PoolOptions::new().build()
    }

    /// A buffer of `length` zeros.
    ///
    /// # Errors
    ///
    /// [`TensorError::TooLarge`]; [`TensorError::OutOfMemory`], after all that the pool keeps has been
    /// freed; a [`Shortage`](crate::budget::Shortage) of the pool's budget, which it tells
    /// [apart](crate::budget::Shortage::of).
    #[inline]
    pub fn zeroed<T: Element>(&self, length: usize) -> Result<PooledBuffer<T>> {
        Ok(self.uninit(length)?.zeroed())
    }

    /// A buffer of `length` elements that are not initialized: to be written before they are read.
    ///
    /// # Errors
    ///
    /// As [`zeroed`](Self::zeroed).
    #[inline]
    pub fn uninit<T: Element>(&self, length: usize) -> Result<PooledBuffer<MaybeUninit<T>>> {
        let bytes = bytes_of::<T>(length)?;
        Ok(PooledBuffer::uninit(self.home.0.take(bytes)?, length))
    }

    /// Lends a buffer of `length` zeros to `f`. The memory goes back when it returns, or panics.
    ///
    /// # Errors
    ///
    /// As [`zeroed`](Self::zeroed).
    pub fn with_temporary<T: Element, R>(
        &self,
        length: usize,
        f: impl FnOnce(&mut [T]) -> R,
    ) -> Result<R> {
        Ok(f(&mut self.zeroed(length)?))
    }

    /// Frees the buffers that came back first until at most `bytes` are kept.
    pub fn trim_to(&self, bytes: u64) -> Released {
        self.home.0.store.release(|kept, _| kept.bytes > bytes)
    }

    /// Frees the buffers that came back first until at most `buffers` are kept.
    pub fn keep(&self, buffers: usize) -> Released {
        self.home.0.store.release(|kept, _| kept.blocks > buffers)
    }

    /// Frees all that is kept. Buffers in use come back as ever.
    pub fn clear(&self) -> Released {
        self.trim_to(0)
    }

    /// Whether a budget counts what the pool holds.
    pub(crate) fn is_budgeted(&self) -> bool {
        self.home.0.budgeted.as_ref().is_some_and(Budgeted::counts)
    }

    /// What the pool holds, and how often it could help.
    pub fn stats(&self) -> PoolStats {
        self.home.0.store.stats()
    }
}

impl Default for Pool {
    fn default() -> Self {
        Self::new()
    }
}

impl Home {
    /// Memory for so many bytes.
    #[inline]
    fn take(self: &Arc<Self>, bytes: usize) -> Result<Box<HostBlock>> {
        let size = self.classes.size(bytes).max(bytes);
        match own_caches::take(self.number, size, bytes) {
            Some(block) => Ok(block),
            None => self.take_of_all(size, bytes),
        }
    }

    fn take_of_all(self: &Arc<Self>, size: usize, bytes: usize) -> Result<Box<HostBlock>> {
        match self.store.take(size, bytes) {
            Some((_, block)) => Ok(block),
            None => self.allocate(size, bytes),
        }
    }

    #[cold]
    fn allocate(self: &Arc<Self>, size: usize, bytes: usize) -> Result<Box<HostBlock>> {
        let (room, size) = match &self.budgeted {
            Some(own) => {
                let (room, size) =
                    own.room.reserve_class(Device::CPU, (size, bytes), &self.store)?;
                (Some(room), size)
            }
            None => (None, size),
        };
        let memory = match HostMemory::allocate(size, ALIGNMENT) {
            Err(error @ TensorError::OutOfMemory { .. }) => {
                if self.store.release(|_, _| true).count == 0 {
                    return Err(error.into());
                }
                HostMemory::allocate(size, ALIGNMENT)?
            }
            other => other?,
        };
        memory.prefer_large_pages();
        self.store.took_fresh(size, bytes);
        let (block, home) = (Block::new(memory, room), Arc::clone(self));
        Ok(Box::new(HostBlock { block, home, returns: 0 }))
    }
}

/// Bytes of so many elements.
#[inline]
fn bytes_of<T>(length: usize) -> Result<usize> {
    let too_large = || TensorError::TooLarge {
        what: format!("a buffer of {length} elements of {} bytes", size_of::<T>()),
    };
    Ok(length.checked_mul(size_of::<T>()).ok_or_else(too_large)?)
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pool").field(&self.stats()).finish()
    }
}

impl fmt::Debug for PoolOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolOptions").field("limits", &self.limits).finish_non_exhaustive()
    }
}
