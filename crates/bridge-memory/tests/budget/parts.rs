//! Budgets that are a part of another.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bridge_memory::budget::{Budget, Shortage};

#[test]
fn what_a_part_reserves_is_reserved_of_the_whole() {
    let whole = Budget::new("whole", 100).unwrap();
    let (left, right) = (whole.part("left", 80).unwrap(), whole.part("right", 80).unwrap());
    let held = left.reserve(70).unwrap();
    assert_eq!((left.reserved(), whole.reserved()), (70, 70));
    assert_eq!(whole.status().holders[0].name, "left");
    let refused = right.reserve(40).unwrap_err();
    let Shortage::NotNow { budget, have: 30, .. } = &refused else { panic!("{refused:?}") };
    assert_eq!(budget, "whole", "the one that is short is named");
    assert_eq!((right.reserved(), whole.reserved()), (0, 70), "nothing is half reserved");
    assert!(left.reserve(20).is_err_and(|refused| refused.to_string().contains("\"left\"")));
    drop(held);
    let _all = (left.reserve(50).unwrap(), right.reserve(50).unwrap());
    assert_eq!(whole.reserved(), 100);
}

#[test]
fn a_part_waits_for_the_whole_and_gives_its_own_back_when_it_gave_up() {
    let whole = Budget::new("whole", 100).unwrap();
    let part = whole.part("part", 100).unwrap();
    let held = whole.reserve(60).unwrap();
    let refused = part.reserve_waiting(50, Duration::from_millis(30)).unwrap_err();
    assert!(matches!(refused, Shortage::NotNow { waited: Some(_), .. }), "{refused}");
    assert_eq!((part.reserved(), whole.reserved()), (0, 60));
    let waiting = {
        let part = part.clone();
        std::thread::spawn(move || part.reserve_waiting(50, Duration::from_secs(30)).is_ok())
    };
    while whole.status().waiting == 0 {
        std::thread::yield_now();
    }
    drop(held);
    assert!(waiting.join().unwrap());
}

#[test]
fn caches_of_a_part_give_back_what_the_whole_is_short_of() {
    let whole = Budget::new("whole", 100).unwrap();
    let (left, right) = (whole.part("left", 100).unwrap(), whole.part("right", 100).unwrap());
    let inner = left.part("inner", 100).unwrap();
    let cached = Arc::new(Mutex::new(Some(inner.reserve(80).unwrap())));
    let hook = {
        let cached = Arc::clone(&cached);
        let give = move |_| cached.lock().unwrap().take().map_or(0, |one| one.bytes());
        inner.on_pressure("cache", give)
    };
    let got = right.reserve(50).unwrap();
    assert!(cached.lock().unwrap().is_none());
    assert_eq!((inner.reserved(), left.reserved(), whole.reserved()), (0, 0, 50));
    drop(got);
    // One that is gone is not asked.
    *cached.lock().unwrap() = Some(whole.reserve(80).unwrap());
    drop((hook, inner, left));
    assert!(right.reserve(50).is_err());
}

#[test]
fn what_was_refused_is_no_peak() {
    let whole = Budget::new("whole", 100).unwrap();
    let part = whole.part("part", 100).unwrap();
    let held = whole.reserve(60).unwrap();
    assert!(part.reserve(50).is_err());
    assert!(part.reserve_waiting(50, Duration::from_millis(5)).is_err());
    assert_eq!((part.status().peak, whole.status().peak), (0, 60));
    drop((part.reserve(30).unwrap(), held));
    assert_eq!((part.status().peak, whole.status().peak), (30, 90));
}
