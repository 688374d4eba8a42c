//! Which layers of a model lie on which device.

use std::ops::Range;

use bridge_core::{Device, Result};

use crate::arguments::invalid;

/// Layers in order, spread over devices: each device has the layers of one range, so that activations
/// move to the next device once.
///
/// ```
/// use bridge_core::Device;
/// use bridge_memory::training::Placement;
///
/// let devices = [Device::cuda(0), Device::cuda(1)];
/// let even = Placement::even(5, &devices)?;
/// assert_eq!(even.ranges(), [0..3, 3..5]);
/// assert_eq!(even.device_of(4), Some(Device::cuda(1)));
/// // The last layer is as large as all others together.
/// let balanced = Placement::balanced(&[10, 10, 10, 30], &[(devices[0], 100), (devices[1], 100)])?;
/// assert_eq!((balanced.ranges(), balanced.largest(&[10, 10, 10, 30])), (&[0..3, 3..4][..], 30));
/// # Ok::<(), bridge_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    devices: Vec<Device>,
    ranges: Vec<Range<usize>>,
}

impl Placement {
    /// The same number of layers on each device, the first ones having one more where it does not
    /// come out even. Where there are fewer layers than devices, the last devices have none.
    ///
    /// # Errors
    ///
    /// Without a device.
    pub fn even(layers: usize, devices: &[Device]) -> Result<Self> {
        let count = some(devices.len())?;
        Ok(Self { devices: devices.to_vec(), ranges: even_ranges(layers, count) })
    }

    /// As the usual recipe for PyTorch places layer `i`: on device `i / (layers / devices)`, and what is
    /// left on the last one. With fewer layers than devices, where the recipe divides by zero, each
    /// of the first devices has one layer.
    ///
    /// # Errors
    ///
    /// Without a device.
    pub fn compatible(layers: usize, devices: &[Device]) -> Result<Self> {
        let count = some(devices.len())?;
        let each = (layers / count).max(1);
        let start = |place: usize| each.saturating_mul(place).min(layers);
        let end = |place: usize| if place + 1 == count { layers } else { start(place + 1) };
        let ranges = (0..count).map(|place| start(place)..end(place)).collect();
        Ok(Self { devices: devices.to_vec(), ranges })
    }

    /// Layers of these bytes on devices of these capacities, so that the device that has the most
    /// has as little as can be.
    ///
    /// # Errors
    ///
    /// Without a device, or where the layers do not fit in this order: the error names the layer that
    /// finds no room.
    pub fn balanced(layers: &[u64], devices: &[(Device, u64)]) -> Result<Self> {
        some(devices.len())?;
        let capacities: Vec<u64> = devices.iter().map(|&(_, capacity)| capacity).collect();
        let fill = |most: u64| filled(layers, capacities.iter().map(|&one| one.min(most)));
        let highest = capacities.iter().copied().max().unwrap_or(0);
        let mut best = fill(highest).map_err(|layer| {
            let bytes = layers[layer];
            let expected = format!(
                "layer {layer} of {bytes} bytes finds no room when the devices are filled in order; \
                 name larger devices, or more of them"
            );
            invalid("the capacity of the devices", &format!("{capacities:?} bytes"), &expected)
        })?;
        // The least limit that still fits, by halving: every limit above one that fits does, too.
        let (mut low, mut high) = (0, highest);
        while low < high {
            let middle = low + (high - low) / 2;
            match fill(middle) {
                Ok(ranges) => (best, high) = (ranges, middle),
                Err(_) => low = middle + 1,
            }
        }
        let devices = devices.iter().map(|&(device, _)| device).collect();
        Ok(Self { devices, ranges: best })
    }

    /// The layers of each device, in the order of the devices.
    pub fn ranges(&self) -> &[Range<usize>] {
        &self.ranges
    }

    /// Each device with its layers.
    pub fn parts(&self) -> impl Iterator<Item = (Device, Range<usize>)> + '_ {
        self.devices.iter().copied().zip(self.ranges.iter().cloned())
    }

    /// The device of a layer; `None` where there are not so many.
    pub fn device_of(&self, layer: usize) -> Option<Device> {
        self.parts().find(|(_, layers)| layers.contains(&layer)).map(|(device, _)| device)
    }

    /// The bytes on the device that has the most, for layers of these bytes.
    pub fn largest(&self, layers: &[u64]) -> u64 {
        let load = |range: &Range<usize>| {
            let held = layers.iter().skip(range.start).take(range.len());
            held.fold(0_u64, |sum, &bytes| sum.saturating_add(bytes))
        };
        self.ranges.iter().map(load).max().unwrap_or(0)
    }
}

/// Ranges of the same length, the first ones having one more where it does not come out even.
pub(super) fn even_ranges(items: usize, parts: usize) -> Vec<Range<usize>> {
    let (each, more) = (items / parts, items % parts);
    let start = |part: usize| each * part + part.min(more);
    (0..parts).map(|part| start(part)..start(part + 1)).collect()
}

/// Gives each device as many layers as it has room for. The error is the layer that is left over.
fn filled(layers: &[u64], rooms: impl Iterator<Item = u64>) -> Result<Vec<Range<usize>>, usize> {
    let mut next = 0;
    let ranges = rooms.map(|mut room| {
        let start = next;
        while let Some(left) = layers.get(next).and_then(|&bytes| room.checked_sub(bytes)) {
            room = left;
            next += 1;
        }
        start..next
    });
    let ranges = ranges.collect();
    if next == layers.len() { Ok(ranges) } else { Err(next) }
}

fn some(devices: usize) -> Result<usize> {
    if devices == 0 {
        return Err(invalid(
            "the list of devices",
            &"empty",
            "name the devices to place layers on",
        ));
    }
    Ok(devices)
}
