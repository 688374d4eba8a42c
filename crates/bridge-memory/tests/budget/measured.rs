//! Budgets whose capacity is what there is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bridge_core::{Device, Error};
use bridge_memory::budget::{Budget, Shortage};
use bridge_memory::probe::{FixedProbe, HostProbe, MemoryProbe as _};
use bridge_memory::recovery::on_release;

#[test]
fn it_has_a_share_of_what_others_leave() {
    let probe = Arc::new(FixedProbe::new(1000, 600));
    probe.set_own(0);
    let budget = Budget::measured("device", Arc::clone(&probe), 0.5).unwrap();
    assert_eq!(budget.capacity(), 300);
    let held = budget.reserve(300).unwrap();
    assert_eq!(probe.asked(), 1, "one answer serves many calls");
    let status = budget.status();
    assert_eq!((status.unmanaged, status.problems.len()), (Some(400), 0));
    assert!(status.to_string().contains("400 B in use by others"), "{status}");
    // What was reserved has been taken since: it is not counted a second time.
    probe.set(1000, 300);
    probe.set_own(300);
    assert!(budget.reserve(1).is_err());
    assert_eq!((budget.capacity(), budget.status().unmanaged), (300, Some(400)));
    // Others gave memory back: before a refusal it is looked at again.
    probe.set(1000, 500);
    assert!(budget.reserve(100).is_ok());
    assert_eq!(budget.status().unmanaged, Some(200));
    drop(held);
}

#[test]
fn what_was_promised_and_is_not_taken_yet_is_not_promised_again() {
    let probe = Arc::new(FixedProbe::new(800, 400));
    probe.set_own(50);
    let budget = Budget::measured("device", Arc::clone(&probe), 1.0).unwrap();
    let first = budget.reserve(300).unwrap();
    // Others hold 350 of the 400 that are in use: the room for the first is still to be taken.
    let refused = budget.reserve(300).unwrap_err();
    assert!(matches!(refused, Shortage::NotNow { have: 100, .. }), "{refused}");
    assert_eq!((budget.capacity(), budget.status().unmanaged), (400, Some(400)));
    // Half of it is taken.
    probe.set(800, 250);
    probe.set_own(200);
    assert!(budget.reserve(101).is_err() && budget.reserve(100).is_ok());
    assert_eq!(budget.status().unmanaged, Some(400));
    drop(first);
}

#[test]
fn what_the_device_has_at_most_can_be_had_later() {
    let probe = Arc::new(FixedProbe::new(1000, 100));
    let budget = Budget::measured("device", Arc::clone(&probe), 1.0).unwrap();
    assert!(budget.reserve(1000).unwrap_err().is_passing());
    let never = budget.reserve(1001).unwrap_err();
    assert!(matches!(never, Shortage::Never { capacity: 1000, .. }), "{never}");
}

#[test]
fn a_probe_that_fails_leaves_the_capacity_as_it_was() {
    let probe = Arc::new(FixedProbe::new(1000, 800));
    let budget = Budget::measured("device", Arc::clone(&probe), 1.0).unwrap();
    let what = "measuring".to_owned();
    probe.fail(Error::Unsupported { what, remedy: "start the driver".to_owned() });
    assert!(budget.reserve(900).is_err() && budget.reserve(800).is_ok());
    assert!(Budget::measured("device", Arc::clone(&probe), 1.0).is_err());
}

#[test]
fn a_capacity_that_is_set_follows_no_longer() {
    let probe = Arc::new(FixedProbe::new(1000, 800));
    let budget = Budget::measured("device", Arc::clone(&probe), 1.0).unwrap();
    budget.set_capacity(2000).unwrap();
    assert!(budget.reserve(1500).is_ok());
    assert!(!budget.reserve(2001).unwrap_err().is_passing());
}

#[test]
fn shares_that_are_none_are_refused() {
    for share in [0.0, -0.5, 1.1, f64::NAN, f64::INFINITY] {
        let refused = Budget::measured("device", FixedProbe::new(10, 10), share).unwrap_err();
        assert!(refused.to_string().contains("share"), "{refused}");
    }
}

#[test]
fn the_program_has_one_budget_of_each_device_and_one_of_all() {
    let host = Budget::of(Device::CPU).unwrap();
    let pinned = "cuda_host:0".parse::<Device>().unwrap();
    let (again, pinned) = (Budget::of(Device::CPU).unwrap(), Budget::of(pinned).unwrap());
    let held = host.reserve(1 << 20).unwrap();
    assert_eq!((again.reserved(), pinned.reserved()), (1 << 20, 1 << 20));
    assert_eq!((host.device(), host.name()), (Some(Device::CPU), "cpu"));
    let process = Budget::process();
    assert_eq!((process.reserved(), process.device()), (1 << 20, None));
    assert!(host.capacity() > 1 << 20 && host.status().unmanaged.is_some());
    drop(held);
    assert_eq!(process.reserved(), 0);
    let nowhere = Budget::of(Device::cuda(9)).unwrap_err().to_string();
    assert!(nowhere.contains("cuda:9"), "{nowhere}");
}

#[test]
fn whoever_waits_sees_what_others_leave_meanwhile() {
    const LONG: Duration = Duration::from_secs(30);
    let probe = Arc::new(FixedProbe::new(1000, 500));
    probe.set_own(0);
    let budget = Budget::measured("device", Arc::clone(&probe), 1.0).unwrap();
    // More than there is now, and less than there can be.
    let refused = budget.reserve_waiting(700, Duration::from_millis(30)).unwrap_err();
    let Shortage::NotNow { waited: Some(waited), .. } = refused else { panic!("{refused:?}") };
    assert!(waited >= Duration::from_millis(30));
    let waits = {
        let budget = budget.clone();
        std::thread::spawn(move || budget.reserve_waiting(700, LONG).map(|got| got.bytes()))
    };
    while budget.status().waiting == 0 {
        std::thread::yield_now();
    }
    probe.set(1000, 800);
    assert_eq!(waits.join().unwrap(), Ok(700));
    // What can never be had is not waited for.
    assert!(!budget.reserve_waiting(1001, LONG).unwrap_err().is_passing());
}

#[test]
fn before_a_budget_of_a_device_refuses_the_caches_of_the_device_are_released() {
    let asked = Arc::new(AtomicU64::new(0));
    let hook = {
        let asked = Arc::clone(&asked);
        on_release("framework", Device::CPU, move || asked.fetch_add(1, Ordering::Relaxed))
    };
    let budget = Budget::of(Device::CPU).unwrap();
    // A share of all that the machine has; some of it is in use, by this process at least.
    let total = HostProbe::new().measure().unwrap().total;
    let most = (total as f64 * 0.8) as u64;
    assert!(budget.reserve(most).unwrap_err().is_passing());
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    // Who asks again at once does not keep caches empty; nor does what can never be had.
    assert!(budget.reserve(most).is_err() && budget.reserve(total).is_err());
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    drop(hook);
}
