//! Reserving, growing, dividing and giving back.

use bridge_memory::budget::Budget;

#[test]
fn a_reservation_counts_until_it_is_dropped() {
    let budget = Budget::new("test", 100).unwrap();
    let reservation = budget.reserve(60).unwrap();
    assert_eq!((reservation.bytes(), budget.reserved()), (60, 60));
    drop(reservation);
    assert_eq!(budget.reserved(), 0);
    assert_eq!(budget.status().peak, 60);
}

#[test]
fn all_of_the_capacity_can_be_reserved_and_not_a_byte_more() {
    let budget = Budget::new("test", 100).unwrap();
    let mut all = budget.reserve(100).unwrap();
    assert!(budget.reserve(1).is_err() && all.try_grow(1).is_err());
    assert!(budget.reserve(0).is_ok() && all.try_grow(0).is_ok());
    assert_eq!((all.bytes(), budget.reserved()), (100, 100));
}

#[test]
fn it_grows_and_shrinks_and_what_is_refused_changes_nothing() {
    let budget = Budget::new("test", 100).unwrap();
    let mut one = budget.reserve(10).unwrap();
    one.try_grow(80).unwrap();
    assert!(one.try_grow(11).is_err());
    assert_eq!((one.bytes(), budget.reserved()), (90, 90));
    let refused = one.shrink(91).unwrap_err().to_string();
    assert!(refused.contains("91 B") && refused.contains("has 90 B"), "{refused}");
    one.shrink(40).unwrap();
    assert_eq!((one.bytes(), budget.reserved()), (50, 50));
    one.resize(100).unwrap();
    assert!(one.resize(101).is_err());
    one.resize(7).unwrap();
    assert_eq!((one.bytes(), budget.reserved()), (7, 7));
}

#[test]
fn parts_of_it_live_on_their_own() {
    let budget = Budget::new("test", 100).unwrap();
    let mut whole = budget.reserve(90).unwrap();
    let part = whole.split(30).unwrap();
    assert_eq!((whole.bytes(), part.bytes(), budget.reserved()), (60, 30, 90));
    assert!(whole.split(61).is_err());
    let rest = whole.take();
    assert_eq!((whole.bytes(), rest.bytes()), (0, 60));
    drop(whole);
    assert_eq!(budget.reserved(), 90);
    drop(part);
    assert_eq!(budget.reserved(), 60);
    drop(rest);
    assert_eq!(budget.reserved(), 0);
}

#[test]
fn it_may_be_dropped_on_another_thread_and_after_the_budget() {
    let budget = Budget::new("test", 100).unwrap();
    let consumer = budget.consumer("worker");
    let reservation = consumer.reserve(40).unwrap();
    let other = budget.clone();
    drop(budget);
    std::thread::spawn(move || drop(reservation)).join().unwrap();
    assert_eq!((other.reserved(), consumer.reserved()), (0, 0));
}

#[test]
fn a_panic_gives_everything_back() {
    let budget = Budget::new("test", 100).unwrap();
    let inside = budget.clone();
    let unwound = std::thread::spawn(move || {
        let _held = inside.reserve(100).unwrap();
        panic!("on purpose");
    });
    assert!(unwound.join().is_err());
    assert!(budget.reserve(100).is_ok());
}

#[test]
fn consumers_of_one_name_are_one() {
    let budget = Budget::new("test", 100).unwrap();
    let held = budget.consumer("images").reserve(10).unwrap();
    let again = budget.consumer("images");
    let _more = again.reserve(20).unwrap();
    assert_eq!(again.reserved(), 30);
    assert_eq!(held.consumer(), "images");
    let holders = budget.status().holders;
    assert_eq!(holders.len(), 1);
    assert_eq!((holders[0].name.as_str(), holders[0].bytes), ("images", 30));
}
