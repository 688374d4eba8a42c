//! How far work is, and how long the rest will take.

use std::time::Duration;

use crate::clock::{Clock, SystemClock};

/// Counts items that are done and says how fast they are and how long the rest will take.
///
/// ```
/// use std::time::Duration;
///
/// use bridge_memory::ManualClock;
/// use bridge_memory::chunk::Progress;
///
/// let clock = ManualClock::new();
/// let mut progress = Progress::timed_by(100, &clock);
/// clock.advance(Duration::from_secs(2));
/// progress.advance(20);
/// assert_eq!((progress.rate(), progress.eta()), (Some(10.0), Some(Duration::from_secs(8))));
/// ```
#[derive(Debug)]
pub struct Progress<C = SystemClock> {
    total: u64,
    done: u64,
    clock: C,
    start: Duration,
    elapsed: Duration,
}

impl Progress {
    /// Nothing of `total` items is done, and the time starts now.
    pub fn new(total: u64) -> Self {
        Self::timed_by(total, SystemClock::new())
    }
}

impl<C: Clock> Progress<C> {
    /// As [`new`](Progress::new), timed by a clock.
    pub fn timed_by(total: u64, clock: C) -> Self {
        let start = clock.now();
        Self { total, done: 0, clock, start, elapsed: Duration::ZERO }
    }

    /// So many more items are done.
    pub fn advance(&mut self, items: u64) {
        self.done = self.done.saturating_add(items).min(self.total);
        // A clock that goes back stands still.
        self.elapsed = self.elapsed.max(self.clock.now().saturating_sub(self.start));
    }

    /// Items that are done; never more than there are.
    pub fn done(&self) -> u64 {
        self.done
    }

    /// All items.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// What part of the items is done, from 0 to 1; 1 where there are none.
    pub fn fraction(&self) -> f64 {
        if self.total == 0 { 1.0 } else { self.done as f64 / self.total as f64 }
    }

    /// The time that the items have taken that are done.
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// Items a second; `None` before any time has passed.
    pub fn rate(&self) -> Option<f64> {
        let seconds = self.elapsed.as_secs_f64();
        (seconds > 0.0).then(|| self.done as f64 / seconds)
    }

    /// How long the rest takes at this rate; `None` before there is one.
    pub fn eta(&self) -> Option<Duration> {
        let left = self.total - self.done;
        if left == 0 {
            return Some(Duration::ZERO);
        }
        let rate = self.rate().filter(|&rate| rate > 0.0)?;
        Duration::try_from_secs_f64(left as f64 / rate).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    #[test]
    fn the_rest_takes_as_long_as_its_part_did() {
        let clock = ManualClock::new();
        clock.set(Duration::from_secs(50));
        let mut progress = Progress::timed_by(10, &clock);
        assert_eq!((progress.rate(), progress.eta(), progress.fraction()), (None, None, 0.0));
        clock.advance(Duration::from_secs(3));
        progress.advance(0);
        assert_eq!(progress.eta(), None, "nothing is done in three seconds");
        clock.advance(Duration::from_secs(1));
        progress.advance(4);
        assert_eq!(progress.eta(), Some(Duration::from_secs(6)));
        assert_eq!((progress.rate(), progress.fraction()), (Some(1.0), 0.4));
        progress.advance(u64::MAX);
        assert_eq!((progress.done(), progress.eta()), (10, Some(Duration::ZERO)));
    }

    #[test]
    fn a_clock_that_goes_back_does_no_harm() {
        let clock = ManualClock::new();
        clock.set(Duration::from_secs(100));
        let mut progress = Progress::timed_by(4, &clock);
        clock.advance(Duration::from_secs(2));
        progress.advance(1);
        clock.set(Duration::from_secs(1));
        progress.advance(1);
        assert_eq!(progress.elapsed(), Duration::from_secs(2));
        assert_eq!(progress.eta(), Some(Duration::from_secs(2)));
    }

    #[test]
    fn no_work_is_done_at_once() {
        let progress = Progress::new(0);
        assert_eq!((progress.fraction(), progress.eta()), (1.0, Some(Duration::ZERO)));
        assert_eq!((progress.total(), progress.done()), (0, 0));
    }
}
