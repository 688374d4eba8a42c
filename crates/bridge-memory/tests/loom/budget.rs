//! What is reserved, waited for and promised.

use std::time::Duration;

use bridge_memory::budget::Budget;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread;

const LONG: Duration = Duration::from_secs(3600);

/// Counts what is held beside the budget.
fn hold(held: &AtomicU64, bytes: u64, capacity: u64) {
    assert!(held.fetch_add(bytes, Ordering::SeqCst) + bytes <= capacity);
    held.fetch_sub(bytes, Ordering::SeqCst);
}

#[test]
fn two_never_hold_more_than_there_is() {
    loom::model(|| {
        let budget = Budget::new("loom", 3).unwrap();
        let held = Arc::new(AtomicU64::new(0));
        let other = {
            let (consumer, held) = (budget.consumer("other"), Arc::clone(&held));
            thread::spawn(move || {
                if let Ok(got) = consumer.reserve(2) {
                    hold(&held, got.bytes(), 3);
                }
            })
        };
        if let Ok(got) = budget.reserve(2) {
            hold(&held, got.bytes(), 3);
        }
        other.join().unwrap();
        assert_eq!(budget.reserved(), 0);
    });
}

#[test]
fn whoever_waits_is_woken() {
    for make in [Budget::new, Budget::fair] {
        loom::model(move || {
            let budget = make("loom", 2).unwrap();
            let waits = {
                let consumer = budget.consumer("waits");
                thread::spawn(move || consumer.reserve_waiting(1, LONG).unwrap().bytes())
            };
            if let Ok(held) = budget.consumer("holds").reserve(2) {
                drop(held);
            }
            assert_eq!(waits.join().unwrap(), 1);
            assert_eq!((budget.reserved(), budget.status().waiting), (0, 0));
        });
    }
}

#[test]
fn a_promise_is_kept_whenever_it_was_given() {
    loom::model(|| {
        let budget = Budget::new("loom", 3).unwrap();
        let greedy = {
            let consumer = budget.consumer("greedy");
            thread::spawn(move || consumer.reserve(2).ok())
        };
        let promised = budget.consumer_with_floor("needy", 2);
        let got = greedy.join().unwrap();
        assert!(promised.is_err() || got.is_none(), "two of three bytes twice");
        if let Ok(needy) = promised {
            assert!(needy.reserve(2).is_ok());
        }
    });
}
