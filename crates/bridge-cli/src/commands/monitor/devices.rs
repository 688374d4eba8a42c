//! The devices that are watched beside the command.

use arraybridge::memory::profile::Reading;
use arraybridge::{Allocator, Device, Registry};

use crate::failure::Outcome;

/// The devices whose memory somebody can measure, each with who does. The host's is not among them: what
/// the command takes of that is measured by itself.
pub(super) struct Devices(Vec<(Device, &'static dyn Allocator)>);

impl Devices {
    pub(super) fn find(registry: &Registry) -> Outcome<Self> {
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

#[cfg(test)]
mod tests {
    use arraybridge::Registry;
    use bridge_testkit::fake_accelerator::{DEVICES, REGISTRATIONS};

    use super::*;

    #[test]
    fn what_is_in_use_of_each_device_is_read_again_each_time() {
        let registry = Registry::new(REGISTRATIONS.iter().copied());
        let devices = Devices::find(&registry).unwrap();
        let labels: Vec<_> = DEVICES.iter().map(|device| format!("used on {device}")).collect();
        let read = |devices: &Devices| -> Vec<(String, u64)> { devices.readings() };
        let before = read(&devices);
        assert_eq!(before.iter().map(|(label, _)| label.clone()).collect::<Vec<_>>(), labels);
        let allocator = registry.allocators(DEVICES[1]).next().unwrap();
        let spec = arraybridge::TensorSpec::row_major(arraybridge::DataType::U8, &[4096]).unwrap();
        let held = allocator.allocate(&spec, DEVICES[1]).unwrap();
        let after = read(&devices);
        assert!(after[1].1 >= before[1].1 + 4096, "{before:?} {after:?}");
        assert_eq!((after[0].1, after[2].1), (before[0].1, before[2].1));
        drop(held);
        assert_eq!(read(&devices), before);
    }

    #[test]
    fn the_hosts_memory_is_not_watched_beside_the_commands() {
        let none = Devices::find(&Registry::new([])).unwrap();
        assert!(none.readings().is_empty());
    }
}
