//! Whichever allocation fails, on the host or a device: an error, the source intact, nothing leaked,
//! and the next call works.

mod child;
mod device;
mod failing_allocator;
mod group;
mod group_child;
mod host;
#[path = "../patterns/support.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod support;

use std::fmt::Debug;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bridge_core::{Allocator as _, Error};
use bridge_memory::budget::Budget;
use bridge_testkit::fake_accelerator::{DEVICES, FakeAccelerator};

use crate::failing_allocator::live_bytes;

/// Calls made with what `make` gives, with the first allocation failing, the second, and so on, until
/// a call succeeds. Returns how many failed.
fn fail_each<S, R: Debug>(
    make: impl Fn() -> S,
    call: impl Fn(S) -> Result<R, (S, Error)>,
    intact: impl Fn(&S),
    arm: impl Fn(u64) -> Box<dyn FnOnce() -> bool>,
) -> u64 {
    // What is made once, at the first call, is no leak.
    drop(call(make()).map_err(|(_, error)| error).unwrap());
    for nth in 0.. {
        let before = live_bytes();
        let source = make();
        let disarm = arm(nth);
        let result = call(source);
        let failed = disarm();
        match result {
            Ok(_) => {
                assert!(!failed, "allocation {nth} failed, and nobody said so");
                return nth;
            }
            Err((source, error)) => {
                assert!(error.out_of_memory().is_some(), "{nth}: {error}");
                intact(&source);
                drop(call(source).map_err(|(_, error)| error).unwrap());
            }
        }
        assert_eq!(live_bytes(), before, "{nth}");
        for &device in DEVICES {
            let memory = FakeAccelerator.usage(device).unwrap();
            assert_eq!(memory.free, memory.total, "{nth}");
        }
    }
    unreachable!("there are fewer allocations")
}

/// Bytes of the fake devices are counted for all threads: one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A budget in which everything fits.
fn budget() -> Budget {
    Budget::new("faults", 1 << 30).unwrap()
}
