//! A probe that is asked only when its last answer is too old.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bridge_core::Result;

use super::call_rate::CallRate;
use super::measured::Measured;
use super::memory_probe::MemoryProbe;
use crate::{Clock, SystemClock};

/// Answers from the last measurement until that is too old, and counts in between what is taken and
/// given back.
///
/// An answer lives one second, and longer where calls come fast: over the last 100 calls, more than
/// 10 a second make it 10 seconds, more than 100 a second 15. Other times are set by
/// [`with_time_to_live`](Self::with_time_to_live) and [`without_adapting`](Self::without_adapting).
///
/// Errors are not kept: a probe that fails is asked again by the next call, and an answer from
/// before is never given in its place. [`last_known`](Self::last_known) has it. Threads that ask
/// while one measures wait for its answer.
///
/// ```
/// use std::time::Duration;
///
/// use bridge_memory::ManualClock;
/// use bridge_memory::probe::{Cached, FixedProbe, MemoryProbe as _};
///
/// let (probe, clock) = (FixedProbe::new(100, 80), ManualClock::new());
/// let cached = Cached::with_clock(&probe, &clock);
/// assert_eq!(cached.measure()?.available, 80);
///
/// cached.taken(30);
/// assert_eq!(cached.measure()?.available, 50);
/// assert_eq!(probe.asked(), 1);
///
/// probe.set(100, 45); // somebody else took 5 as well
/// clock.advance(Duration::from_secs(1));
/// assert_eq!(cached.measure()?.available, 45);
/// # Ok::<(), bridge_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Cached<P, C = SystemClock> {
    probe: P,
    clock: C,
    base: Duration,
    adapts: bool,
    taken: AtomicU64,
    given_back: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: Option<Measured>,
    /// When `last` was measured; `None` where it may not be answered any more.
    measured_at: Option<Duration>,
    calls: CallRate,
}

impl<P: MemoryProbe> Cached<P> {
    /// Caches the answers of `probe`, by the system's clock.
    pub fn new(probe: P) -> Self {
        Self::with_clock(probe, SystemClock::new())
    }
}

impl<P: MemoryProbe, C: Clock> Cached<P, C> {
    /// Caches the answers of `probe`, by `clock`. Where the clock goes back, the probe is asked
    /// anew.
    pub fn with_clock(probe: P, clock: C) -> Self {
        Self {
            probe,
            clock,
            base: Duration::from_secs(1),
            adapts: true,
            taken: AtomicU64::new(0),
            given_back: AtomicU64::new(0),
            state: Mutex::default(),
        }
    }

    /// The same, where an answer lives this long. Zero measures at every call, unless calls come so
    /// fast that it [adapts](Self::without_adapting).
    #[must_use]
    pub fn with_time_to_live(mut self, time: Duration) -> Self {
        self.base = time;
        self
    }

    /// The same, where an answer lives no longer when calls come fast.
    #[must_use]
    pub fn without_adapting(mut self) -> Self {
        self.adapts = false;
        self
    }

    /// Counts bytes as taken until the next measurement, which sees them itself.
    pub fn taken(&self, bytes: u64) {
        add(&self.taken, bytes);
    }

    /// Counts bytes as given back until the next measurement.
    pub fn given_back(&self, bytes: u64) {
        add(&self.given_back, bytes);
    }

    /// Measures now, however young the last answer is: after memory was given back to the system,
    /// say.
    ///
    /// # Errors
    ///
    /// The probe's own.
    pub fn refresh(&self) -> Result<Measured> {
        self.measure_anew(&mut self.state())
    }

    /// What was measured last, however old, without what was counted since; `None` before the first
    /// measurement that succeeded.
    pub fn last_known(&self) -> Option<Measured> {
        self.state().last.clone()
    }

    /// The probe behind it.
    pub fn probe(&self) -> &P {
        &self.probe
    }

    fn measure_anew(&self, state: &mut State) -> Result<Measured> {
        // Bytes counted while the probe measures may or may not be in its answer. Counting them as
        // taken twice, and as given back not at all, never promises too much.
        let taken_before = self.taken.load(Ordering::Acquire);
        state.measured_at = None;
        let measured = self.probe.measure()?;
        self.taken.fetch_sub(taken_before, Ordering::AcqRel);
        self.given_back.store(0, Ordering::Release);
        state.measured_at = Some(self.clock.now());
        state.last = Some(measured.clone());
        Ok(self.shifted(measured))
    }

    /// The figures with what was counted since.
    fn shifted(&self, mut measured: Measured) -> Measured {
        let [given_back, taken, available, total] = [
            self.given_back.load(Ordering::Acquire),
            self.taken.load(Ordering::Acquire),
            measured.available,
            measured.total,
        ]
        .map(i128::from);
        let available = (available + given_back - taken).clamp(0, total);
        measured.available = u64::try_from(available).unwrap_or(measured.available);
        measured
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A probe that panicked left no answer behind that could be taken for a new one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<P: MemoryProbe, C: Clock> MemoryProbe for Cached<P, C> {
    fn measure(&self) -> Result<Measured> {
        let mut state = self.state();
        let now = self.clock.now();
        let mut lives = self.base;
        if self.adapts {
            state.calls.record(now);
            lives = state.calls.time_to_live(self.base);
        }
        let age = state.measured_at.and_then(|at| now.checked_sub(at));
        match (&state.last, age) {
            (Some(last), Some(age)) if age < lives => Ok(self.shifted(last.clone())),
            _ => self.measure_anew(&mut state),
        }
    }

    fn own(&self) -> Option<u64> {
        self.probe.own()
    }
}

/// Adds, and stays at the largest number.
fn add(count: &AtomicU64, bytes: u64) {
    let sum = |before: u64| Some(before.saturating_add(bytes));
    // It never answers `None`.
    let _ = count.fetch_update(Ordering::AcqRel, Ordering::Acquire, sum);
}
