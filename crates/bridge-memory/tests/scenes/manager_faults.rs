//! What NLSQ's memory manager gets wrong, and what is no valid input.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use bridge_core::{DataType, Error, TensorError};
use bridge_memory::budget::Shortage;
use bridge_memory::manager::MemoryManagerBuilder;

use crate::manager::{GB, Machine};

#[test]
fn a_guard_reserves_and_says_who_holds_what() {
    let machine = Machine::new(8, 4);
    let manager = machine.manager();
    let first = manager.memory_guard(3 * GB).unwrap();
    let refused = manager.memory_guard(2 * GB).unwrap_err();
    let Some(Shortage::NotNow { need, have, holders, .. }) = Shortage::of(&refused) else {
        panic!("{refused}")
    };
    assert_eq!((*need, *have, holders[0].bytes), (2 * GB, GB, 3 * GB));
    assert!(refused.to_string().contains("guards"), "{refused}");
    assert!(!manager.check_memory_availability(2 * GB).0);
    // More than is free, and less than there is: not now.
    let refused = manager.memory_guard(5 * GB).unwrap_err();
    assert!(Shortage::of(&refused).is_some_and(Shortage::is_passing), "{refused}");
    drop(first);
    drop(manager.memory_guard(4 * GB).unwrap());
}

#[test]
fn what_a_guard_has_taken_already_counts_once() {
    let machine = Machine::new(8, 4);
    let manager = machine.builder().memory_cache_ttl(0.0).adaptive_ttl(false).build().unwrap();
    let guard = manager.memory_guard(3 * GB).unwrap();
    machine.grow(3 * GB);
    machine.probe.set(8 * GB, GB);
    assert!(manager.memory_guard(2 * GB).is_err());
    drop(manager.memory_guard(GB).unwrap());
    drop(guard);
}

#[test]
fn an_old_answer_does_not_count_what_was_taken_since_as_free() {
    let machine = Machine::new(8, 4);
    let manager = machine.manager();
    let guard = manager.memory_guard(3 * GB).unwrap();
    machine.grow(3 * GB);
    machine.probe.set(8 * GB, GB); // and no time passes
    let small = manager.memory_guard(1).unwrap();
    assert!(manager.memory_guard(2 * GB).is_err());
    drop((guard, small));
}

#[test]
fn as_many_threads_pass_as_there_is_room_for() {
    let manager = Machine::new(8, 4).manager();
    let barrier = Barrier::new(16);
    let passed = thread::scope(|scope| {
        let work = || {
            let guard = manager.memory_guard(GB);
            barrier.wait(); // nobody gives back before all have asked
            guard.is_ok()
        };
        let threads: Vec<_> = (0..16).map(|_| scope.spawn(work)).collect();
        threads.into_iter().filter_map(|one| one.join().ok()).filter(|&passed| passed).count()
    });
    assert_eq!(passed, 4);
    drop(manager.memory_guard(4 * GB).unwrap());
}

#[test]
fn a_panic_within_a_guard_loses_nothing() {
    let manager = Machine::new(8, 4).manager();
    let work = || {
        let _guard = manager.memory_guard(4 * GB).unwrap();
        let _array = manager.allocate_array::<u8>(&[0]).unwrap();
        panic!("the work fails");
    };
    assert!(catch_unwind(AssertUnwindSafe(work)).is_err());
    drop(manager.memory_guard(4 * GB).unwrap());
    assert_eq!(manager.get_memory_stats().unwrap().total_requested_gb, Some(8.0));
}

#[test]
fn a_probe_that_panics_when_a_guard_ends_keeps_nothing_and_ends_no_program() {
    let machine = Machine::new(8, 4);
    let broken = Arc::new(AtomicU64::new(0));
    let is_broken = Arc::clone(&broken);
    let measure = move || match is_broken.load(Ordering::SeqCst) {
        0 => Ok(GB),
        _ => panic!("a probe's mistake"),
    };
    let manager = machine.builder().resident(measure).build().unwrap();
    let guard = manager.memory_guard(4 * GB).unwrap();
    broken.store(1, Ordering::SeqCst);
    drop(guard);
    // While the work panics, a second panic would end the process.
    broken.store(0, Ordering::SeqCst);
    let work = || {
        let _guard = manager.memory_guard(4 * GB).unwrap();
        broken.store(1, Ordering::SeqCst);
        panic!("the work fails");
    };
    assert!(catch_unwind(AssertUnwindSafe(work)).is_err());
    broken.store(0, Ordering::SeqCst);
    drop(manager.memory_guard(4 * GB).unwrap());
}

#[test]
fn the_second_look_is_a_fresh_one() {
    let machine = Machine::new(8, 1);
    let manager = machine.manager();
    assert!(!manager.check_memory_availability(2 * GB).0);
    machine.probe.set(8 * GB, 4 * GB); // and no time passes
    let told = manager.check_memory_availability(2 * GB);
    assert_eq!(told, (true, "Memory available after garbage collection".to_owned()));
    machine.probe.set(8 * GB, 6 * GB);
    drop(manager.memory_guard(5 * GB).unwrap());
    machine.probe.set(8 * GB, GB);
    assert!(manager.check_memory_availability(2 * GB).0, "the last answer still lives");
    machine.clock.advance(Duration::from_secs(20));
    assert!(!manager.check_memory_availability(2 * GB).0);
}

#[test]
fn measurements_live_as_long_as_they_are_told_to() {
    let machine = Machine::new(8, 4);
    let manager = machine.builder().memory_cache_ttl(2.0).adaptive_ttl(false).build().unwrap();
    let asked = |seconds| {
        machine.clock.advance(Duration::from_secs(seconds));
        manager.get_available_memory().unwrap();
        manager.get_memory_usage_fraction().unwrap();
        machine.probe.asked()
    };
    assert_eq!([asked(0), asked(1), asked(1), asked(0)], [1, 1, 2, 2]);

    let resident = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&resident);
    let manager = machine.builder().resident(move || Ok(counted.fetch_add(1, Ordering::SeqCst)));
    let manager = manager.memory_cache_ttl(2.0).build().unwrap();
    let usage = |seconds| {
        machine.clock.advance(Duration::from_secs(seconds));
        manager.get_memory_usage_bytes()
    };
    assert_eq!([usage(0), usage(1), usage(1), usage(0)], [0, 0, 1, 1]);
    machine.clock.set(Duration::ZERO);
    assert_eq!(usage(0), 2, "a clock that went back tells no age");
}

#[test]
fn where_the_process_cannot_be_measured_the_pool_stands_for_it() {
    let machine = Machine::new(8, 4);
    let unknown = || {
        let (what, remedy) = ("measuring".to_owned(), "mount /proc".to_owned());
        Err(Error::Unsupported { what, remedy })
    };
    let manager = machine.builder().resident(unknown).build().unwrap();
    assert_eq!(manager.get_memory_usage_bytes(), 0);
    let array = manager.allocate_array::<u8>(&[1 << 20]).unwrap();
    assert_eq!(manager.get_memory_usage_bytes(), 1 << 20);
    drop(array);
    drop(manager.memory_guard(4 * GB).unwrap());
}

#[test]
fn what_the_pool_keeps_is_given_up_for_who_needs_it() {
    let machine = Machine::new(8, 4);
    let manager = machine.manager();
    drop(manager.allocate_array::<u8>(&[1 << 20]).unwrap());
    drop(manager.memory_guard(4 * GB).unwrap());
    assert_eq!(manager.get_memory_stats().unwrap().pool_arrays, 0);
    // Arrays in use are not.
    let array = manager.allocate_array::<u8>(&[1 << 20]).unwrap();
    assert!(manager.memory_guard(4 * GB).is_err());
    drop(array);
}

#[test]
fn the_pool_keeps_no_more_than_it_may() {
    let machine = Machine::new(8, 4);
    let manager = machine.builder().pool_limits(1 << 20, 3).build().unwrap();
    let arrays: Vec<_> =
        (1..=5).map(|n| manager.allocate_array::<u8>(&[n * 1000]).unwrap()).collect();
    drop(arrays);
    assert_eq!(manager.get_memory_stats().unwrap().pool_arrays, 3);
    drop(manager.allocate_array::<u8>(&[2 << 20]).unwrap());
    assert!(manager.get_memory_stats().unwrap().pool_memory_gb <= (1 << 20) as f64 / 1e9);
}

#[test]
fn options_out_of_range_are_errors_that_name_them() {
    let machine = Machine::new(8, 4);
    type Set = fn(MemoryManagerBuilder, f64) -> MemoryManagerBuilder;
    let cases: [(&str, Set, &[f64]); 3] = [
        ("gc_threshold", MemoryManagerBuilder::gc_threshold, &[0.0, -0.5, 1.5]),
        ("safety factor", MemoryManagerBuilder::safety_factor, &[0.0, -1.0, 0.99]),
        ("memory_cache_ttl", MemoryManagerBuilder::memory_cache_ttl, &[-1.0, 1e300]),
    ];
    for (name, set, wrong) in cases {
        for &value in wrong.iter().chain(&[f64::NAN, f64::INFINITY, f64::NEG_INFINITY]) {
            let error = set(machine.builder(), value).build().unwrap_err().to_string();
            assert!(error.contains(name), "{value}: {error}");
        }
    }
}

#[test]
fn requests_out_of_range_are_errors() {
    let manager = Machine::new(8, 4).manager();
    for limit in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let strategy = manager.estimate_chunking_strategy(1000, 5, "trf", Some(limit));
        let error = strategy.unwrap_err().to_string();
        assert!(error.contains("memory_limit_gb"), "{limit}: {error}");
    }
    // Ten bytes, and no points: NLSQ divides by zero.
    for (points, limit) in [(1000, 1e-8), (0, 4.0)] {
        assert!(manager.estimate_chunking_strategy(points, 5, "trf", Some(limit)).is_err());
    }
    assert!(manager.estimate_chunking_strategy(1000, u64::MAX, "trf", Some(4.0)).is_err());
    let too_large = |error: &Error| matches!(error, Error::Tensor(TensorError::TooLarge { .. }));
    let predicted = manager.predict_memory_requirement(u64::MAX, 2, "trf", DataType::F64);
    assert!(too_large(&predicted.unwrap_err()));
    assert!(manager.predict_memory_requirement(10, 2, "trf", DataType::I32).is_err());
    assert!(too_large(&manager.allocate_array::<f64>(&[usize::MAX, 2]).unwrap_err()));
    let refused = manager.allocate_array::<u8>(&[isize::MAX as usize]).unwrap_err();
    assert!(Shortage::of(&refused).is_some() || too_large(&refused), "{refused}");
    assert!(manager.memory_guard(u64::MAX).is_err());
    assert!(!manager.check_memory_availability(u64::MAX).0);
    drop(manager.memory_guard(4 * GB).unwrap());
}

#[test]
fn a_probe_that_fails_is_told_and_nothing_is_promised() {
    let machine = Machine::new(8, 4);
    let manager = machine.manager();
    let (what, remedy) = ("measuring".to_owned(), "mount /proc".to_owned());
    machine.probe.fail(Error::Unsupported { what, remedy });
    let (fits, message) = manager.check_memory_availability(1);
    assert!(!fits && message.contains("measuring"), "{message}");
    assert!(manager.memory_guard(1).is_err() && manager.get_memory_stats().is_err());
    assert!(manager.allocate_array::<u8>(&[1]).is_err());
    machine.probe.set(8 * GB, 4 * GB);
    drop(manager.memory_guard(4 * GB).unwrap());
}
