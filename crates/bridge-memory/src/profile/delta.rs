//! What a piece of code takes: the usage before and after it.

use std::fmt;

use bridge_core::{Device, Registry};
use serde::Serialize;

use super::mebibytes::Signed;
use super::peak::PeakScope;
use super::usage::{DeviceUsage, Usage};

/// How usage changed while a piece of code ran, in bytes. It prints as one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MemoryDelta {
    /// What the code was called.
    pub name: String,
    /// Change of the process's resident memory; `None` where the system does not tell.
    pub resident: Option<i64>,
    /// The most that allocations of the program had grown by at any time; `None` where the program
    /// does not count them with a [`CountingAllocator`](super::CountingAllocator).
    pub peak: Option<u64>,
    /// Change on each device.
    pub devices: Vec<DeviceDelta>,
}

/// How one device's usage changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeviceDelta {
    /// The device's name.
    pub device: String,
    /// Change of what is taken, by whoever; `None` where it could not be measured.
    pub used: Option<i64>,
    /// Change of what each backend holds.
    pub holders: Vec<HolderDelta>,
}

/// How one backend's holdings changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HolderDelta {
    /// The backend.
    pub backend: &'static str,
    /// Change of what arrays use; `None` where the allocator does not count.
    pub in_use: Option<i64>,
    /// Change of what is kept for the next arrays; `None` where the allocator does not count.
    pub cached: Option<i64>,
}

impl MemoryDelta {
    /// The change from one usage to another. A device or a backend that is in only one of them counts
    /// as unknown.
    pub fn between(name: impl Into<String>, before: &Usage, after: &Usage) -> Self {
        let devices =
            after.devices.iter().map(|now| DeviceDelta::of(before.device(now.device), now));
        Self {
            name: name.into(),
            resident: change(before.resident, after.resident),
            peak: None,
            devices: devices.collect(),
        }
    }

    /// The change on one device.
    pub fn device(&self, device: Device) -> Option<&DeviceDelta> {
        let name = device.to_string();
        self.devices.iter().find(|one| one.device == name)
    }
}

impl DeviceDelta {
    fn of(before: Option<&DeviceUsage>, after: &DeviceUsage) -> Self {
        let holders = after.holders.iter().map(|now| {
            let held = before
                .and_then(|device| device.holders.iter().find(|one| one.backend == now.backend));
            HolderDelta {
                backend: now.backend,
                in_use: change(held.and_then(|held| held.in_use), now.in_use),
                cached: change(held.and_then(|held| held.cached), now.cached),
            }
        });
        Self {
            device: after.device.to_string(),
            used: change(before.and_then(DeviceUsage::used), after.used()),
            holders: holders.collect(),
        }
    }
}

fn change(before: Option<u64>, after: Option<u64>) -> Option<i64> {
    let (before, after) = (before?, after?);
    let size = i64::try_from(before.abs_diff(after)).unwrap_or(i64::MAX);
    Some(if after < before { -size } else { size })
}

impl fmt::Display for MemoryDelta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<24} process {}", self.name, Signed(self.resident))?;
        if let Some(peak) = self.peak {
            write!(f, ", peak {}", Signed(Some(i64::try_from(peak).unwrap_or(i64::MAX))))?;
        }
        for DeviceDelta { device, used, holders } in &self.devices {
            write!(f, " | {device} {}", Signed(*used))?;
            for HolderDelta { backend, in_use, cached } in holders {
                if in_use.is_some() || cached.is_some() {
                    let (in_use, cached) = (Signed(*in_use), Signed(*cached));
                    write!(f, ", {backend} {in_use} in use, {cached} cached")?;
                }
            }
        }
        Ok(())
    }
}

/// Runs `work` and says what it took: of the process and of every device that something linked into
/// the program holds memory of.
///
/// Other threads' work meanwhile is counted too.
///
/// ```
/// use bridge_memory::profile::profile;
///
/// let (zeros, delta) = profile("zeros", || vec![1_u8; 1 << 20]);
/// println!("{delta}"); // zeros   process +1.00 MiB
/// # assert_eq!((zeros.len(), delta.name.as_str()), (1 << 20, "zeros"));
/// ```
pub fn profile<T>(name: &str, work: impl FnOnce() -> T) -> (T, MemoryDelta) {
    measured(name, Usage::now, work)
}

/// Measures pieces of code, one after another, and all of them since it was made.
pub struct Profiler<'r> {
    registry: &'r Registry,
    baseline: Usage,
    trims: bool,
}

impl<'r> Profiler<'r> {
    /// A profiler of what the allocators of `registry` hold, which starts now.
    pub fn of(registry: &'r Registry) -> Self {
        Self { registry, baseline: Usage::of(registry), trims: false }
    }

    /// Gives what allocators have cached back before each measurement, so that an earlier one's
    /// leftovers do not serve a later one.
    #[must_use]
    pub fn trimming_first(mut self) -> Self {
        self.trims = true;
        self
    }

    /// What was taken when the profiler was made.
    pub fn baseline(&self) -> &Usage {
        &self.baseline
    }

    /// Runs `work` and says what it took.
    pub fn measure<T>(&self, name: &str, work: impl FnOnce() -> T) -> (T, MemoryDelta) {
        if self.trims {
            for usage in Usage::of(self.registry).devices {
                for allocator in self.registry.allocators(usage.device) {
                    // A cache that stays is seen in what is measured.
                    let _ = allocator.trim(usage.device);
                }
            }
        }
        measured(name, || Usage::of(self.registry), work)
    }

    /// What has been taken since the profiler was made.
    pub fn since_baseline(&self) -> MemoryDelta {
        MemoryDelta::between("since the start", &self.baseline, &Usage::of(self.registry))
    }
}

fn measured<T>(
    name: &str,
    usage: impl Fn() -> Usage,
    work: impl FnOnce() -> T,
) -> (T, MemoryDelta) {
    let before = usage();
    let scope = PeakScope::start();
    let result = work();
    let peak = scope.finish();
    let mut delta = MemoryDelta::between(name, &before, &usage());
    delta.peak = peak.map(|peak| peak.growth());
    (result, delta)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_have_a_sign_and_stay_within_their_range() {
        assert_eq!(change(Some(3), Some(1)), Some(-2));
        assert_eq!(change(Some(0), Some(u64::MAX)), Some(i64::MAX));
        assert_eq!(change(Some(u64::MAX), Some(0)), Some(-i64::MAX));
        assert_eq!(change(None, Some(1)), None);
        assert_eq!(change(Some(1), None), None);
    }

    #[test]
    fn a_change_prints_as_one_line_with_signs() {
        let holder = HolderDelta { backend: "torch", in_use: Some(8 << 20), cached: Some(0) };
        let silent = HolderDelta { backend: "other", in_use: None, cached: None };
        let device = DeviceDelta {
            device: "cuda:0".to_owned(),
            used: Some(-(1 << 19)),
            holders: vec![holder, silent],
        };
        let delta = MemoryDelta {
            name: "forward".to_owned(),
            resident: Some(12 << 20),
            peak: Some(20 << 20),
            devices: vec![device],
        };
        assert_eq!(
            delta.to_string(),
            "forward                  process +12.00 MiB, peak +20.00 MiB | cuda:0 -0.50 MiB, \
             torch +8.00 MiB in use, +0.00 MiB cached"
        );
        let unknown = MemoryDelta { resident: None, peak: None, devices: vec![], ..delta };
        assert_eq!(unknown.to_string(), "forward                  process unknown");
    }
}
