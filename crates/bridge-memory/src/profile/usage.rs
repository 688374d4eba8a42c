//! What the process and the devices take now.

use std::fmt::Display;

use bridge_core::{Allocator, Device, DeviceMemory, Registry};
use serde::{Serialize, Serializer};

use crate::probe::ProcessMemory;

/// What the process and each device that somebody holds memory of take at one moment, in bytes.
///
/// ```
/// use bridge_memory::profile::Usage;
///
/// let usage = Usage::now();
/// assert!(usage.resident > Some(0));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Usage {
    /// The memory of the process that lies in the machine's memory; `None` where the system does not
    /// tell.
    pub resident: Option<u64>,
    /// The devices, in the order in which the backends have them.
    pub devices: Vec<DeviceUsage>,
    /// What could not be measured, and why.
    pub problems: Vec<String>,
}

/// What one device's memory is taken by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeviceUsage {
    /// The device.
    #[serde(serialize_with = "as_text")]
    pub device: Device,
    /// All memory it has; `None` where no allocator could tell.
    pub total: Option<u64>,
    /// What could be allocated now; `None` where no allocator could tell.
    pub free: Option<u64>,
    /// Who holds memory of it.
    pub holders: Vec<HolderUsage>,
}

/// What one backend's allocator holds of a device's memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HolderUsage {
    /// The backend.
    pub backend: &'static str,
    /// In use by arrays; `None` where the allocator does not count.
    pub in_use: Option<u64>,
    /// Kept for the next arrays; `None` where the allocator does not count.
    pub cached: Option<u64>,
}

impl Usage {
    /// What is taken now, by everything that is linked into the program.
    pub fn now() -> Self {
        match Registry::global() {
            Ok(registry) => Self::of(registry),
            Err(error) => {
                let mut usage = Self::default();
                usage.measure_process();
                usage.problems.push(error.to_string());
                usage
            }
        }
    }

    /// What is taken now, by the allocators of `registry`. Its backends are asked which devices they
    /// have; one that cannot run here has none.
    pub fn of(registry: &Registry) -> Self {
        let mut usage = Self::default();
        usage.measure_process();
        let mut seen: Vec<Device> = Vec::new();
        for backend in registry.backends() {
            let Ok(devices) = backend.devices() else { continue };
            for &device in devices.iter().filter(|device| !seen.contains(device)) {
                let holders: Vec<_> = registry.allocators(device).collect();
                if !holders.is_empty() {
                    usage.measure_device(device, &holders);
                }
            }
            seen.extend(devices.iter());
        }
        usage
    }

    /// What one device's memory is taken by, where somebody holds any of it.
    pub fn device(&self, device: Device) -> Option<&DeviceUsage> {
        self.devices.iter().find(|one| one.device == device)
    }

    fn measure_process(&mut self) {
        match ProcessMemory::measure() {
            Ok(process) => self.resident = Some(process.resident),
            Err(error) => self.problems.push(error.to_string()),
        }
    }

    fn measure_device(&mut self, device: Device, allocators: &[&'static dyn Allocator]) {
        let mut failed = |allocator: &dyn Allocator, what: &str, error: &dyn Display| {
            let name = allocator.backend().name();
            self.problems.push(format!("{what} of {device}, asked of \"{name}\": {error}"));
        };
        let mut memory: Option<DeviceMemory> = None;
        let mut holders = Vec::new();
        for &allocator in allocators {
            if memory.is_none() {
                match allocator.usage(device) {
                    Ok(measured) => memory = Some(measured),
                    Err(error) => failed(allocator, "total and free memory", &error),
                }
            }
            let held = allocator.holdings(device).unwrap_or_else(|error| {
                failed(allocator, "holdings", &error);
                None
            });
            holders.push(HolderUsage {
                backend: allocator.backend().name(),
                in_use: held.map(|held| held.in_use),
                cached: held.map(|held| held.cached),
            });
        }
        let (total, free) = (memory.map(|memory| memory.total), memory.map(|memory| memory.free));
        self.devices.push(DeviceUsage { device, total, free, holders });
    }
}

impl DeviceUsage {
    /// What is taken of the device's memory, by whoever; `None` where no allocator could tell.
    pub fn used(&self) -> Option<u64> {
        Some(self.total?.saturating_sub(self.free?))
    }

    /// What is taken and no holder counts as its own: other programs, drivers, libraries. `None`
    /// where no allocator could tell what is taken.
    pub fn unaccounted(&self) -> Option<u64> {
        let held =
            |one: &HolderUsage| one.in_use.unwrap_or(0).saturating_add(one.cached.unwrap_or(0));
        let known = self.holders.iter().map(held).fold(0, u64::saturating_add);
        self.used().map(|used| used.saturating_sub(known))
    }
}

fn as_text<S: Serializer>(device: &Device, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(device)
}
