//! What guarded work took.

use std::collections::VecDeque;

/// How many guards are remembered.
const KEPT: usize = 1000;

/// The last guards, and the most memory that was seen.
#[derive(Debug, Default)]
pub(super) struct History {
    guards: VecDeque<Guarded>,
    peak: u64,
}

/// One guard that has ended.
#[derive(Debug, Clone, Copy)]
struct Guarded {
    requested: u64,
    /// By how much the process grew.
    growth: i64,
}

/// Sums over the remembered guards.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sums {
    pub requested_gb: f64,
    pub growth_gb: f64,
    pub mean_growth_gb: f64,
    pub most_growth_gb: f64,
}

impl History {
    /// A guard ended.
    pub(super) fn record(&mut self, requested: u64, growth: i64, resident: u64) {
        if self.guards.len() == KEPT {
            self.guards.pop_front();
        }
        self.guards.push_back(Guarded { requested, growth });
        self.peak(resident);
    }

    /// The most memory that was seen, of this and all before.
    pub(super) fn peak(&mut self, resident: u64) -> u64 {
        self.peak = self.peak.max(resident);
        self.peak
    }

    /// `None` where no guard has ended yet.
    pub(super) fn sums(&self) -> Option<Sums> {
        let most = self.guards.iter().map(|guard| guard.growth).max()?;
        let growth_gb = self.guards.iter().map(|guard| guard.growth as f64 / 1e9).sum();
        Some(Sums {
            requested_gb: self.guards.iter().map(|guard| guard.requested as f64 / 1e9).sum(),
            growth_gb,
            mean_growth_gb: growth_gb / self.guards.len() as f64,
            most_growth_gb: most as f64 / 1e9,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_thousand_guards_count() {
        let mut history = History::default();
        assert!(history.sums().is_none());
        history.record(1_000_000_000_000, -5, 9);
        for _ in 0..KEPT {
            history.record(1_000_000_000, 500_000_000, 7);
        }
        let sums = history.sums().unwrap();
        assert_eq!((sums.requested_gb, sums.growth_gb), (1000.0, 500.0));
        assert_eq!((sums.mean_growth_gb, sums.most_growth_gb), (0.5, 0.5));
        assert_eq!(history.peak(8), 9);
    }
}
