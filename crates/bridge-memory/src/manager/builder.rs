//! How a manager is made.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bridge_core::Result;

use super::memory_manager::MemoryManager;
use super::resident::{Resident, ResidentBytes};
use super::room::{Both, Room};
use crate::arguments::{factor, invalid};
use crate::pool::PoolOptions;
use crate::predict::{AdaptiveSafety, SafetyFactor};
use crate::probe::{Cached, HostProbe, MemoryProbe, ProcessMemory};
use crate::{Clock, SystemClock};

/// How a [`MemoryManager`] is made: NLSQ's arguments with NLSQ's defaults, and what the pool may
/// keep.
///
/// ```
/// use bridge_memory::manager::MemoryManager;
///
/// let manager = MemoryManager::builder().gc_threshold(0.7).safety_factor(1.5).build()?;
/// assert_eq!(manager.get_safety_telemetry().current_safety_factor, 1.5);
/// assert!(MemoryManager::builder().safety_factor(0.0).build().is_err());
/// # Ok::<(), bridge_core::Error>(())
/// ```
#[must_use = "a builder makes nothing until `build`"]
pub struct MemoryManagerBuilder {
    gc_threshold: f64,
    safety_factor: f64,
    enable_adaptive_safety: bool,
    disable_padding: bool,
    memory_cache_ttl: f64,
    adaptive_ttl: bool,
    pool: PoolOptions,
    probe: Box<dyn MemoryProbe>,
    clock: Arc<dyn Clock>,
    resident: ResidentBytes,
}

impl MemoryManagerBuilder {
    pub(super) fn new() -> Self {
        Self {
            gc_threshold: 0.8,
            safety_factor: 1.2,
            enable_adaptive_safety: false,
            disable_padding: false,
            memory_cache_ttl: 1.0,
            adaptive_ttl: true,
            pool: PoolOptions::new(),
            probe: Box::new(HostProbe::new()),
            clock: Arc::new(SystemClock::new()),
            resident: Box::new(|| Ok(ProcessMemory::measure()?.resident)),
        }
    }

    /// Above which part of the memory in use the pool is cleared when a guard ends: 0.8 by default.
    pub fn gc_threshold(mut self, fraction: f64) -> Self {
        self.gc_threshold = fraction;
        self
    }

    /// What predictions are multiplied by: 1.2 by default.
    pub fn safety_factor(mut self, factor: f64) -> Self {
        self.safety_factor = factor;
        self
    }

    /// Whether the factor follows what guarded work takes, as [`AdaptiveSafety`] says; off by
    /// default.
    pub fn enable_adaptive_safety(mut self, on: bool) -> Self {
        self.enable_adaptive_safety = on;
        self
    }

    /// Whether predictions are not multiplied by anything, whatever the two options before say; off
    /// by default.
    pub fn disable_padding(mut self, on: bool) -> Self {
        self.disable_padding = on;
        self
    }

    /// How many seconds a measurement lives: 1 by default, 0 measures each time.
    pub fn memory_cache_ttl(mut self, seconds: f64) -> Self {
        self.memory_cache_ttl = seconds;
        self
    }

    /// Whether the available memory is measured less often where it is asked often, as
    /// [`Cached`] says; on by default.
    pub fn adaptive_ttl(mut self, on: bool) -> Self {
        self.adaptive_ttl = on;
        self
    }

    /// How many bytes and arrays in no use the pool keeps at most: 1 GiB and 1024 by default.
    pub fn pool_limits(mut self, bytes: u64, arrays: usize) -> Self {
        self.pool = self.pool.max_bytes(bytes).max_buffers(arrays);
        self
    }

    /// Who measures the memory: [`HostProbe`] by default.
    pub fn probe(mut self, probe: impl MemoryProbe + 'static) -> Self {
        self.probe = Box::new(probe);
        self
    }

    /// The clock by which measurements age.
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Who says how many bytes this process has in the host's memory: [`ProcessMemory`] by default.
    pub fn resident(mut self, resident: impl Fn() -> Result<u64> + Send + Sync + 'static) -> Self {
        self.resident = Box::new(resident);
        self
    }

    /// The manager. Nothing is measured yet.
    ///
    /// # Errors
    ///
    /// An invalid argument for a threshold that is not above 0 and at most 1, a safety factor below
    /// 1, a time below 0, and where one of them is no finite number.
    pub fn build(self) -> Result<MemoryManager> {
        if !(self.gc_threshold > 0.0 && self.gc_threshold <= 1.0) {
            let expected = "it must be above 0 and at most 1";
            return Err(invalid("gc_threshold", &self.gc_threshold, expected));
        }
        let factor = match self.disable_padding {
            true => SafetyFactor::NONE,
            false => SafetyFactor::new(self.safety_factor)?,
        };
        let safety = match self.enable_adaptive_safety && !self.disable_padding {
            true => AdaptiveSafety::new(factor),
            false => AdaptiveSafety::switched_off(factor),
        };
        let lives = seconds("memory_cache_ttl", self.memory_cache_ttl)?;
        let resident = Arc::new(Resident::new(self.resident, Arc::clone(&self.clock), lives));
        let both = Both::new(self.probe, Arc::clone(&resident));
        let mut probe = Cached::with_clock(both, self.clock).with_time_to_live(lives);
        if !self.adaptive_ttl {
            probe = probe.without_adapting();
        }
        let room = Room::new(probe, resident, self.pool)?;
        Ok(MemoryManager::of(room, self.gc_threshold, self.disable_padding, safety))
    }
}

fn seconds(what: &'static str, seconds: f64) -> Result<Duration> {
    let seconds = factor(what, seconds, 0.0)?;
    Duration::try_from_secs_f64(seconds)
        .map_err(|error| invalid(what, &seconds, &error.to_string()))
}

impl fmt::Debug for MemoryManagerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryManagerBuilder")
            .field("gc_threshold", &self.gc_threshold)
            .field("safety_factor", &self.safety_factor)
            .field("enable_adaptive_safety", &self.enable_adaptive_safety)
            .field("disable_padding", &self.disable_padding)
            .field("memory_cache_ttl", &self.memory_cache_ttl)
            .field("adaptive_ttl", &self.adaptive_ttl)
            .field("pool", &self.pool)
            .finish_non_exhaustive()
    }
}
