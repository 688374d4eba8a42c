//! Equal shares.

use std::time::Duration;

use bridge_memory::budget::{Budget, Shortage};

fn fair(capacity: u64) -> Budget {
    Budget::fair("fair", capacity).unwrap()
}

fn have(refused: &Shortage) -> u64 {
    match refused {
        Shortage::NotNow { have, .. } => *have,
        never => panic!("{never:?}"),
    }
}

#[test]
fn each_active_consumer_has_an_equal_share_whatever_number_of_reservations() {
    let budget = fair(120);
    let (first, second) = (budget.consumer("first"), budget.consumer("second"));
    // Alone, one may have all; the share is the consumer's, not the reservation's.
    let mut all = vec![first.reserve(50).unwrap(), first.reserve(60).unwrap()];
    assert_eq!(have(&second.reserve(30).unwrap_err()), 10);
    let small = second.reserve(10).unwrap();
    assert_eq!(have(&first.reserve(1).unwrap_err()), 0);
    all.pop();
    // Half each: the first has 50 and may have 60.
    assert_eq!(have(&first.reserve(11).unwrap_err()), 10);
    let _tenth = first.reserve(10).unwrap();
    let rest = second.reserve(50).unwrap();
    assert_eq!(budget.reserved(), 120);
    drop((small, rest));
    assert!(first.reserve(60).is_ok(), "who holds nothing has no share");
}

#[test]
fn idle_consumers_take_no_share() {
    let budget = fair(90);
    let consumers: Vec<_> = (0..9).map(|i| budget.consumer(&format!("idle {i}"))).collect();
    let _one = consumers[0].reserve(45).unwrap();
    let _two = consumers[1].reserve(45).unwrap();
    assert_eq!(budget.reserved(), 90);
}

#[test]
fn floors_come_first_and_the_rest_is_shared() {
    let budget = fair(100);
    let needy = budget.consumer_with_floor("needy", 40).unwrap();
    let (first, second) = (budget.consumer("first"), budget.consumer("second"));
    let _held = (first.reserve(30).unwrap(), second.reserve(30).unwrap());
    assert_eq!(have(&first.reserve(1).unwrap_err()), 0);
    assert!(needy.reserve(40).is_ok());
}

#[test]
fn whoever_waits_has_a_share_that_others_cannot_take() {
    let budget = fair(100);
    let first = budget.consumer("first");
    let mut held = first.reserve(90).unwrap();
    let second = budget.consumer("second");
    let waiting = std::thread::spawn(move || {
        second.reserve_waiting(50, Duration::from_secs(30)).map(|one| one.bytes())
    });
    while budget.status().waiting == 0 {
        std::thread::yield_now();
    }
    // It gives back what is above its share of 50, and cannot take it again.
    held.shrink(30).unwrap();
    assert!(held.try_grow(1).is_err());
    held.shrink(10).unwrap();
    assert_eq!(waiting.join().unwrap(), Ok(50));
    assert!(held.try_grow(50).is_ok(), "alone again");
}

#[test]
fn calls_of_one_consumer_are_served_in_turn() {
    let budget = fair(100);
    let one = budget.consumer("one");
    let held = one.reserve(90).unwrap();
    let large = {
        let one = one.clone();
        std::thread::spawn(move || one.reserve_waiting(80, Duration::from_secs(30)).is_ok())
    };
    while budget.status().waiting == 0 {
        std::thread::yield_now();
    }
    // Its own smaller calls do not overtake the larger one, which would wait for ever.
    assert_eq!(have(&one.reserve(10).unwrap_err()), 0);
    assert!(one.reserve_waiting(10, Duration::from_millis(20)).is_err());
    // Another consumer has a share of its own.
    let other = budget.consumer("other").reserve(10).unwrap();
    drop((held, other));
    assert!(large.join().unwrap());
    assert_eq!(budget.reserved(), 0);
}
