use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use bridge_core::Error;
use bridge_memory::ManualClock;
use bridge_memory::probe::{Cached, FixedProbe, Measured, MemoryProbe, Source};

fn broken() -> Error {
    Error::Unsupported { what: "measuring".to_owned(), remedy: "wait".to_owned() }
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn an_answer_lives_a_second() {
    let (probe, clock) = (FixedProbe::new(100, 80), ManualClock::new());
    let cached = Cached::with_clock(&probe, &clock);
    cached.measure().unwrap();
    clock.advance(millis(999));
    cached.measure().unwrap();
    assert_eq!(probe.asked(), 1);
    clock.advance(millis(1));
    assert_eq!(cached.measure().unwrap(), Measured::new(100, 80, Source::Fixed));
    assert_eq!(probe.asked(), 2);
}

/// Calls `count` times, `apart` each; then how often the probe is asked in `for_seconds`.
fn lives(cached: &Cached<&FixedProbe, &ManualClock>, clock: &ManualClock, apart: Duration) -> u64 {
    for _ in 0..100 {
        cached.measure().unwrap();
        clock.advance(apart);
    }
    cached.refresh().unwrap();
    let asked = cached.probe().asked();
    let start = 1
        + (0..)
            .find(|_| {
                cached.measure().unwrap();
                clock.advance(apart);
                cached.probe().asked() > asked
            })
            .unwrap();
    u64::try_from(apart.as_millis()).unwrap() * start / 1000
}

#[test]
fn an_answer_lives_longer_where_calls_come_fast() {
    for (apart, seconds) in [(5, 15), (50, 10), (250, 1)] {
        let (probe, clock) = (FixedProbe::new(100, 80), ManualClock::new());
        let cached = Cached::with_clock(&probe, &clock);
        assert_eq!(lives(&cached, &clock, millis(apart)), seconds, "every {apart} ms");
        let cached = Cached::with_clock(&probe, &clock).without_adapting();
        assert_eq!(lives(&cached, &clock, millis(apart)), 1, "every {apart} ms");
    }
    let (probe, clock) = (FixedProbe::new(100, 80), ManualClock::new());
    let cached = Cached::with_clock(&probe, &clock).with_time_to_live(millis(3000));
    assert_eq!(lives(&cached, &clock, millis(500)), 3);
}

#[test]
fn without_a_time_to_live_every_call_measures() {
    let (probe, clock) = (FixedProbe::new(100, 80), ManualClock::new());
    let cached =
        Cached::with_clock(&probe, &clock).with_time_to_live(Duration::ZERO).without_adapting();
    (0..5).for_each(|_| drop(cached.measure().unwrap()));
    assert_eq!(probe.asked(), 5);
}

#[test]
fn what_is_taken_and_given_back_counts_until_the_next_measurement() {
    let (probe, clock) = (FixedProbe::new(100, 80), ManualClock::new());
    let cached = Cached::with_clock(&probe, &clock);
    let available = || cached.measure().unwrap().available;
    assert_eq!(available(), 80);
    cached.taken(50);
    assert_eq!(available(), 30);
    cached.taken(70);
    assert_eq!(available(), 0, "more is taken than there was");
    cached.given_back(60);
    assert_eq!(available(), 20);
    cached.given_back(u64::MAX);
    cached.given_back(u64::MAX);
    assert_eq!(available(), 100, "no more than all");
    cached.taken(u64::MAX);
    cached.taken(u64::MAX);
    assert!(available() <= 100);
    assert_eq!(cached.last_known().unwrap().available, 80, "as it was measured");
    clock.advance(millis(15_000));
    assert_eq!(available(), 80, "measured anew");
    assert_eq!(probe.asked(), 2);
}

#[test]
fn a_refresh_reads_no_old_answer() {
    let probe = FixedProbe::new(100, 10);
    let cached = Cached::with_clock(&probe, ManualClock::new());
    assert_eq!(cached.measure().unwrap().available, 10);
    probe.set(100, 90); // caches were given back
    assert_eq!(cached.refresh().unwrap().available, 90);
    assert_eq!(cached.measure().unwrap().available, 90);
    assert_eq!(probe.asked(), 2);
}

#[test]
fn a_probe_that_fails_is_not_covered_up() {
    let (probe, clock) = (FixedProbe::new(100, 80), ManualClock::new());
    let cached = Cached::with_clock(&probe, &clock);
    assert!(cached.last_known().is_none());
    cached.measure().unwrap();
    probe.fail(broken());
    assert!(cached.refresh().is_err());
    assert!(cached.measure().is_err(), "the answer before is young, and not given");
    assert_eq!(cached.last_known(), Some(Measured::new(100, 80, Source::Fixed)));
    probe.set(100, 70);
    assert_eq!(cached.measure().unwrap().available, 70, "errors are not kept");

    cached.taken(20);
    clock.advance(millis(20_000));
    probe.fail(broken());
    assert!(cached.measure().is_err());
    probe.set(100, 50);
    assert_eq!(cached.measure().unwrap().available, 50);
}

#[test]
fn a_clock_that_goes_back_measures_anew() {
    let (probe, clock) = (FixedProbe::new(100, 80), ManualClock::new());
    clock.set(millis(50_000));
    let cached = Cached::with_clock(&probe, &clock);
    cached.measure().unwrap();
    clock.set(Duration::ZERO);
    cached.measure().unwrap();
    assert_eq!(probe.asked(), 2);
    cached.measure().unwrap();
    assert_eq!(probe.asked(), 2, "from then on it is kept as ever");
    clock.advance(millis(15_000));
    cached.measure().unwrap();
    assert_eq!(probe.asked(), 3);
}

/// Lets its caller go on only when the test does.
struct Slow<'a> {
    inner: &'a FixedProbe,
    begun: &'a Barrier,
    may_end: &'a Barrier,
}

impl MemoryProbe for Slow<'_> {
    fn measure(&self) -> bridge_core::Result<Measured> {
        let measured = self.inner.measure();
        self.begun.wait();
        self.may_end.wait();
        measured
    }
}

#[test]
fn what_is_counted_while_the_probe_measures_promises_nothing() {
    let (inner, begun, may_end) = (FixedProbe::new(100, 80), Barrier::new(2), Barrier::new(2));
    let slow = Slow { inner: &inner, begun: &begun, may_end: &may_end };
    let cached = Cached::with_clock(slow, ManualClock::new());
    cached.taken(5); // seen by the measurement
    thread::scope(|scope| {
        let asks = scope.spawn(|| cached.measure().unwrap().available);
        begun.wait();
        cached.taken(30);
        cached.given_back(7);
        may_end.wait();
        assert_eq!(asks.join().unwrap(), 50);
    });
    assert_eq!(cached.measure().unwrap().available, 50);
}

#[test]
#[cfg_attr(miri, ignore = "an answer is too old before they have asked")]
fn threads_that_ask_at_once_measure_once() {
    let probe = FixedProbe::new(100, 80);
    let cached = Cached::new(&probe);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..100 {
                    cached.taken(3);
                    cached.given_back(3);
                    assert!(cached.measure().unwrap().available <= 100);
                }
            });
        }
    });
    assert_eq!(probe.asked(), 1);
    assert_eq!(cached.measure().unwrap().available, 80);
}

struct Panics;

impl MemoryProbe for Panics {
    fn measure(&self) -> bridge_core::Result<Measured> {
        panic!("a probe of somebody else")
    }
}

#[test]
fn a_probe_that_panics_leaves_it_usable() {
    let cached = Cached::with_clock(Panics, ManualClock::new());
    for _ in 0..2 {
        let call = std::panic::AssertUnwindSafe(|| cached.measure());
        assert!(std::panic::catch_unwind(call).is_err());
        assert!(cached.last_known().is_none());
    }
}
