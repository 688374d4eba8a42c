//! The memory of a device.

use std::collections::BTreeSet;

use bridge_core::{Allocator, Device, Error, Registry, Result};

use super::host::HostProbe;
use super::measured::{Measured, Source};
use super::memory_probe::MemoryProbe;

/// Measures a device's memory: memory of the host, pinned and managed memory included, as
/// [`HostProbe`] does; any other through the first of its allocators that can measure it.
///
/// ```
/// use bridge_core::{Device, Registry};
/// use bridge_memory::probe::{DeviceProbe, MemoryProbe as _};
///
/// let registry = Registry::new([]);
/// let host = DeviceProbe::of(&registry, Device::CPU)?.measure()?;
/// assert!(host.available <= host.total);
///
/// let error = DeviceProbe::of(&registry, Device::cuda(7)).unwrap_err();
/// assert!(error.to_string().contains("cuda:7"));
/// # Ok::<(), bridge_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct DeviceProbe {
    device: Device,
    way: Way,
}

#[derive(Debug, Clone)]
enum Way {
    Host(HostProbe),
    Allocators(Vec<&'static dyn Allocator>),
}

impl DeviceProbe {
    /// A probe of `device`.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] where nobody in `registry` holds memory of the device; it names the
    /// devices that there are.
    pub fn of(registry: &Registry, device: Device) -> Result<Self> {
        let allocators: Vec<_> = registry.allocators(device).collect();
        if allocators.is_empty() && device != Device::CPU {
            return Err(unknown(registry, device));
        }
        let way = if device.kind().is_host_accessible() {
            Way::Host(HostProbe::new())
        } else {
            Way::Allocators(allocators)
        };
        Ok(Self { device, way })
    }

    /// The device.
    pub fn device(&self) -> Device {
        self.device
    }
}

impl MemoryProbe for DeviceProbe {
    /// # Errors
    ///
    /// [`Error::Unsupported`] where no allocator can measure the device; it names each one's reason.
    fn measure(&self) -> Result<Measured> {
        let allocators = match &self.way {
            Way::Host(host) => return host.measure(),
            Way::Allocators(allocators) => allocators,
        };
        let mut reasons = Vec::new();
        for allocator in allocators {
            let name = allocator.backend().name();
            match allocator.usage(self.device) {
                Ok(memory) => {
                    let source = Source::Allocator(name);
                    let mut measured = Measured::new(memory.total, memory.free, source);
                    measured.problems = reasons;
                    return Ok(measured);
                }
                Err(error) => reasons.push(format!("\"{name}\" cannot measure it: {error}")),
            }
        }
        Err(Error::Unsupported {
            what: format!("measuring the memory of {}", self.device),
            remedy: reasons.join("; "),
        })
    }

    /// On the host, what is resident; else what all allocators hold, where each of them counts.
    fn own(&self) -> Option<u64> {
        let allocators = match &self.way {
            Way::Host(host) => return host.own(),
            Way::Allocators(allocators) => allocators,
        };
        allocators.iter().try_fold(0_u64, |sum, allocator| {
            let held = allocator.holdings(self.device).ok()??;
            Some(sum.saturating_add(held.in_use).saturating_add(held.cached))
        })
    }
}

/// The error for a device that nobody holds memory of.
fn unknown(registry: &Registry, device: Device) -> Error {
    let mut there = BTreeSet::from([Device::CPU]);
    for backend in registry.available() {
        there.extend(backend.devices().iter().flat_map(|devices| devices.iter().copied()));
    }
    let there: Vec<_> = there.iter().map(ToString::to_string).collect();
    Error::Unsupported {
        what: format!("measuring the memory of {device}"),
        remedy: format!(
            "no backend that is linked holds memory of it; there are {}",
            there.join(", ")
        ),
    }
}
