//! What a refusal says.

use bridge_core::{Device, Error};
use bridge_memory::budget::{Budget, Shortage};
use bridge_memory::recovery::out_of_memory;

#[test]
fn more_than_the_capacity_can_never_be_had() {
    let budget = Budget::new("scratch", 1 << 20).unwrap();
    for need in [(1 << 20) + 1, u64::MAX] {
        let refused = budget.reserve(need).unwrap_err();
        let (budget, capacity) = ("scratch".to_owned(), 1 << 20);
        assert_eq!(refused, Shortage::Never { budget, device: None, need, capacity });
        assert!(!refused.is_passing());
    }
    let text = budget.reserve(3 << 20).unwrap_err().to_string();
    assert!(text.contains("3.0 MiB can never be had of the budget \"scratch\""), "{text}");
    assert!(text.contains("1.0 MiB in all") && text.contains("smaller parts"), "{text}");
    // Growing by what fits alone but not with what is there is a matter of time.
    let mut half = budget.reserve(1 << 19).unwrap();
    assert!(half.try_grow(1 << 20).unwrap_err().is_passing());
    assert!(!half.try_grow(u64::MAX).unwrap_err().is_passing());
}

#[test]
fn what_cannot_be_had_now_names_the_largest_holders() {
    let budget = Budget::new("scratch", 1000).unwrap();
    let held: Vec<_> =
        (1..=7_u64).map(|i| budget.consumer(&format!("c{i}")).reserve(i * 10).unwrap()).collect();
    let refused = budget.reserve(800).unwrap_err();
    let Shortage::NotNow { need: 800, have: 720, waited: None, holders, .. } = &refused else {
        panic!("{refused:?}");
    };
    let names: Vec<_> = holders.iter().map(|one| (one.name.as_str(), one.bytes)).collect();
    assert_eq!(names, [("c7", 70), ("c6", 60), ("c5", 50), ("c4", 40), ("c3", 30)]);
    assert!(refused.is_passing());
    let text = refused.to_string();
    assert!(text.contains("has 720 B left, and 800 B are needed; held by c7 70 B, c6"), "{text}");
    drop(held);
    assert!(budget.status().holders.is_empty());
}

#[test]
fn a_budget_of_a_device_names_it() {
    let gpu = Device::cuda(1);
    let budget = Budget::of_device("scratch", 1000, gpu).unwrap();
    let held = budget.part("images", 900).unwrap().consumer("loader").reserve(800).unwrap();
    let not_now = budget.reserve(300).unwrap_err();
    assert_eq!(
        not_now.to_string(),
        "the budget \"scratch\" of cuda:1 has 200 B left, and 300 B are needed; held by images 800 B: \
         wait, or let a holder give something back"
    );
    let never = budget.part("images", 900).unwrap().reserve(901).unwrap_err();
    assert_eq!(
        never.to_string(),
        "901 B can never be had of the budget \"images\" of cuda:1, which has 900 B in all: work in \
         smaller parts, or give it a larger capacity"
    );
    // Recovery knows whose memory it is.
    let told = out_of_memory(None, &not_now).unwrap();
    assert_eq!((told.device, told.bytes), (Some(gpu), Some(300)));
    drop(held);
    // One that is called like its device does not say it twice.
    let budget = Budget::of_device("cuda:1", 1000, gpu).unwrap();
    let never = budget.reserve(1001).unwrap_err().to_string();
    assert!(never.contains("of the budget \"cuda:1\", which has 1000 B in all"), "{never}");
}

#[test]
fn it_is_found_again_in_the_error_of_a_conversion() {
    let budget = Budget::new("scratch", 10).unwrap();
    let shortage = budget.reserve(11).unwrap_err();
    let error = Error::from(shortage.clone());
    assert_eq!(Shortage::of(&error), Some(&shortage));
    assert_eq!(error.to_string(), shortage.to_string());
    assert_eq!(error.out_of_memory(), None, "nobody ran out of memory");
    let other = budget.reserve(1).unwrap().shrink(2).unwrap_err();
    assert_eq!(Shortage::of(&other), None);
}

#[test]
fn budgets_of_nothing_and_of_too_much_are_refused() {
    for capacity in [0, 1 << 63, u64::MAX] {
        let refused = Budget::new("scratch", capacity).unwrap_err().to_string();
        assert!(refused.contains(&capacity.to_string()) && refused.contains("at least 1"));
    }
    let budget = Budget::new("scratch", (1 << 63) - 1).unwrap();
    assert!(budget.reserve((1 << 63) - 1).is_ok());
    assert!(budget.set_capacity(0).is_err());
    assert_eq!(budget.capacity(), (1 << 63) - 1);
}

#[test]
fn a_capacity_below_what_is_reserved_grants_nothing_until_it_fits() {
    let budget = Budget::new("scratch", 100).unwrap();
    let (first, second) = (budget.reserve(50).unwrap(), budget.reserve(50).unwrap());
    budget.set_capacity(60).unwrap();
    assert!(budget.reserve(1).is_err());
    drop(first);
    assert!(budget.reserve(11).is_err() && budget.reserve(10).is_ok());
    drop(second);
    budget.set_capacity(200).unwrap();
    assert!(budget.reserve(200).is_ok());
    let told = format!("{budget:?}");
    assert!(told.contains("scratch: 0 B of 200 B reserved"), "{told}");
}
