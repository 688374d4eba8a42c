//! Whichever allocation fails, on the host or a device: an error, the source intact, nothing leaked,
//! and the next call works.

mod child;
mod device;
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
use bridge_testkit::Failures;
use bridge_testkit::failing_allocator::{FailingAllocator, live_bytes};
use bridge_testkit::fake_accelerator::{DEVICES, FakeAccelerator};

#[global_allocator]
static ALLOCATOR: FailingAllocator = FailingAllocator;

/// As [`bridge_testkit::fail_each`], where none that fails is made up for. Returns how many failed.
#[track_caller]
fn fail_each<S, R: Debug>(
    make: impl Fn() -> S,
    call: impl Fn(S) -> Result<R, (S, Error)>,
    intact: impl Fn(&S),
    arm: impl Fn(u64) -> Box<dyn FnOnce() -> bool>,
) -> u64 {
    let held = || {
        let held = DEVICES.iter().map(|&device| {
            let memory = FakeAccelerator.usage(device).unwrap();
            memory.total - memory.free
        });
        (live_bytes(), held.sum::<u64>())
    };
    let Failures { errors, made_up_for } = bridge_testkit::fail_each(make, call, intact, arm, held);
    assert_eq!(made_up_for, 0, "an allocation failed, and nobody said so");
    errors
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
