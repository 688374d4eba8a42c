//! Who may take how much: what is available, less what was promised.

use std::sync::{Arc, Mutex, PoisonError};

use bridge_core::{Error, Result};

use super::resident::Resident;
use crate::Clock;
use crate::budget::{Budget, Consumer, Shortage};
use crate::pool::{Pool, PoolOptions};
use crate::probe::{Cached, Measured, MemoryProbe};

/// The most that a budget counts.
const MOST: u64 = i64::MAX as u64;

/// The memory, a budget whose capacity follows it, and the pool within that.
pub(super) struct Room {
    probe: Cached<Box<dyn MemoryProbe>, Arc<dyn Clock>>,
    resident: Resident,
    budget: Budget,
    pub(super) guards: Consumer,
    pub(super) pool: Pool,
    /// What the process had when nothing was reserved.
    before: Mutex<u64>,
}

impl Room {
    pub(super) fn new(
        probe: Cached<Box<dyn MemoryProbe>, Arc<dyn Clock>>,
        resident: Resident,
        pool: PoolOptions,
    ) -> Result<Self> {
        let budget = Budget::new("memory manager", MOST)?;
        let (guards, pool) = (budget.consumer("guards"), pool.within(&budget, "arrays").build());
        Ok(Self { probe, resident, budget, guards, pool, before: Mutex::new(0) })
    }

    /// What the probe says.
    pub(super) fn measure(&self, fresh: bool) -> Result<Measured> {
        if fresh { self.probe.refresh() } else { self.probe.measure() }
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
    /// much this process grew, it counts as taken, so that it is not counted twice.
    pub(super) fn free(&self, fresh: bool) -> Result<u64> {
        let mut before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
        let available = self.measure(fresh)?.available;
        let reserved = self.budget.reserved();
        let resident = self.resident(fresh || reserved == 0);
        if reserved == 0 {
            *before = resident;
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
                let (budget, holders) = (status.name, status.holders);
                Shortage::NotNow { budget, need, have, waited: None, holders }.into()
            }
            _ => error,
        }
    }
}
