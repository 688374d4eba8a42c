//! One thread at a time retries on a device.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use bridge_core::{Device, DeviceKind, Error};
use bridge_memory::recovery::{RecoveryEvent, RecoveryPolicy, with_oom_recovery};

use crate::support::{no_memory_on, registry};

const fn device(ordinal: u32) -> Device {
    Device::new(DeviceKind::Extension, ordinal)
}

/// Longer than any of these tests takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(50);

/// Runs out of memory at the first try, and does `retry` at the second.
fn retrying<T>(policy: &RecoveryPolicy<'_>, on: Device, retry: impl Fn() -> T) -> Result<T, Error> {
    let mut tries = 0;
    with_oom_recovery(policy, || {
        tries += 1;
        if tries == 1 { Err(no_memory_on(on)) } else { Ok(retry()) }
    })
}

#[test]
fn threads_retry_one_after_the_other() {
    let registry = registry();
    let policy = RecoveryPolicy::new().registry(&registry).waits(&[]).alone_within(PATIENCE);
    let (inside, most, start) = (AtomicUsize::new(0), AtomicUsize::new(0), Barrier::new(4));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                start.wait();
                let done = retrying(&policy, device(50), || {
                    most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    thread::sleep(Duration::from_millis(5));
                    inside.fetch_sub(1, Ordering::SeqCst);
                });
                done.unwrap();
            });
        }
    });
    assert_eq!(most.into_inner(), 1);
}

#[test]
fn the_wait_for_a_turn_ends_and_other_devices_need_none() {
    let registry = registry();
    let policy = RecoveryPolicy::new().registry(&registry).waits(&[]);
    let (entered, inside) = mpsc::channel();
    let (go_on, told) = mpsc::channel::<()>();
    let told = Mutex::new(told);
    thread::scope(|scope| {
        let go_on = go_on; // gone where a check below fails, so that the other thread ends
        scope.spawn(|| {
            retrying(&policy, device(51), || {
                entered.send(()).unwrap();
                let _ = told.lock().unwrap().recv();
            })
            .unwrap();
        });
        inside.recv().unwrap();
        for (on, expected) in [(device(51), false), (device(52), true)] {
            let alone = Mutex::new(None);
            let observer = |event: &RecoveryEvent<'_>| {
                if let RecoveryEvent::Waited { alone: was, .. } = event {
                    *alone.lock().unwrap() = Some(*was);
                }
            };
            let policy = policy.observer(&observer).alone_within(Duration::from_millis(20));
            retrying(&policy, on, || ()).unwrap();
            assert_eq!(*alone.lock().unwrap(), Some(expected), "{on}");
        }
        go_on.send(()).unwrap();
    });
}

/// Whether a retry on this device gets its turn at once.
fn is_free(on: Device) -> bool {
    let registry = registry();
    let alone = Mutex::new(false);
    let observer = |event: &RecoveryEvent<'_>| {
        if let RecoveryEvent::Waited { alone: was, .. } = event {
            *alone.lock().unwrap() = *was;
        }
    };
    let policy = RecoveryPolicy::new().registry(&registry).waits(&[]).observer(&observer);
    // From another thread: this one would keep a turn that it has.
    let policy = policy.alone_within(Duration::ZERO);
    thread::scope(|scope| scope.spawn(|| retrying(&policy, on, || ()).unwrap()).join().unwrap());
    alone.into_inner().unwrap()
}

#[test]
fn a_panic_leaves_no_turn_behind() {
    let registry = registry();
    let policy = RecoveryPolicy::new().registry(&registry).waits(&[]);
    let panicking = || retrying(&policy, device(53), || panic!("the work's own mistake"));
    let caught: Result<Result<(), _>, _> = catch_unwind(AssertUnwindSafe(panicking));
    assert!(caught.is_err());
    assert!(is_free(device(53)));
}

#[test]
fn work_within_work_keeps_the_turn_it_has() {
    let registry = registry();
    let policy = RecoveryPolicy::new().registry(&registry).waits(&[]).alone_within(PATIENCE);
    let free_inside = retrying(&policy, device(54), || {
        retrying(&policy, device(54), || ()).unwrap();
        is_free(device(54))
    });
    assert!(!free_inside.unwrap(), "the inner one gave the outer one's turn back");
    assert!(is_free(device(54)));
}
