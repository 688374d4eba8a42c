//! What pools count.

use serde::Serialize;

use super::thread_cache::Taken;

/// What a pool holds and how often it could help. Where NLSQ's memory manager has a number, it has the same
/// name; GB are 10⁹ bytes.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct PoolStats {
    /// What is cached.
    pub pool_memory_gb: f64,
    /// Buffers that are cached.
    pub pool_arrays: usize,
    /// Buffers that were handed out.
    pub allocations: u64,
    /// What was asked for, in all.
    pub total_requested_gb: f64,
    /// What was handed out for it, in all: sizes are rounded up.
    pub total_used_gb: f64,
    /// The part of the buffers that were there already: hits by allocations, 0 before the first.
    pub efficiency: f64,
    /// Buffers handed out that were there already.
    pub hits: u64,
    /// Buffers handed out that were allocated for it.
    pub misses: u64,
    /// Buffers freed to keep the limits.
    pub evictions: u64,
    /// Buffers in use.
    pub buffers_in_use: u64,
    /// Bytes of the buffers in use.
    pub bytes_in_use: u64,
    /// Bytes of the buffers that are cached.
    pub bytes_cached: u64,
    /// The most bytes that were held at one time, in use and cached.
    pub bytes_peak: u64,
}

/// What was given back to the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Released {
    /// Buffers.
    pub count: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// What a pool counts as it goes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    pub hits: u64,
    pub misses: u64,
    pub evictions: u64,
    pub requested: u64,
    pub used: u64,
    pub buffers_in_use: u64,
    pub bytes_in_use: u64,
    pub bytes_peak: u64,
}

impl Counts {
    /// A buffer of `size` bytes is handed out for `asked` of them.
    #[inline]
    pub(super) fn hand_out(&mut self, size: u64, asked: u64) {
        self.requested = self.requested.saturating_add(asked);
        self.used = self.used.saturating_add(size);
        self.buffers_in_use += 1;
        self.bytes_in_use += size;
    }

    /// A buffer of `size` bytes is in use no more.
    #[inline]
    pub(super) fn take_in(&mut self, size: u64) {
        self.buffers_in_use -= 1;
        self.bytes_in_use -= size;
    }

    /// Buffers were handed out that count as in use anyway.
    pub(super) fn add(&mut self, taken: Taken) {
        self.hits += taken.hits;
        self.requested = self.requested.saturating_add(taken.requested);
        self.used = self.used.saturating_add(taken.used);
    }

    pub(super) fn stats(&self, pool_arrays: usize, bytes_cached: u64) -> PoolStats {
        let allocations = self.hits + self.misses;
        let efficiency = if allocations == 0 { 0.0 } else { self.hits as f64 / allocations as f64 };
        PoolStats {
            pool_memory_gb: bytes_cached as f64 / 1e9,
            pool_arrays,
            allocations,
            total_requested_gb: self.requested as f64 / 1e9,
            total_used_gb: self.used as f64 / 1e9,
            efficiency,
            hits: self.hits,
            misses: self.misses,
            evictions: self.evictions,
            buffers_in_use: self.buffers_in_use,
            bytes_in_use: self.bytes_in_use,
            bytes_cached,
            bytes_peak: self.bytes_peak,
        }
    }
}
