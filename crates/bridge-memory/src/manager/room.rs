//! Who may take how much: what is available, less what was promised.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bridge_core::{Error, Result};

use super::resident::Resident;
use crate::Clock;
use crate::budget::{Budget, Consumer, Shortage};
use crate::pool::{Pool, PoolOptions};
use crate::probe::{Cached, Measured, MemoryProbe};

/// The most that a budget counts.
const MOST: u64 = i64::MAX as u64;

/// Measures the memory, and what this process has of it then.
pub(super) struct Both {
    probe: Box<dyn MemoryProbe>,
    resident: Arc<Resident>,
    /// What the process had when the memory was measured last; 0 where that is not known.
    then: AtomicU64,
}

impl Both {
    pub(super) fn new(probe: Box<dyn MemoryProbe>, resident: Arc<Resident>) -> Self {
        Self { probe, resident, then: AtomicU64::new(0) }
    }
}

impl MemoryProbe for Both {
    fn measure(&self) -> Result<Measured> {
        // First, so that what is taken in between is not counted as available and as taken.
        let resident = self.resident.bytes(true).unwrap_or(0);
        let measured = self.probe.measure()?;
        self.then.store(resident, Ordering::Relaxed);
        Ok(measured)
    }
}

/// The memory, a budget whose capacity follows it, and the pool within that.
pub(super) struct Room {
    probe: Cached<Both, Arc<dyn Clock>>,
    resident: Arc<Resident>,
    budget: Budget,
    pub(super) guards: Consumer,
    pub(super) pool: Pool,
    /// What the process had when nothing was reserved. Who measures holds the lock.
    before: Mutex<u64>,
}

impl Room {
    pub(super) fn new(
        probe: Cached<Both, Arc<dyn Clock>>,
        resident: Arc<Resident>,
        pool: PoolOptions,
    ) -> Result<Self> {
        let budget = Budget::new("memory manager", MOST)?;
        let (guards, pool) = (budget.consumer("guards"), pool.within(&budget, "arrays").build());
        Ok(Self { probe, resident, budget, guards, pool, before: Mutex::new(0) })
    }

    /// What the probe says.
    pub(super) fn measure(&self) -> Result<Measured> {
        let _alone = self.lock();
        self.probe.measure()
    }

    fn lock(&self) -> MutexGuard<'_, u64> {
        self.before.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What this process has in memory; where that cannot be measured, what the pool holds.
    pub(super) fn resident(&self, fresh: bool) -> u64 {
        self.resident.bytes(fresh).unwrap_or_else(|_| {
            let stats = self.pool.stats();
            stats.bytes_in_use + stats.bytes_cached
        })
    }

    /// What nobody has been promised. The budget's capacity is set to match.
    ///
    /// What was reserved may have been taken since, and then it is not available any more: by how
    /// much this process had grown when the memory was measured, it counts as taken, so that it is
    /// not counted twice.
    pub(super) fn free(&self, fresh: bool) -> Result<u64> {
        let mut before = self.lock();
        let measured = if fresh { self.probe.refresh() } else { self.probe.measure() };
        let available = measured?.available;
        let resident = self.probe.probe().then.load(Ordering::Relaxed);
        let reserved = self.budget.reserved();
        if reserved == 0 {
            *before = self.resident(true);
        }
        let taken = reserved.min(resident.saturating_sub(*before));
        let capacity = available.saturating_add(taken);
        self.budget.set_capacity(capacity.clamp(1, MOST))?;
        Ok(capacity.saturating_sub(reserved))
    }

    /// Reserves by `claim`; where it is refused, once more after the pool has been cleared and the
    /// memory measured anew.
    pub(super) fn claim<R>(&self, claim: impl Fn() -> Result<R>) -> Result<R> {
        self.free(false)?;
        match claim() {
            Err(error) if Shortage::of(&error).is_some() => {}
            other => return other,
        }
        self.pool.clear();
        let have = self.free(true)?;
        claim().map_err(|error| self.not_now(error, have))
    }

    /// What is more than the capacity now may be had later, up to all the memory there is.
    fn not_now(&self, error: Error, have: u64) -> Error {
        let total = self.probe.last_known().map_or(0, |measured| measured.total);
        match Shortage::of(&error) {
            Some(&Shortage::Never { need, .. }) if need <= total => {
                let status = self.budget.status();
                let (budget, device, holders) = (status.name, self.budget.device(), status.holders);
                Shortage::NotNow { budget, device, need, have, waited: None, holders }.into()
            }
            _ => error,
        }
    }
}
