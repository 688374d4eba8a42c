//! How often something is called.

use std::collections::VecDeque;
use std::time::Duration;

/// How many calls are remembered.
const REMEMBERED: usize = 100;

/// The times of the last calls.
#[derive(Debug, Default)]
pub(super) struct CallRate {
    calls: VecDeque<Duration>,
}

impl CallRate {
    /// A call at `now`.
    pub(super) fn record(&mut self, now: Duration) {
        // Where the clock went back, the calls before tell no rate.
        if self.calls.back().is_some_and(|&last| now < last) {
            self.calls.clear();
        }
        if self.calls.len() == REMEMBERED {
            self.calls.pop_front();
        }
        self.calls.push_back(now);
    }

    /// How long an answer is good for: `base`, or longer where calls come fast.
    ///
    /// The rate is the number of remembered calls over the time from the first to the last. Fewer
    /// than two calls: `base`; no time between them: 15 s; more than 100 a second: 15 s; more than
    /// 10 a second: 10 s; else `base`.
    pub(super) fn time_to_live(&self, base: Duration) -> Duration {
        const LONG: Duration = Duration::from_secs(15);
        const MIDDLE: Duration = Duration::from_secs(10);
        let (Some(&first), Some(&last)) = (self.calls.front(), self.calls.back()) else {
            return base;
        };
        if self.calls.len() < 2 {
            return base;
        }
        let span = last.saturating_sub(first).as_secs_f64();
        let count = self.calls.len() as f64;
        match count {
            _ if span <= 0.0 || count / span > 100.0 => LONG,
            _ if count / span > 10.0 => MIDDLE,
            _ => base,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: Duration = Duration::from_secs(1);

    fn after(calls: impl IntoIterator<Item = u64>) -> u64 {
        let mut rate = CallRate::default();
        calls.into_iter().for_each(|millis| rate.record(Duration::from_millis(millis)));
        rate.time_to_live(BASE).as_secs()
    }

    #[test]
    fn the_faster_the_calls_the_longer_an_answer_lives() {
        assert_eq!(after([]), 1, "no call");
        assert_eq!(after([5]), 1, "one call");
        assert_eq!(after([5, 5]), 15, "no time between");
        assert_eq!(after([0, 19]), 15, "2 calls in 19 ms are 105 a second");
        assert_eq!(after([0, 20]), 10, "2 calls in 20 ms are 100 a second, not more");
        assert_eq!(after([0, 199]), 10);
        assert_eq!(after([0, 200]), 1, "2 calls in 200 ms are 10 a second, not more");
    }

    #[test]
    fn only_the_last_hundred_calls_count() {
        let slow_then_fast = (0..50).map(|i| i * 10_000).chain((0..99).map(|i| 600_000 + i));
        assert_eq!(after(slow_then_fast.clone()), 1, "the last slow call is the first remembered");
        assert_eq!(after(slow_then_fast.chain([600_099])), 15);
    }

    #[test]
    fn calls_before_the_clock_went_back_are_forgotten() {
        assert_eq!(after([50_000, 50_001, 10]), 1);
        assert_eq!(after([50_000, 50_001, 10, 11]), 15);
    }
}
