//! The budgets of the program: one for each device, and one of all of them.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use bridge_core::{Device, Registry, Result};

use super::admission::holder_of;
use super::ledger::MOST;
use super::one::Budget;
use crate::probe::DeviceProbe;

/// Of what a device has and others leave, the part that the program's budget of it has.
pub(super) const SHARE: f64 = 0.8;

static DEVICES: LazyLock<Mutex<HashMap<Device, Budget>>> = LazyLock::new(Mutex::default);

static PROCESS: LazyLock<Budget> = LazyLock::new(|| {
    Budget::new("the process", MOST).unwrap_or_else(|error| unreachable!("{error}"))
});

impl Budget {
    /// The program's budget of one device, which everybody in it shares: four fifths of the memory
    /// that others leave, measured again and again, until [`set_capacity`](Self::set_capacity) says
    /// how much it is. Pinned memory is the host's. It is a part of [`process`](Self::process).
    ///
    /// Before it refuses, at most once a second, what every framework keeps of the device for later is given
    /// back, as by [`release_caches`](crate::recovery::release_caches).
    ///
    /// # Errors
    ///
    /// As [`DeviceProbe::of`], and where the device cannot be measured.
    pub fn of(device: Device) -> Result<Self> {
        let device = holder_of(device);
        let mut devices = DEVICES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(budget) = devices.get(&device) {
            return Ok(budget.clone());
        }
        let probe = DeviceProbe::of(Registry::global()?, device)?;
        let whole = Some(PROCESS.consumer(&device.to_string()));
        let budget = Self::measured_part(&device.to_string(), probe, SHARE, Some(device), whole)?;
        devices.insert(device, budget.clone());
        Ok(budget)
    }

    /// The program's budget of all devices together: what is reserved of a device's is reserved of
    /// it too. It has no limit until [`set_capacity`](Self::set_capacity) gives it one.
    pub fn process() -> Self {
        PROCESS.clone()
    }
}
