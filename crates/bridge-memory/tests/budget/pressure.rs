//! Who is asked before a budget refuses.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bridge_core::{Admission, Device, DeviceKind, Error, TensorError};
use bridge_memory::budget::{Budget, Reservation};

/// A cache that holds so many reservations of ten bytes, and counts how often it was asked.
struct Cache {
    held: Mutex<Vec<Reservation>>,
    asked: AtomicU64,
}

impl Cache {
    fn of(budget: &Budget, count: u64) -> Arc<Self> {
        let consumer = budget.consumer("cache");
        let held = (0..count).map(|_| consumer.reserve(10).unwrap()).collect();
        Arc::new(Self { held: Mutex::new(held), asked: AtomicU64::new(0) })
    }

    fn give(&self, missing: u64) -> u64 {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let mut held = self.held.lock().unwrap();
        let count = usize::try_from(missing.div_ceil(10)).unwrap().min(held.len());
        held.drain(..count).map(|one| one.bytes()).sum()
    }
}

#[test]
fn caches_give_back_what_is_missing_and_no_more() {
    let budget = Budget::new("test", 100).unwrap();
    let cache = Cache::of(&budget, 8);
    let asked = Arc::clone(&cache);
    let hook = budget.on_pressure("cache", move |missing| asked.give(missing));
    let fits = budget.reserve(20).unwrap();
    assert_eq!(cache.asked.load(Ordering::Relaxed), 0, "what fits asks nobody");
    let _more = budget.reserve(25).unwrap();
    assert_eq!(budget.reserved(), 20 + 25 + 50);
    drop(fits);
    // More than there is at all: nobody loses anything for it.
    assert!(budget.reserve(101).is_err());
    assert_eq!(cache.asked.load(Ordering::Relaxed), 1);
    drop(hook);
    assert!(budget.reserve(60).is_err(), "the hook has ended");
    assert_eq!(cache.asked.load(Ordering::Relaxed), 1);
}

#[test]
fn they_are_asked_in_order_until_it_is_enough() {
    let budget = Budget::new("test", 100).unwrap();
    let (first, second) = (Cache::of(&budget, 5), Cache::of(&budget, 5));
    let hooks: Vec<_> = [&first, &second]
        .map(Arc::clone)
        .into_iter()
        .map(|cache| budget.on_pressure("cache", move |missing| cache.give(missing)))
        .collect();
    let _held = budget.reserve(40).unwrap();
    assert_eq!((first.held.lock().unwrap().len(), second.held.lock().unwrap().len()), (1, 5));
    let _more = budget.reserve(30).unwrap();
    assert_eq!((first.held.lock().unwrap().len(), second.held.lock().unwrap().len()), (0, 3));
    assert!(budget.reserve(40).is_err(), "not even all of it is enough");
    drop(hooks);
}

#[test]
fn a_hook_that_panics_or_reserves_itself_does_no_harm() {
    let budget = Budget::new("test", 100).unwrap();
    let cache = Cache::of(&budget, 10);
    let panics = budget.on_pressure("panics", |_| panic!("on purpose"));
    let inside = budget.clone();
    let reserves = budget.on_pressure("reserves", move |_| {
        assert!(inside.reserve(1).is_err());
        0
    });
    let asked = Arc::clone(&cache);
    let gives = budget.on_pressure("gives", move |missing| asked.give(missing));
    assert!(budget.reserve(30).is_ok());
    assert!(format!("{panics:?}{reserves:?}{gives:?}").contains("panics"));
}

#[test]
fn a_hook_that_moves_what_it_keeps_has_room_made_for_it_elsewhere() {
    let (device, host) = (Budget::new("device", 100).unwrap(), Budget::new("host", 100).unwrap());
    let on_host = Cache::of(&host, 10);
    let asked = Arc::clone(&on_host);
    let host_hook = host.on_pressure("cache", move |missing| asked.give(missing));
    let on_device = Mutex::new(Some(device.reserve(60).unwrap()));
    let moved = Arc::new(Mutex::new(None));
    let device_hook = {
        let (host, moved) = (host.clone(), Arc::clone(&moved));
        device.on_pressure("moves to the host", move |_| {
            let Ok(room) = host.reserve(60) else { return 0 };
            *moved.lock().unwrap() = Some(room);
            on_device.lock().unwrap().take().map_or(0, |one| one.bytes())
        })
    };
    let got = device.reserve(80).unwrap();
    assert_eq!((device.reserved(), host.reserved()), (80, 100));
    assert_eq!(on_host.held.lock().unwrap().len(), 4);
    drop((got, host_hook, device_hook));
}

#[test]
fn a_hook_that_says_more_than_it_gave_keeps_nobody_from_being_asked() {
    let budget = Budget::new("test", 100).unwrap();
    let cache = Cache::of(&budget, 10);
    let boasts = AtomicU64::new(1);
    let first = budget.on_pressure("boasts", move |missing| {
        if boasts.swap(0, Ordering::Relaxed) == 1 { missing } else { 0 }
    });
    let asked = Arc::clone(&cache);
    let second = budget.on_pressure("gives", move |missing| asked.give(missing));
    let got = budget.reserve(30).unwrap();
    assert_eq!((got.bytes(), budget.reserved()), (30, 100));
    drop((first, second));
    // One that always says so ends it all the same.
    let first = budget.on_pressure("boasts", |missing| missing);
    assert!(budget.reserve(30).is_err());
    drop(first);
}

#[test]
fn a_conversion_that_runs_out_of_memory_is_helped_once() {
    let budget = Budget::new("test", 1000).unwrap();
    let asked = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&asked);
    let hook = budget.on_pressure("cache", move |missing| {
        counted.fetch_add(missing, Ordering::SeqCst);
        0
    });
    let device = Device::new(DeviceKind::Extension, 77);
    let error = Error::from(TensorError::OutOfMemory { device, requested: 64 });
    let tried_again = [1, 2, 3].map(|attempt| Admission::recover(&budget, device, &error, attempt));
    assert_eq!(tried_again, [true, false, false]);
    assert_eq!(asked.load(Ordering::SeqCst), 64, "bytes were asked back once");
    drop(hook);
}
