//! The manager's methods.

use std::fmt;
use std::mem::MaybeUninit;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bridge_core::{Element, Result, TensorSpec};

use super::array::PooledArray;
use super::builder::MemoryManagerBuilder;
use super::guard::MemoryGuard;
use super::history::History;
use super::room::Room;
use super::stats::MemoryStats;
use crate::pool::Released;
use crate::predict::{AdaptiveSafety, SafetyFactor, Telemetry};

/// NLSQ's memory manager: predicts, checks, reserves and pools the memory of fits.
///
/// Clones are the same manager, which all threads can use at any time.
#[derive(Clone)]
pub struct MemoryManager(Arc<Inner>);

struct Inner {
    room: Room,
    gc_threshold: f64,
    disable_padding: bool,
    safety: Mutex<AdaptiveSafety>,
    history: Mutex<History>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MemoryManager {
    /// A manager of the host's memory, with NLSQ's defaults.
    pub fn new() -> Self {
        match Self::builder().build() {
            Ok(manager) => manager,
            Err(error) => unreachable!("the defaults are valid: {error}"),
        }
    }

    /// A manager with other options.
    pub fn builder() -> MemoryManagerBuilder {
        MemoryManagerBuilder::new()
    }

    pub(super) fn of(
        room: Room,
        gc_threshold: f64,
        disable_padding: bool,
        safety: AdaptiveSafety,
    ) -> Self {
        let (safety, history) = (Mutex::new(safety), Mutex::default());
        Self(Arc::new(Inner { room, gc_threshold, disable_padding, safety, history }))
    }

    /// Bytes that could be taken, as last measured; the host's
    /// [fallback](crate::probe::FALLBACK_BYTES) where nothing can be.
    ///
    /// # Errors
    ///
    /// The probe's own; the host's always answers.
    pub fn get_available_memory(&self) -> Result<u64> {
        Ok(self.0.room.measure()?.available)
    }

    /// Bytes that this process has in memory; where that cannot be measured, those of the pool.
    pub fn get_memory_usage_bytes(&self) -> u64 {
        self.0.room.resident(false)
    }

    /// The part of all memory that is not available: of the container's, where that is limited.
    ///
    /// # Errors
    ///
    /// As [`get_available_memory`](Self::get_available_memory).
    pub fn get_memory_usage_fraction(&self) -> Result<f64> {
        let measured = self.0.room.measure()?;
        // Where there is no memory at all, none is left.
        Ok(if measured.total == 0 { 1.0 } else { measured.used() as f64 / measured.total as f64 })
    }

    /// Whether so many bytes could be reserved now, and a sentence that says so. Where they could
    /// not, the pool is cleared and the memory measured anew first.
    pub fn check_memory_availability(&self, bytes_needed: u64) -> (bool, String) {
        self.check(bytes_needed).unwrap_or_else(|error| (false, error.to_string()))
    }

    fn check(&self, bytes_needed: u64) -> Result<(bool, String)> {
        let gb = |bytes: u64| bytes as f64 / 1e9;
        let (room, need) = (&self.0.room, gb(bytes_needed));
        let free = room.free(false)?;
        if free >= bytes_needed {
            return Ok((
                true,
                format!("Memory available: {:.2}GB >= {need:.2}GB needed", gb(free)),
            ));
        }
        room.pool.clear();
        let free = room.free(true)?;
        if free >= bytes_needed {
            return Ok((true, "Memory available after garbage collection".to_owned()));
        }
        let have = gb(free);
        Ok((false, format!("Insufficient memory: need {need:.2}GB, have {have:.2}GB available")))
    }

    /// Reserves bytes for a piece of work, until the guard is dropped: nobody else who asks this
    /// manager gets them. By how much this process grows meanwhile, they count as taken, whoever
    /// took it.
    ///
    /// # Errors
    ///
    /// A [`Shortage`](crate::budget::Shortage) where they are not available, also after the pool was
    /// cleared and the memory measured anew; the probe's own.
    pub fn memory_guard(&self, bytes_needed: u64) -> Result<MemoryGuard> {
        let room = &self.0.room;
        let reservation = room.claim(|| Ok(room.guards.reserve(bytes_needed)?))?;
        Ok(MemoryGuard { manager: self.clone(), reservation, resident: room.resident(true) })
    }

    pub(super) fn guard_ended(&self, requested: u64, resident_before: u64) {
        let resident = self.0.room.resident(true);
        let growth = i128::from(resident) - i128::from(resident_before);
        let growth = i64::try_from(growth).unwrap_or(i64::MAX);
        lock(&self.0.history).record(requested, growth, resident);
        let mut safety = lock(&self.0.safety);
        // Work that took nothing, or was promised nothing, tells nothing.
        let needed = growth as f64 * safety.factor().get() / requested as f64;
        let _ = safety.record_needed(needed);
        drop(safety);
        if self.get_memory_usage_fraction().is_ok_and(|used| used > self.0.gc_threshold) {
            self.clear_pool();
        }
    }

    /// An array of zeros, from the pool where it has the memory. Nobody else has it until it is
    /// dropped.
    ///
    /// # Errors
    ///
    /// As [`memory_guard`](Self::memory_guard), out of memory, and for a shape that is too large.
    pub fn allocate_array<T: Element>(&self, shape: &[usize]) -> Result<PooledArray<T>> {
        let (room, count) = (&self.0.room, elements::<T>(shape)?);
        let buffer = room.claim(|| room.pool.zeroed(count))?;
        Ok(PooledArray { buffer, shape: shape.to_vec() })
    }

    /// As [`allocate_array`](Self::allocate_array), without zeros: what NLSQ has as `zero=False`.
    ///
    /// # Errors
    ///
    /// As [`allocate_array`](Self::allocate_array).
    pub fn allocate_array_uninit<T: Element>(
        &self,
        shape: &[usize],
    ) -> Result<PooledArray<MaybeUninit<T>>> {
        let (room, count) = (&self.0.room, elements::<T>(shape)?);
        let buffer = room.claim(|| room.pool.uninit::<T>(count))?;
        Ok(PooledArray { buffer, shape: shape.to_vec() })
    }

    /// Gives an array back to the pool, as dropping it does.
    pub fn free_array<T>(&self, array: PooledArray<T>) {
        drop(array);
    }

    /// Lends an array of zeros to `work`. It goes back when that returns, or panics.
    ///
    /// # Errors
    ///
    /// As [`allocate_array`](Self::allocate_array).
    pub fn temporary_allocation<T: Element, R>(
        &self,
        shape: &[usize],
        work: impl FnOnce(&mut PooledArray<T>) -> R,
    ) -> Result<R> {
        Ok(work(&mut self.allocate_array(shape)?))
    }

    /// Frees all memory that the pool keeps in no use.
    pub fn clear_pool(&self) -> Released {
        self.0.room.pool.clear()
    }

    /// Frees the arrays in no use that came back first, until at most so many are kept.
    pub fn optimize_memory_pool(&self, max_arrays: usize) -> Released {
        self.0.room.pool.keep(max_arrays)
    }

    /// What the manager knows, under NLSQ's names.
    ///
    /// # Errors
    ///
    /// As [`get_available_memory`](Self::get_available_memory).
    pub fn get_memory_stats(&self) -> Result<MemoryStats> {
        let (resident, pool) = (self.get_memory_usage_bytes(), self.0.room.pool.stats());
        let mut history = lock(&self.0.history);
        let (peak, sums) = (history.peak(resident), history.sums());
        drop(history);
        let telemetry = self.get_safety_telemetry();
        Ok(MemoryStats {
            current_usage_gb: resident as f64 / 1e9,
            available_gb: self.get_available_memory()? as f64 / 1e9,
            peak_usage_gb: peak as f64 / 1e9,
            usage_fraction: self.get_memory_usage_fraction()?,
            pool_memory_gb: pool.pool_memory_gb,
            pool_arrays: pool.pool_arrays,
            allocations: pool.allocations,
            disable_padding: self.0.disable_padding,
            efficiency: (pool.allocations > 0).then_some(pool.efficiency),
            total_requested_gb: sums.map(|sums| sums.requested_gb),
            total_used_gb: sums.map(|sums| sums.growth_gb),
            rss_delta_mean_gb: sums.map(|sums| sums.mean_growth_gb),
            rss_delta_max_gb: sums.map(|sums| sums.most_growth_gb),
            safety_telemetry: telemetry.adaptive_enabled.then_some(telemetry),
        })
    }

    pub(super) fn safety_factor(&self) -> SafetyFactor {
        lock(&self.0.safety).factor()
    }

    /// What the safety factor is, and what it was made of.
    pub fn get_safety_telemetry(&self) -> Telemetry {
        lock(&self.0.safety).telemetry()
    }
}

impl Default for MemoryManager {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { room, gc_threshold, disable_padding, .. } = &*self.0;
        f.debug_struct("MemoryManager")
            .field("gc_threshold", gc_threshold)
            .field("disable_padding", disable_padding)
            .field("pool", &room.pool)
            .finish_non_exhaustive()
    }
}

fn elements<T: Element>(shape: &[usize]) -> Result<usize> {
    Ok(TensorSpec::row_major(T::DATA_TYPE, shape)?.layout.element_count())
}
