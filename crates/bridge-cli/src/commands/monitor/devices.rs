//! The devices that are watched beside the command.

use arraybridge::memory::profile::Reading;
use arraybridge::{Allocator, Device, Registry};

use crate::failure::Outcome;

/// The devices whose memory somebody can measure, each with who does. The host's is not among them: what
/// the command takes of that is measured by itself.
pub(super) struct Devices(Vec<(Device, &'static dyn Allocator)>);

impl Devices {
    pub(super) fn find() -> Outcome<Self> {
        let registry = Registry::global()?;
        let mut found: Vec<(Device, &'static dyn Allocator)> = Vec::new();
        for backend in registry.available() {
            for &device in backend.devices()?.iter() {
                let is_known = found.iter().any(|(known, _)| *known == device);
                if is_known || device.kind().is_host_accessible() {
                    continue;
                }
                let measures = |one: &&'static dyn Allocator| one.usage(device).is_ok();
                found.extend(registry.allocators(device).find(measures).map(|one| (device, one)));
            }
        }
        Ok(Self(found))
    }

    /// What is in use of each now, by whoever; one that cannot tell now is left out.
    pub(super) fn readings(&self) -> Vec<Reading> {
        let read = |(device, allocator): &(Device, &'static dyn Allocator)| {
            let memory = allocator.usage(*device).ok()?;
            Some((format!("used on {device}"), memory.total.saturating_sub(memory.free)))
        };
        self.0.iter().filter_map(read).collect()
    }
}
