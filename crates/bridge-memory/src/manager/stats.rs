//! What a manager knows.

use serde::Serialize;

use crate::predict::Telemetry;

/// What a manager knows, under NLSQ's names; GB are 10⁹ bytes.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct MemoryStats {
    /// What this process has in memory.
    pub current_usage_gb: f64,
    /// What could be taken.
    pub available_gb: f64,
    /// The most that this process was seen to have in memory, at the end of a guard or now.
    pub peak_usage_gb: f64,
    /// The part of all memory that is not available.
    pub usage_fraction: f64,
    /// What the pool keeps that is in no use.
    pub pool_memory_gb: f64,
    /// Arrays that the pool keeps, in no use.
    pub pool_arrays: usize,
    /// Arrays that were handed out.
    pub allocations: u64,
    /// Whether predictions are not multiplied by a safety factor.
    pub disable_padding: bool,
    /// The part of the arrays whose memory was in the pool already: hits by allocations. `None`
    /// before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub efficiency: Option<f64>,
    /// What the last 1000 guards asked for. `None` before the first has ended, as the next three.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_requested_gb: Option<f64>,
    /// By how much the process grew within them, in all; below 0 where it shrank.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_used_gb: Option<f64>,
    /// By how much it grew within a guard on average.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rss_delta_mean_gb: Option<f64>,
    /// The most that it grew within one guard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rss_delta_max_gb: Option<f64>,
    /// Where the safety factor adapts, what it has seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub safety_telemetry: Option<Telemetry>,
}
