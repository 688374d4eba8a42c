//! The memory of several probes together.

use std::borrow::Cow;
use std::collections::BTreeSet;

use bridge_core::{Device, Registry, Result};

use super::device::DeviceProbe;
use super::host::HostProbe;
use super::measured::{Measured, Source};
use super::memory_probe::MemoryProbe;

/// Adds up what several probes measure: host and devices, for work that is divided among all of them.
///
/// A probe that fails counts nothing, and is told among the [problems](Measured::problems).
///
/// ```
/// use bridge_memory::probe::{FixedProbe, MemoryProbe as _, TotalProbe};
///
/// let host = FixedProbe::new(16 << 30, 4 << 30);
/// let gpu = FixedProbe::new(8 << 30, 6 << 30);
/// let both = TotalProbe::new().with("the host", host).with("cuda:0", gpu).measure()?;
/// assert_eq!((both.total, both.available), (24 << 30, 10 << 30));
/// # Ok::<(), bridge_core::Error>(())
/// ```
#[derive(Default)]
pub struct TotalProbe {
    parts: Vec<(String, Box<dyn MemoryProbe>)>,
}

impl TotalProbe {
    /// Of nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Of the host and of every device in `registry` whose memory is its own and can be used here.
    pub fn of(registry: &Registry) -> Self {
        let devices: BTreeSet<Device> = registry
            .available()
            .filter_map(|backend| backend.devices().ok())
            .flat_map(Cow::into_owned)
            .filter(|device| !device.kind().is_host_accessible())
            .collect();
        let host = Self::new().with("the host", HostProbe::new());
        devices.into_iter().fold(host, |all, device| match DeviceProbe::of(registry, device) {
            Ok(probe) => all.with(&device.to_string(), probe),
            // Nobody holds memory of it.
            Err(_) => all,
        })
    }

    /// And of another, which is called `name` where it fails.
    #[must_use]
    pub fn with(mut self, name: &str, probe: impl MemoryProbe + 'static) -> Self {
        self.parts.push((name.to_owned(), Box::new(probe)));
        self
    }
}

impl MemoryProbe for TotalProbe {
    fn measure(&self) -> Result<Measured> {
        let mut sum = Measured::new(0, 0, Source::Sum);
        for (name, probe) in &self.parts {
            match probe.measure() {
                Ok(part) => {
                    sum.total = sum.total.saturating_add(part.total);
                    sum.available = sum.available.saturating_add(part.available);
                    let problems = part.problems.iter();
                    sum.problems.extend(problems.map(|problem| format!("{name}: {problem}")));
                }
                Err(error) => sum.problems.push(format!("{name} is not counted: {error}")),
            }
        }
        Ok(sum)
    }

    fn own(&self) -> Option<u64> {
        self.parts.iter().map(|(_, probe)| probe.own()).sum()
    }
}

impl std::fmt::Debug for TotalProbe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.parts.iter().map(|(name, _)| name)).finish()
    }
}
