//! The most that a program's allocations amount to, counted by its allocator.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// Bytes that are allocated now.
static LIVE: AtomicUsize = AtomicUsize::new(0);
/// The most of them since a scope began or ended.
static PEAK: AtomicUsize = AtomicUsize::new(0);
/// Whether anything was counted: whether the program has the allocator.
static COUNTS: AtomicBool = AtomicBool::new(false);
/// The scopes that have begun and not ended.
static SCOPES: Mutex<Scopes> = Mutex::new(Scopes { next: 0, open: Vec::new() });

struct Scopes {
    next: u64,
    open: Vec<Open>,
}

struct Open {
    id: u64,
    peak: usize,
}

/// Counts an allocation. The one contended write is [`LIVE`]'s: the peak is written only where it
/// rises.
#[inline]
pub(super) fn allocated(bytes: usize) {
    let live = LIVE.fetch_add(bytes, Relaxed).wrapping_add(bytes);
    if live > PEAK.load(Relaxed) {
        if !COUNTS.load(Relaxed) {
            COUNTS.store(true, Relaxed);
        }
        PEAK.fetch_max(live, Relaxed);
    }
}

/// Counts that an allocation was given back.
#[inline]
pub(super) fn given_back(bytes: usize) {
    LIVE.fetch_sub(bytes, Relaxed);
}

/// Bytes that the program has allocated now; `None` where it does not count them with a
/// [`CountingAllocator`](super::CountingAllocator).
pub fn allocated_bytes() -> Option<usize> {
    COUNTS.load(Relaxed).then(|| LIVE.load(Relaxed))
}

/// Watches the most that the program's allocations amount to, from [`start`](Self::start) to
/// [`finish`](Self::finish), on all threads.
///
/// Scopes nest and overlap, on one thread or several: each has its own peak. What is counted is what
/// went through a [`CountingAllocator`](super::CountingAllocator); without one there is no peak.
///
/// ```
/// use bridge_memory::profile::{CountingAllocator, PeakScope};
///
/// #[global_allocator]
/// static ALLOCATOR: CountingAllocator = CountingAllocator::new();
///
/// fn main() {
///     let scope = PeakScope::start();
///     drop(vec![1_u8; 1 << 20]);
///     let peak = scope.finish().expect("the program counts");
///     assert!(peak.growth() >= 1 << 20);
/// }
/// ```
#[derive(Debug)]
#[must_use = "a scope that is dropped at once watches nothing"]
pub struct PeakScope {
    id: u64,
    before: usize,
}

/// What a [`PeakScope`] has seen, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peak {
    /// What was allocated when the scope began.
    pub before: u64,
    /// The most that was allocated at any time in it.
    pub most: u64,
}

impl Peak {
    /// By how much the most exceeds what was there before.
    pub fn growth(&self) -> u64 {
        self.most.saturating_sub(self.before)
    }
}

impl PeakScope {
    /// Starts watching.
    pub fn start() -> Self {
        let mut scopes = SCOPES.lock().unwrap_or_else(PoisonError::into_inner);
        let live = scopes.collect();
        let id = scopes.next;
        scopes.next += 1;
        scopes.open.push(Open { id, peak: live });
        Self { id, before: live }
    }

    /// Ends the scope and says what was the most; `None` where the program does not count.
    pub fn finish(self) -> Option<Peak> {
        let (before, most) = (self.before as u64, self.end()? as u64);
        COUNTS.load(Relaxed).then_some(Peak { before, most })
    }

    fn end(&self) -> Option<usize> {
        let mut scopes = SCOPES.lock().unwrap_or_else(PoisonError::into_inner);
        scopes.collect();
        let index = scopes.open.iter().position(|open| open.id == self.id)?;
        Some(scopes.open.swap_remove(index).peak)
    }
}

impl Drop for PeakScope {
    fn drop(&mut self) {
        // What `finish` has ended is not there any more.
        let _ = self.end();
    }
}

impl Scopes {
    /// Adds the peak since the last call to every open scope, begins a new one, and returns what is
    /// allocated now.
    fn collect(&mut self) -> usize {
        let live = LIVE.load(Relaxed);
        let peak = PEAK.swap(live, Relaxed).max(live);
        for open in &mut self.open {
            open.peak = open.peak.max(peak);
        }
        live
    }
}
