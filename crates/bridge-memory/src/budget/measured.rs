//! Budgets whose capacity is what there is.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bridge_core::{Error, Result};

use super::ledger::{Ledger, MOST};
use crate::probe::{Cached, Measured, MemoryProbe};

/// Measures memory, and keeps a budget's capacity at a share of what is not in use by others.
pub(super) struct Measuring {
    probe: Cached<Capacity>,
    /// Whether the capacity still follows.
    follows: AtomicBool,
    /// When the caches of the device were last given back.
    cleared: Mutex<Option<Instant>>,
}

/// How long caches of a device are left in peace once they were given back: a program that asks again and
/// again for what is not there would keep them empty.
const CLEAR_EVERY: Duration = Duration::from_secs(1);

struct Capacity {
    probe: Box<dyn MemoryProbe>,
    share: f64,
    ledger: Arc<Ledger>,
    /// The capacity, if nobody else used anything.
    most: AtomicU64,
    /// In use, and not reserved.
    unmanaged: AtomicU64,
    /// What this process had taken when nothing was reserved, or the least since.
    unreserved: AtomicU64,
}

impl Measuring {
    /// Measures for the first time.
    pub(super) fn new(
        probe: Box<dyn MemoryProbe>,
        share: f64,
        ledger: Arc<Ledger>,
    ) -> Result<Self> {
        let [most, unmanaged, unreserved] = [0; 3].map(AtomicU64::new);
        let probe = Cached::new(Capacity { probe, share, ledger, most, unmanaged, unreserved });
        probe.refresh()?;
        Ok(Self { probe, follows: AtomicBool::new(true), cleared: Mutex::default() })
    }

    /// Measures where the last time is too long ago. Where it fails, the capacity stays.
    pub(super) fn follow(&self) {
        if self.follows.load(Ordering::Relaxed) {
            let _ = self.probe.measure();
        }
    }

    /// Measures now, before a refusal; `false` where the capacity follows no longer.
    pub(super) fn follow_at_once(&self) -> bool {
        let follows = self.follows.load(Ordering::Relaxed);
        if follows {
            let _ = self.probe.refresh();
        }
        follows
    }

    /// Whether the device's caches may be given back now, which the caller does then.
    pub(super) fn may_clear(&self) -> bool {
        let mut cleared = self.cleared.lock().unwrap_or_else(PoisonError::into_inner);
        let may = self.follows.load(Ordering::Relaxed)
            && cleared.is_none_or(|before| before.elapsed() >= CLEAR_EVERY);
        if may {
            *cleared = Some(Instant::now());
        }
        may
    }

    /// Leaves the capacity to whoever set it.
    pub(super) fn stop(&self) {
        self.follows.store(false, Ordering::Relaxed);
    }

    /// More than this can never be had.
    pub(super) fn most(&self) -> Option<u64> {
        let follows = self.follows.load(Ordering::Relaxed);
        follows.then(|| self.probe.probe().most.load(Ordering::Relaxed))
    }

    /// Bytes in use that are not reserved, and what could not be read.
    pub(super) fn unmanaged(&self) -> (u64, Vec<String>) {
        let problems = match self.probe.measure() {
            Ok(measured) => measured.problems,
            Err(error) => vec![Error::to_string(&error)],
        };
        (self.probe.probe().unmanaged.load(Ordering::Relaxed), problems)
    }
}

impl MemoryProbe for Capacity {
    fn measure(&self) -> Result<Measured> {
        let measured = self.probe.measure()?;
        let used = measured.total.saturating_sub(measured.available);
        // Of what is reserved, only what has been taken is in use: the rest must still be free. Where
        // nobody tells how much this process has, all that came to be used since is counted as its.
        let own = self.probe.own().unwrap_or(used).min(used);
        let reserved = self.ledger.reserved();
        let before = self.unreserved.load(Ordering::Relaxed);
        let unreserved = if reserved == 0 { own } else { own.min(before) };
        self.unreserved.store(unreserved, Ordering::Relaxed);
        let taken = reserved.min(own - unreserved);
        let ours = measured.available.saturating_add(taken);
        let share = |bytes: u64| ((bytes as f64 * self.share) as u64).clamp(1, MOST);
        self.most.store(share(measured.total), Ordering::Relaxed);
        self.unmanaged.store(used - taken, Ordering::Relaxed);
        self.ledger.set_capacity(share(ours));
        Ok(measured)
    }
}
