//! A lock for a few steps at a time.

use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// A lock that is opened by one plain write, where a mutex, which must look for sleepers to wake, needs a
/// second atomic exchange: a third of what a call to a pool takes. So nobody is woken: who finds it closed
/// looks again, at once at first, then after letting others run, then after ever a short sleep. It is for
/// what is done in some nanoseconds, and is not poisoned by a panic.
#[derive(Debug)]
pub(super) struct Latch<T> {
    closed: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: one guard at a time reaches the value, on whichever thread, as `lock` makes none while the
// latch is closed; so the value must be `Send`, and need not be `Sync`.
unsafe impl<T: Send> Sync for Latch<T> {}

impl<T> Latch<T> {
    pub(super) fn new(value: T) -> Self {
        Self { closed: AtomicBool::new(false), value: UnsafeCell::new(value) }
    }

    /// Closes the latch until the guard is dropped.
    #[inline]
    pub(super) fn lock(&self) -> LatchGuard<'_, T> {
        if !self.try_close() {
            self.wait();
        }
        LatchGuard(self)
    }

    #[inline]
    fn try_close(&self) -> bool {
        !self.closed.swap(true, Ordering::Acquire)
    }

    /// Returns once this thread has closed it.
    #[cold]
    fn wait(&self) {
        /// How often it is looked at before others are let run, and before it sleeps.
        const LOOKS: u32 = 64;
        const YIELDS: u32 = LOOKS + 16;
        const SLEEP: Duration = Duration::from_micros(50);
        for look in 0_u32.. {
            // A read alone does not take the cache line from who has closed it.
            if !self.closed.load(Ordering::Relaxed) && self.try_close() {
                return;
            }
            match look {
                0..LOOKS => std::hint::spin_loop(),
                LOOKS..YIELDS => thread::yield_now(),
                // A thread of low priority may have closed it, which runs only while this one sleeps.
                _ => thread::sleep(SLEEP),
            }
        }
    }
}

/// The value of a closed [`Latch`], which it opens when dropped.
pub(super) struct LatchGuard<'a, T>(&'a Latch<T>);

impl<T> Deref for LatchGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the latch was closed for this guard, so nobody else reaches the value until it is dropped;
        // its own mutable borrows need it borrowed mutably.
        unsafe { &*self.0.value.get() }
    }
}

impl<T> DerefMut for LatchGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`, and the guard is borrowed mutably.
        unsafe { &mut *self.0.value.get() }
    }
}

impl<T> Drop for LatchGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.0.closed.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[test]
    fn one_at_a_time_is_inside() {
        const THREADS: usize = 4;
        const ROUNDS: usize = if cfg!(miri) { 20 } else { 10_000 };
        let latch = Latch::new([0_usize; 2]);
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    for round in 0..ROUNDS {
                        let mut both = latch.lock();
                        both[0] += 1;
                        if round % 64 == 0 {
                            thread::yield_now();
                        }
                        assert_eq!(both[0], both[1] + 1);
                        both[1] += 1;
                    }
                });
            }
        });
        assert_eq!(*latch.lock(), [THREADS * ROUNDS; 2]);
    }

    #[test]
    fn a_panic_opens_it() {
        let latch = Latch::new(1);
        let panics = catch_unwind(AssertUnwindSafe(|| {
            let _guard = latch.lock();
            std::panic::panic_any("inside");
        }));
        assert!(panics.is_err());
        assert_eq!(*latch.lock(), 1);
    }

    #[test]
    fn who_waits_long_gets_in() {
        let latch = Latch::new(1);
        thread::scope(|scope| {
            let guard = latch.lock();
            let other = scope.spawn(|| *latch.lock());
            thread::sleep(Duration::from_millis(5));
            drop(guard);
            assert_eq!(other.join().ok(), Some(1));
        });
    }
}
