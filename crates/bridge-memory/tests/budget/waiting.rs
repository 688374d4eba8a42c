//! Waiting for room.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use bridge_memory::budget::{Budget, Reservation, Shortage};

/// Longer than any test takes that passes.
const LONG: Duration = Duration::from_secs(30);

/// Waits on another thread, in the queue before it returns; what it got comes through the channel.
fn waiting(
    budget: &Budget,
    name: &'static str,
    bytes: u64,
) -> mpsc::Receiver<(Reservation, &'static str)> {
    let (sender, receiver) = mpsc::channel();
    let before = budget.status().waiting;
    let consumer = budget.consumer(name);
    thread::spawn(move || {
        let got = consumer.reserve_waiting(bytes, LONG).unwrap();
        let _ = sender.send((got, name));
    });
    while budget.status().waiting == before {
        thread::yield_now();
    }
    receiver
}

#[test]
fn it_is_served_as_soon_as_there_is_room() {
    let budget = Budget::new("test", 100).unwrap();
    let held = budget.reserve(70).unwrap();
    let other = waiting(&budget, "other", 50);
    assert!(other.try_recv().is_err());
    drop(held);
    let (got, _) = other.recv_timeout(LONG).unwrap();
    assert_eq!((got.bytes(), budget.reserved(), budget.status().waiting), (50, 50, 0));
}

#[test]
fn a_wait_ends_when_its_time_is_over_and_says_how_long_it_was() {
    let budget = Budget::new("test", 100).unwrap();
    let _held = budget.consumer("hog").reserve(70).unwrap();
    let time = Duration::from_millis(60);
    let started = Instant::now();
    let refused = budget.reserve_waiting(50, time).unwrap_err();
    assert!(started.elapsed() >= time);
    let Shortage::NotNow { have: 30, need: 50, waited: Some(waited), holders, .. } = &refused
    else {
        panic!("{refused:?}");
    };
    assert!(*waited >= time && holders[0].name == "hog");
    assert!(refused.to_string().contains("(waited 0.1 s)"), "{refused}");
    assert_eq!((budget.reserved(), budget.status().waiting), (70, 0));
    // What can never be had is not waited for.
    let started = Instant::now();
    assert!(!budget.reserve_waiting(101, LONG).unwrap_err().is_passing());
    assert!(started.elapsed() < LONG / 2);
    assert!(budget.reserve_waiting(40, Duration::ZERO).unwrap_err().is_passing());
}

#[test]
fn first_come_first_served_however_little_the_later_ask_for() {
    let budget = Budget::new("test", 100).unwrap();
    let (mut held, rest) = (budget.reserve(90).unwrap(), budget.reserve(10).unwrap());
    let large = waiting(&budget, "large", 80);
    let small = waiting(&budget, "small", 5);
    drop(rest);
    // Ten bytes are there, and nobody who came later gets them: the first would wait for ever.
    assert!(budget.reserve(1).is_err() && small.try_recv().is_err());
    held.shrink(70).unwrap();
    let (got, _) = large.recv_timeout(LONG).unwrap();
    drop(held);
    let _small = small.recv_timeout(LONG).unwrap();
    assert_eq!(budget.reserved(), 85);
    drop(got);
    assert!(budget.reserve(90).is_ok());
}

#[test]
fn whoever_delays_nobody_need_not_wait() {
    let budget = Budget::new("test", 100).unwrap();
    let held = budget.consumer_with_floor("kept", 70).unwrap();
    let first = budget.reserve(25).unwrap();
    // Five bytes are neither reserved nor promised; ten are waited for.
    let other = waiting(&budget, "other", 10);
    assert!(budget.reserve(1).is_err());
    let refused = budget.reserve(1).unwrap_err();
    assert!(matches!(refused, Shortage::NotNow { have: 0, .. }), "{refused}");
    drop(held);
    let _got = other.recv_timeout(LONG).unwrap();
    drop(first);
    let (_held, patient) = (budget.reserve(60).unwrap(), waiting(&budget, "patient", 40));
    assert!(patient.try_recv().is_err());
    budget.set_capacity(200).unwrap();
    assert!(patient.recv_timeout(LONG).is_ok());
}

#[test]
fn whoever_gives_up_makes_way_for_the_next() {
    let budget = Budget::new("test", 100).unwrap();
    let _held = budget.reserve(60).unwrap();
    let impatient = budget.consumer("impatient");
    let thread =
        thread::spawn(move || impatient.reserve_waiting(80, Duration::from_millis(80)).is_err());
    // On a slow machine it may have given up before anybody sees it wait.
    while budget.status().waiting == 0 && !thread.is_finished() {
        thread::yield_now();
    }
    let next = waiting(&budget, "next", 40);
    assert!(next.recv_timeout(LONG).is_ok());
    assert!(thread.join().unwrap());
    assert_eq!(budget.status().waiting, 0);
}

#[test]
fn a_larger_capacity_is_room_too() {
    let budget = Budget::new("test", 100).unwrap();
    let _held = budget.reserve(80).unwrap();
    let other = waiting(&budget, "other", 50);
    budget.set_capacity(130).unwrap();
    assert!(other.recv_timeout(LONG).is_ok());
}

#[test]
fn caches_that_fill_while_it_waits_are_asked_too() {
    use std::sync::{Arc, Mutex};
    let budget = Budget::new("test", 100).unwrap();
    let cached = Arc::new(Mutex::new(Vec::<Reservation>::new()));
    let held = budget.reserve(100).unwrap();
    let hook = {
        let cached = Arc::clone(&cached);
        budget.on_pressure("cache", move |_| {
            cached.lock().unwrap().drain(..).map(|one| one.bytes()).sum()
        })
    };
    let other = waiting(&budget, "other", 50);
    // What was in use is cached now: it is still reserved.
    cached.lock().unwrap().push(held);
    let (got, _) = other.recv_timeout(LONG).unwrap();
    assert_eq!((got.bytes(), budget.reserved()), (50, 50));
    drop(hook);
}
