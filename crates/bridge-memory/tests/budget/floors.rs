//! What is kept for those who cannot make do with less.

use bridge_memory::budget::{Budget, Shortage};

#[test]
fn what_is_promised_can_be_had_at_any_time() {
    let budget = Budget::new("test", 100).unwrap();
    let needy = budget.consumer_with_floor("needy", 40).unwrap();
    assert_eq!((needy.floor(), budget.reserved()), (40, 0));
    let refused = budget.reserve(61).unwrap_err();
    assert!(matches!(refused, Shortage::NotNow { have: 60, .. }), "{refused}");
    let greedy = budget.reserve(60).unwrap();
    let mut promised = needy.reserve(30).unwrap();
    assert!(budget.reserve(1).is_err());
    promised.try_grow(10).unwrap();
    assert!(promised.try_grow(1).is_err());
    promised.shrink(25).unwrap();
    assert!(budget.reserve(1).is_err(), "what it gave back stays promised");
    drop(greedy);
    promised.try_grow(85).unwrap();
    assert_eq!(promised.bytes(), 100);
}

#[test]
fn the_promise_ends_with_the_consumer_and_all_it_holds() {
    let budget = Budget::new("test", 100).unwrap();
    let needy = budget.consumer_with_floor("needy", 40).unwrap();
    let held = needy.reserve(10).unwrap();
    drop(needy);
    assert!(budget.reserve(61).is_err());
    drop(held);
    assert!(budget.reserve(100).is_ok());
}

#[test]
fn no_more_is_promised_than_there_is() {
    let budget = Budget::new("test", 100).unwrap();
    let _first = budget.consumer_with_floor("first", 70).unwrap();
    let refused = budget.consumer_with_floor("second", 31).unwrap_err();
    assert!(matches!(Shortage::of(&refused), Some(Shortage::NotNow { have: 30, .. })));
    let refused = budget.consumer_with_floor("second", 101).unwrap_err();
    assert!(matches!(Shortage::of(&refused), Some(Shortage::Never { .. })));
    let _held = budget.reserve(30).unwrap();
    assert!(budget.consumer_with_floor("third", 1).is_err());
    assert!(budget.consumer_with_floor("third", 0).is_ok());
    let refused = budget.consumer_with_floor("first", 0).unwrap_err().to_string();
    assert!(refused.contains("first") && refused.contains("settled"), "{refused}");
}

#[test]
fn whoever_waits_does_not_keep_what_is_promised_from_its_owner() {
    let budget = Budget::new("test", 100).unwrap();
    let needy = budget.consumer_with_floor("needy", 40).unwrap();
    let held = budget.reserve(50).unwrap();
    let waiting = {
        let consumer = budget.consumer("patient");
        std::thread::spawn(move || {
            consumer.reserve_waiting(60, std::time::Duration::from_secs(30)).map(|one| one.bytes())
        })
    };
    while budget.status().waiting == 0 {
        std::thread::yield_now();
    }
    let promised = needy.reserve(40).unwrap();
    assert!(needy.reserve(1).is_err(), "above its floor it comes after those who wait");
    drop(promised);
    drop(held);
    assert_eq!(waiting.join().unwrap(), Ok(60));
}

#[test]
fn what_a_part_promises_is_kept_of_the_whole() {
    let whole = Budget::new("whole", 100).unwrap();
    let part = whole.part("part", 80).unwrap();
    let needy = part.consumer_with_floor("needy", 50).unwrap();
    // Nobody else can have the last 50, neither of the whole nor of the part.
    assert!(whole.reserve(51).is_err() && part.consumer("other").reserve(31).is_err());
    let hog = whole.reserve(50).unwrap();
    let kept = needy.reserve(50).unwrap();
    assert_eq!((part.reserved(), whole.reserved()), (50, 100));
    assert_eq!(whole.status().holders.len(), 2);
    // What neither has left is not promised, and nothing is half promised.
    assert!(part.consumer_with_floor("late", 10).is_err());
    drop((kept, needy));
    assert!(whole.reserve(50).is_ok(), "the promise has ended");
    drop(hog);
    assert!(part.consumer_with_floor("too much", 81).is_err());
    assert!(whole.reserve(100).is_ok());
}
