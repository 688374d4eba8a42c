//! Budgets that conversions ask.

use bridge_core::{Admission, Device, DeviceBytes, DeviceKind, Error, Permit, Registry, Result};

use super::account::Consumer;
use super::one::{Budget, Inner};
use super::reservation::Reservation;
use crate::recovery::{RecoveryEvent, announce, release_caches};

/// Under which name conversions reserve that were given a budget and no consumer of it.
const CONVERSIONS: &str = "conversions";

impl Inner {
    /// Whether it counts memory of this device.
    pub(super) fn counts(&self, device: Device) -> bool {
        self.device.is_none_or(|counted| counted == holder_of(device))
    }
}

impl Budget {
    /// Whether it counts memory of this device.
    pub(crate) fn counts(&self, device: Device) -> bool {
        self.0.counts(device)
    }
}

/// The device whose memory it is: pinned memory is the host's.
pub(super) fn holder_of(device: Device) -> Device {
    match device.kind() {
        DeviceKind::CudaHost | DeviceKind::RocmHost => Device::CPU,
        DeviceKind::CudaManaged => Device::new(DeviceKind::Cuda, device.ordinal()),
        _ => device,
    }
}

impl Consumer {
    /// Reserves what a conversion takes, as far as this budget counts it: all or nothing.
    pub(super) fn reserve_peaks(&self, peaks: &[DeviceBytes]) -> Result<Reservation> {
        Ok(self.reserve(self.counted(peaks))?)
    }

    /// How many of these bytes the budget counts.
    fn counted(&self, peaks: &[DeviceBytes]) -> u64 {
        let counted = peaks.iter().filter(|peak| self.account.budget.counts(peak.device));
        counted.fold(0_u64, |sum, peak| sum.saturating_add(peak.bytes))
    }
}

impl Admission for Consumer {
    fn admit(&self, peaks: &[DeviceBytes]) -> Result<Permit> {
        self.reserve_peaks(peaks).map(Permit::new)
    }

    /// As one reservation that is split, so that what can never be had is refused as a whole.
    fn admit_apart(&self, kept: &[DeviceBytes], passing: &[DeviceBytes]) -> Result<[Permit; 2]> {
        let (kept, passing) = (self.counted(kept), self.counted(passing));
        let mut whole = self.reserve(kept.saturating_add(passing))?;
        let passing = whole.split(passing)?;
        Ok([Permit::new(whole), Permit::new(passing)])
    }

    /// Once: what every framework keeps of the device for later is given back.
    fn recover(&self, device: Device, error: &Error, attempt: u32) -> bool {
        if attempt > 1 {
            // That it ran out of memory once more is told by whoever does something about it, if anybody does.
            announce(&RecoveryEvent::GaveUp { attempts: attempt, error });
            return false;
        }
        announce(&RecoveryEvent::OutOfMemory { attempt, devices: &[device], error });
        let missing = error.out_of_memory().map_or(u64::MAX, |(_, bytes)| bytes);
        self.account.budget.relieve(missing);
        if let Ok(registry) = Registry::global() {
            release_caches(registry, device);
        }
        true
    }
}

/// Memory of other devices than [the budget's](Budget::device) is not counted.
impl Admission for Budget {
    fn admit(&self, peaks: &[DeviceBytes]) -> Result<Permit> {
        self.consumer(CONVERSIONS).admit(peaks)
    }

    fn admit_apart(&self, kept: &[DeviceBytes], passing: &[DeviceBytes]) -> Result<[Permit; 2]> {
        self.consumer(CONVERSIONS).admit_apart(kept, passing)
    }

    fn recover(&self, device: Device, error: &Error, attempt: u32) -> bool {
        self.consumer(CONVERSIONS).recover(device, error, attempt)
    }
}
