//! Which conversions of a row are needed.

use std::fmt;

use bridge_core::{Backend, Device, Registry, Result};

/// A conversion that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hop {
    pub(super) backend: String,
    pub(super) device: Option<Device>,
}

/// A conversion of a row that was looked at: its backend is linked and has the device.
#[derive(Clone)]
pub(super) struct Found {
    pub(super) backend: &'static dyn Backend,
    pub(super) device: Option<Device>,
    /// The conversions before it that it takes the place of.
    pub(super) merged: Vec<Hop>,
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, &self.backend, self.device)
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, self.backend.name(), self.device)
    }
}

fn write(f: &mut fmt::Formatter<'_>, backend: &str, device: Option<Device>) -> fmt::Result {
    match device {
        Some(device) => write!(f, "{backend} on {device}"),
        None => f.write_str(backend),
    }
}

impl Hop {
    fn find(&self, registry: &Registry) -> Result<Found> {
        let backend = registry.backend(&self.backend)?;
        let devices = backend.devices()?;
        match self.device.filter(|device| !devices.contains(device)) {
            Some(device) => Err(backend.lacks(device)),
            None => Ok(Found { backend, device: self.device, merged: Vec::new() }),
        }
    }
}

/// The conversions that lead where all of `hops` in a row would.
///
/// A conversion is left out where what comes next goes to the same place without it. Where a device
/// was not asked for, the one before may decide where the array lies: it then stays.
///
/// # Errors
///
/// Of any hop, left out or not: an unknown backend, one that cannot run here, a device it lacks.
pub(super) fn merge(hops: &[Hop], registry: &Registry) -> Result<Vec<Found>> {
    let mut needed: Vec<Found> = Vec::new();
    let mut last: Option<&Hop> = None;
    for hop in hops {
        let mut found = hop.find(registry)?;
        if let (Some(before), Some(last)) = (needed.last(), last)
            && let Some(device) = device_without(before, &found)?
        {
            found.device = device;
            found.merged.clone_from(&before.merged);
            found.merged.push(last.clone());
            needed.pop();
        }
        needed.push(found);
        last = Some(hop);
    }
    Ok(needed)
}

/// Which device `after` must ask for to lead to the same place without `before`; `None` where that is
/// not known beforehand.
fn device_without(before: &Found, after: &Found) -> Result<Option<Option<Device>>> {
    let devices = after.backend.devices()?;
    let is_host = |devices: &[Device]| devices == [Device::CPU];
    let lies_on = match before.device {
        Some(device) => Some(device),
        None => is_host(&before.backend.devices()?).then_some(Device::CPU),
    };
    Ok(if after.device.is_some() || is_host(&devices) {
        Some(after.device)
    } else {
        lies_on.filter(|device| devices.contains(device)).map(Some)
    })
}
