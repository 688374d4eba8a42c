//! One block of a thread's own.

use std::marker::PhantomData;
use std::ptr;
use std::sync::Mutex;

use super::shelf::Age;
use crate::sync::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};

/// Room for one block of one size, which takes no lock to be filled and emptied.
///
/// A slot is closed until it is [granted](Self::grant), and after it was [revoked](Self::revoke): then nothing is put there.
/// Whoever exchanges what it holds owns the block that was there, so that any thread may do anything at any
/// time. What size the slot is for is written under the lock of the pool only.
#[derive(Debug)]
pub(super) struct Slot<T> {
    /// Null while it is closed, the slot's own address while it is granted and empty, else a block.
    holds: AtomicPtr<T>,
    /// Bytes of the blocks that it is for; 0 before it was granted first.
    size: AtomicUsize,
    tick: AtomicU64,
    after: AtomicU64,
    /// A block goes from thread to thread, as through a mutex.
    block: PhantomData<Mutex<Box<T>>>,
}

/// What a slot held when it was closed.
pub(super) enum Revoked<T> {
    /// It was closed already.
    Nothing,
    /// It was granted, and empty.
    Room,
    Block(Age, Box<T>),
}

impl<T> Slot<T> {
    pub(super) fn closed() -> Self {
        Self {
            holds: AtomicPtr::new(ptr::null_mut()),
            size: AtomicUsize::new(0),
            tick: AtomicU64::new(0),
            after: AtomicU64::new(0),
            block: PhantomData,
        }
    }

    /// An address that no block has.
    #[inline]
    fn empty(&self) -> *mut T {
        ptr::from_ref(self).cast_mut().cast()
    }

    #[inline]
    pub(super) fn size(&self) -> usize {
        self.size.load(Ordering::Relaxed)
    }

    /// When the block came that is there, if one is.
    pub(super) fn age(&self) -> Option<Age> {
        let held = self.holds.load(Ordering::Acquire);
        let there = !held.is_null() && held != self.empty();
        there.then(|| self.written_age())
    }

    fn written_age(&self) -> Age {
        Age { tick: self.tick.load(Ordering::Relaxed), after: self.after.load(Ordering::Relaxed) }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.holds.load(Ordering::Relaxed).is_null()
    }

    /// Whether it was granted and is empty.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.holds.load(Ordering::Relaxed) == self.empty()
    }

    /// The block, where one is there.
    #[inline]
    pub(super) fn take(&self) -> Option<Box<T>> {
        let held = self.holds.load(Ordering::Relaxed);
        if held.is_null() || held == self.empty() {
            return None;
        }
        let (done, failed) = (Ordering::Acquire, Ordering::Relaxed);
        self.holds.compare_exchange(held, self.empty(), done, failed).ok()?;
        // SAFETY:
        // - The pointer is neither null nor the slot's own, so that it came from `Box::into_raw` in `exchange`.
        // - It was exchanged for another, so that nobody else gets it from here; what was written before it was
        //   stored is seen, since it was stored with `Release` and exchanged with `Acquire`.
        Some(unsafe { Box::from_raw(held) })
    }

    /// Puts a block there that came then, or gives it back where there is no room.
    #[inline]
    pub(super) fn put(&self, block: Box<T>, age: Age) -> Result<(), Box<T>> {
        if self.is_empty() { self.exchange(self.empty(), block, age) } else { Err(block) }
    }

    /// Opens a closed slot for blocks of a size, with a first one.
    pub(super) fn grant(&self, size: usize, block: Box<T>, age: Age) -> Result<(), Box<T>> {
        self.size.store(size, Ordering::Relaxed);
        self.exchange(ptr::null_mut(), block, age)
    }

    /// Puts a block in the place of what the slot holds, which is no block, or gives it back where it holds another.
    #[inline]
    fn exchange(&self, held: *mut T, block: Box<T>, age: Age) -> Result<(), Box<T>> {
        // Whoever takes the block reads the age that was written last: a wrong one changes what is freed first, and
        // nothing else.
        self.tick.store(age.tick, Ordering::Relaxed);
        self.after.store(age.after, Ordering::Relaxed);
        let block = Box::into_raw(block);
        match self.holds.compare_exchange(held, block, Ordering::Release, Ordering::Relaxed) {
            Ok(_) => Ok(()),
            // SAFETY: it came from `Box::into_raw` above, and was not stored.
            Err(_) => Err(unsafe { Box::from_raw(block) }),
        }
    }

    /// Closes it where it is granted and empty. False where it is not.
    pub(super) fn close_where_empty(&self) -> bool {
        let (held, closed) = (self.empty(), ptr::null_mut());
        self.holds.compare_exchange(held, closed, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Closes it.
    pub(super) fn revoke(&self) -> Revoked<T> {
        let held = self.holds.swap(ptr::null_mut(), Ordering::Acquire);
        if held.is_null() {
            Revoked::Nothing
        } else if held == self.empty() {
            Revoked::Room
        } else {
            // SAFETY: as in `take`.
            Revoked::Block(self.written_age(), unsafe { Box::from_raw(held) })
        }
    }
}

impl<T> Drop for Slot<T> {
    fn drop(&mut self) {
        // The block is freed.
        drop(self.revoke());
    }
}
