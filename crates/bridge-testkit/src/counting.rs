//! Counting how often an owner is dropped: it must be once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts how often the tokens it gives out have been dropped.
///
/// ```
/// use bridge_testkit::DropCounter;
///
/// let counter = DropCounter::new();
/// let token = counter.token();
/// assert_eq!(counter.drops(), 0);
/// drop(token);
/// assert_eq!(counter.drops(), 1);
/// ```
#[derive(Debug, Clone, Default)]
pub struct DropCounter(Arc<AtomicUsize>);

/// Adds one to its [`DropCounter`] when dropped. Keep it inside a tensor's owner.
#[derive(Debug)]
pub struct DropToken(Arc<AtomicUsize>);

impl DropCounter {
    /// A counter at zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// A value whose drop is counted, on whichever thread.
    pub fn token(&self) -> DropToken {
        DropToken(Arc::clone(&self.0))
    }

    /// How many tokens have been dropped.
    pub fn drops(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Drop for DropToken {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}
