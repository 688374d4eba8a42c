//! One thread at a time on a device.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use bridge_core::Device;

/// Whose turn it is on each device. `None` stands for a device that nobody knows.
static TAKEN: Mutex<Vec<(Option<Device>, ThreadId)>> = Mutex::new(Vec::new());
static GIVEN_BACK: Condvar = Condvar::new();

fn taken() -> MutexGuard<'static, Vec<(Option<Device>, ThreadId)>> {
    TAKEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The turn of this thread on some devices, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn(Vec<Option<Device>>);

/// The turn on all the devices at once, so that two threads never wait for each other; `None` where it
/// does not come in time. A thread that has a turn already keeps it.
pub(super) fn turn_on(devices: &[Device], patience: Duration) -> Option<Turn> {
    let deadline = Instant::now() + patience;
    let me = thread::current().id();
    let mut wanted: Vec<_> = devices.iter().copied().map(Some).collect();
    if wanted.is_empty() {
        wanted.push(None);
    }
    let mut taken = taken();
    loop {
        let holder = |device| taken.iter().find(|(one, _)| *one == device).map(|(_, who)| *who);
        if wanted.iter().all(|&device| holder(device).is_none_or(|who| who == me)) {
            wanted.retain(|&device| holder(device).is_none());
            taken.extend(wanted.iter().map(|&device| (device, me)));
            return Some(Turn(wanted));
        }
        let left = deadline.checked_duration_since(Instant::now())?;
        let woken = GIVEN_BACK.wait_timeout(taken, left);
        taken = woken.unwrap_or_else(PoisonError::into_inner).0;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        taken().retain(|(device, _)| !self.0.contains(device));
        GIVEN_BACK.notify_all();
    }
}
