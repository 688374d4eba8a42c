//! A safety factor that follows what computations took.

use std::collections::VecDeque;

use bridge_core::Result;
use serde::{Deserialize, Serialize};

use super::safety::SafetyFactor;
use crate::arguments::invalid;

/// How many records are kept.
const KEPT: usize = 1000;
/// How many there must be before the factor changes.
const ENOUGH: usize = 10;
/// The least that the factor becomes.
const LEAST: f64 = 1.05;
/// The most that the factor falls by at a time.
const STEP: f64 = 0.05;

/// Finds the safety factor from what computations were predicted to take and took.
///
/// From 10 records on, each record sets the factor towards the 95th percentile of what the last 1000
/// would have needed, and at least towards 1.05: down by at most 0.05 at a time, up at once.
///
/// ```
/// use bridge_memory::predict::{AdaptiveSafety, SafetyFactor};
///
/// let mut safety = AdaptiveSafety::new(SafetyFactor::DEFAULT);
/// for _ in 0..20 {
///     safety.record(1000, 1010)?; // took 1 % more than predicted
/// }
/// assert_eq!(safety.factor().get(), 1.05);
/// assert_eq!(safety.telemetry().telemetry_entries, 20);
/// # Ok::<(), bridge_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct AdaptiveSafety {
    initial: SafetyFactor,
    current: SafetyFactor,
    adapts: bool,
    /// What each computation would have needed.
    needed: VecDeque<f64>,
    /// The factor after each record.
    factors: VecDeque<f64>,
}

/// What an [`AdaptiveSafety`] has seen and made of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Telemetry {
    /// The factor now.
    pub current_safety_factor: f64,
    /// The factor in the beginning.
    pub initial_safety_factor: f64,
    /// The least that the factor falls to.
    pub min_safety_factor: f64,
    /// How many records there are, of the last 1000.
    pub telemetry_entries: usize,
    /// Whether the factor changes.
    pub adaptive_enabled: bool,
    /// The 95th percentile of what was needed; `None` without records, as the next two.
    pub p95_safety_needed: Option<f64>,
    /// The mean of what was needed.
    pub mean_safety_needed: Option<f64>,
    /// The most that was needed.
    pub max_safety_needed: Option<f64>,
    /// The factor after each record.
    pub safety_factor_history: Vec<f64>,
}

impl AdaptiveSafety {
    /// Begins with this factor.
    pub fn new(initial: SafetyFactor) -> Self {
        let (needed, factors) = (VecDeque::new(), VecDeque::new());
        Self { initial, current: initial, adapts: true, needed, factors }
    }

    /// Keeps this factor, and records all the same.
    pub fn switched_off(factor: SafetyFactor) -> Self {
        Self { adapts: false, ..Self::new(factor) }
    }

    /// The factor now.
    pub fn factor(&self) -> SafetyFactor {
        self.current
    }

    /// Records a computation: the bytes that its model predicted, without a safety factor, and the
    /// bytes it took.
    ///
    /// # Errors
    ///
    /// An invalid argument where either is zero; then nothing is recorded.
    pub fn record(&mut self, predicted: u64, taken: u64) -> Result<()> {
        for (what, bytes) in [("the predicted memory", predicted), ("the memory taken", taken)] {
            if bytes == 0 {
                return Err(invalid(what, &bytes, "it must be more than 0 bytes to tell anything"));
            }
        }
        self.record_needed(taken as f64 / predicted as f64)
    }

    /// Records a computation by the factor that it would have needed.
    ///
    /// # Errors
    ///
    /// An invalid argument where that is not a finite number above 0; then nothing is recorded.
    pub fn record_needed(&mut self, needed: f64) -> Result<()> {
        if !(needed.is_finite() && needed > 0.0) {
            let expected = "it must be a finite number above 0";
            return Err(invalid("the factor needed", &needed, expected));
        }
        push(&mut self.needed, needed);
        if self.adapts && self.needed.len() >= ENOUGH {
            self.adapt()?;
        }
        push(&mut self.factors, self.current.get());
        Ok(())
    }

    /// What it has seen and made of it.
    pub fn telemetry(&self) -> Telemetry {
        let sorted = self.sorted();
        let count = sorted.len() as f64;
        Telemetry {
            current_safety_factor: self.current.get(),
            initial_safety_factor: self.initial.get(),
            min_safety_factor: LEAST,
            telemetry_entries: sorted.len(),
            adaptive_enabled: self.adapts,
            p95_safety_needed: percentile(&sorted, 0.95),
            // Each divided by itself: their sum could be too large for a float.
            mean_safety_needed: (!sorted.is_empty())
                .then(|| sorted.iter().map(|x| x / count).sum()),
            max_safety_needed: sorted.last().copied(),
            safety_factor_history: self.factors.iter().copied().collect(),
        }
    }

    fn adapt(&mut self) -> Result<()> {
        let Some(needed) = percentile(&self.sorted(), 0.95) else { return Ok(()) };
        let (target, current) = (needed.max(LEAST), self.current.get());
        let next = if target < current { target.max(current - STEP) } else { target };
        self.current = SafetyFactor::new(next)?;
        Ok(())
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted: Vec<_> = self.needed.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        sorted
    }
}

fn push(kept: &mut VecDeque<f64>, value: f64) {
    if kept.len() == KEPT {
        kept.pop_front();
    }
    kept.push_back(value);
}

/// The percentile between the two values next to it, as NumPy's `linear` method has it.
fn percentile(sorted: &[f64], quantile: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let at = quantile * last as f64;
    let below = at.floor();
    let (low, weight) = (below as usize, at - below);
    let (low, high) = (*sorted.get(low)?, *sorted.get(low.saturating_add(1).min(last))?);
    // From the end that is nearer, as NumPy does: the last digit is the same.
    let difference = high - low;
    Some(if weight < 0.5 { low + difference * weight } else { high - difference * (1.0 - weight) })
}

#[cfg(test)]
mod tests {
    use super::percentile;

    #[test]
    fn percentiles_are_those_of_numpy() {
        let tenths: Vec<_> = (0..10).map(|i| 1.0 + f64::from(i) / 10.0).collect();
        // np.percentile(1 + np.arange(10) / 10, 95) of NumPy 2.5, and so on.
        assert_eq!(percentile(&tenths, 0.95), Some(P95));
        assert_eq!(percentile(&tenths, 0.5), Some(P50));
        let mixed = [0.5, 0.57, 0.59, 0.6, 0.62, 0.71, 0.82, 1.05, 1.46, 1.98];
        assert_eq!(percentile(&mixed, 0.95), Some(MIXED_P95));
        assert_eq!(percentile(&tenths, 1.0), Some(1.9));
        assert_eq!(percentile(&[3.0], 0.95), Some(3.0));
        assert_eq!(percentile(&[], 0.95), None);
    }

    const P95: f64 = 1.854_999_999_999_999_8;
    const P50: f64 = 1.45;
    const MIXED_P95: f64 = 1.745_999_999_999_999_3;
}
