//! How often each rung was climbed, in this process.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bridge_core::Device;
use serde::{Deserialize, Serialize};

/// How often each rung was climbed since the process started, by all threads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveryCounts {
    /// Tries that ran out of memory.
    pub out_of_memory: u64,
    /// Tries after the first.
    pub retries: u64,
    /// Times that the caches of a device were released.
    pub releases: u64,
    /// Bytes that were given back so.
    pub released_bytes: u64,
    /// Batches that were halved.
    pub splits: u64,
    /// Times that another backend, or the host, was gone to.
    pub fallbacks: u64,
    /// Calls that ran out of memory and succeeded in the end.
    pub recovered: u64,
    /// Calls that gave their first error back.
    pub gave_up: u64,
}

/// All that is counted. Whoever succeeds at once does not come here.
struct All {
    total: RecoveryCounts,
    devices: Vec<(Device, RecoveryCounts)>,
}

const NOTHING: RecoveryCounts = RecoveryCounts {
    out_of_memory: 0,
    retries: 0,
    releases: 0,
    released_bytes: 0,
    splits: 0,
    fallbacks: 0,
    recovered: 0,
    gave_up: 0,
};

static ALL: Mutex<All> = Mutex::new(All { total: NOTHING, devices: Vec::new() });

fn all() -> MutexGuard<'static, All> {
    ALL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How often each rung was climbed so far, whatever the device.
pub fn counts() -> RecoveryCounts {
    all().total
}

/// How often each rung was climbed so far for want of memory of this device. What is about several devices
/// counts for each of them, and what names none in [`counts`] only.
pub fn counts_of(device: Device) -> RecoveryCounts {
    let all = all();
    let found = all.devices.iter().find(|(known, _)| *known == device);
    found.map_or(NOTHING, |(_, counts)| *counts)
}

/// [`counts_of`] every device that a rung was climbed for, in the order in which they first came.
pub fn counts_by_device() -> Vec<(Device, RecoveryCounts)> {
    all().devices.clone()
}

/// Counts something once, and once for each of these devices.
pub(super) fn count(devices: &[Device], add: impl Fn(&mut RecoveryCounts)) {
    let mut all = all();
    add(&mut all.total);
    for &device in devices {
        if let Some((_, counts)) = all.devices.iter_mut().find(|(known, _)| *known == device) {
            add(counts);
        // Where there is no memory to note a new device in, there is no harm in not knowing it.
        } else if all.devices.try_reserve(1).is_ok() {
            let mut counts = NOTHING;
            add(&mut counts);
            all.devices.push((device, counts));
        }
    }
}
