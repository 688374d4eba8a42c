//! Many threads at once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use bridge_memory::budget::Budget;

const THREADS: u64 = 16;
const ROUNDS: usize = if cfg!(miri) { 4 } else { 200 };
/// Longer than anybody has to wait.
const LONG: Duration = Duration::from_secs(if cfg!(miri) { 3000 } else { 30 });

/// Small numbers that are the same in each run.
fn numbers(seed: u64) -> impl Iterator<Item = u64> {
    let step = |state: &u64| Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    std::iter::successors(Some(seed + 1), step).map(|state| state >> 33)
}

/// Counts what is held beside the budget, in memory of its own.
fn hold(held: &AtomicU64, bytes: u64, capacity: u64) {
    let now = held.fetch_add(bytes, Ordering::SeqCst) + bytes;
    assert!(now <= capacity, "{now} of {capacity} are held");
    thread::yield_now();
    held.fetch_sub(bytes, Ordering::SeqCst);
}

fn never_exceeds(budget: &Budget, waits: bool) {
    let (capacity, held) = (budget.capacity(), AtomicU64::new(0));
    let granted: u64 = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|id| {
                let held = &held;
                let consumer = budget.consumer(&format!("thread {id}"));
                scope.spawn(move || {
                    let mut granted = 0;
                    for number in numbers(id).take(ROUNDS) {
                        let bytes = number % (capacity / THREADS);
                        let got = match waits && number % 3 == 0 {
                            true => consumer.reserve_waiting(bytes, LONG),
                            false => consumer.reserve(bytes),
                        };
                        if let Ok(mut got) = got {
                            granted += 1;
                            hold(held, got.bytes(), capacity);
                            let _ = got.try_grow(number % 7);
                            let half = got.split(got.bytes() / 2).unwrap();
                            hold(held, half.bytes() + got.bytes(), capacity);
                        } else {
                            assert!(!waits || number % 3 != 0, "a long wait was in vain");
                        }
                    }
                    granted
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert!(granted > 0);
    assert_eq!((budget.reserved(), budget.status().waiting), (0, 0));
    assert!(budget.status().peak <= capacity);
    assert!(budget.reserve(capacity).is_ok(), "nothing is left behind");
}

#[test]
fn no_more_is_ever_held_than_the_capacity() {
    never_exceeds(&Budget::new("free", 1600).unwrap(), false);
}

#[test]
fn nobody_who_waits_starves() {
    never_exceeds(&Budget::new("queue", 400).unwrap(), true);
    never_exceeds(&Budget::fair("fair", 400).unwrap(), true);
}

#[test]
fn parts_of_one_budget_never_hold_more_than_it_has() {
    let whole = Budget::new("whole", 1000).unwrap();
    let parts: Vec<_> = (0..4).map(|i| whole.part(&format!("part {i}"), 800).unwrap()).collect();
    thread::scope(|scope| {
        for part in &parts {
            scope.spawn(|| never_exceeds_of(part, &whole));
        }
    });
    assert_eq!(whole.reserved(), 0);
    assert!(whole.status().peak <= 1000);
}

fn never_exceeds_of(part: &Budget, whole: &Budget) {
    for number in numbers(7).take(5 * ROUNDS / 2) {
        if let Ok(held) = part.reserve(number % 500) {
            assert!(whole.reserved() <= 1000 && held.bytes() < 500);
        }
    }
}
