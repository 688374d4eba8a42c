//! The most memory that the copies of a plan take at any time.

use bridge_core::{DataType, Description, Device, DeviceBytes, Result};
use bridge_tensor::Layout;
use smallvec::SmallVec;

use super::Step;
use crate::pooling::{Made, Pooling};

/// The most memory that a conversion takes at any time, on each device that it takes any on.
pub type Peaks = SmallVec<[DeviceBytes; 2]>;

/// What these steps take: each writes to new memory while that of the step before is still there;
/// the source is its owner's. `working` says what a step takes beside its result. With them, what the
/// last step makes. What a pool reserves itself is not counted.
pub(super) fn peaks(
    found: &Description,
    steps: &[Step],
    working: impl Fn(&Step, &Description, DataType, Device) -> Vec<DeviceBytes>,
    pooling: Option<Pooling<'_>>,
) -> Result<(Peaks, Option<DeviceBytes>)> {
    let mut peaks = Peaks::new();
    let mut before: Option<DeviceBytes> = None;
    let mut at = found.clone();
    let mut copying = steps.iter().filter(|step| step.copies()).peekable();
    while let Some(step) = copying.next() {
        let (data_type, device) = step.makes(at.data_type, at.device);
        let (is_last, is_empty) = (copying.peek().is_none(), at.layout.is_empty());
        let made = Made { data_type, from: at.device, to: device, is_empty, is_last };
        let reserved = pooling.is_some_and(|pooling| pooling.reserves(step, made));
        let bytes = at.layout.compact_bytes(data_type)? as u64;
        let made = (!reserved).then_some(DeviceBytes { device, bytes });
        let mut live = Peaks::new();
        for part in working(step, &at, data_type, device).into_iter().chain(made).chain(before) {
            add(&mut live, part, u64::saturating_add);
        }
        for part in live {
            add(&mut peaks, part, u64::max);
        }
        let layout = Layout::row_major(at.layout.shape())?;
        at = Description { data_type, device, layout, ..at };
        before = made;
    }
    Ok((peaks, before))
}

/// What somebody says of each device, each device once.
pub(super) fn told(parts: Vec<DeviceBytes>) -> Peaks {
    let mut peaks = Peaks::new();
    for part in parts {
        add(&mut peaks, part, u64::saturating_add);
    }
    peaks
}

/// Adds to what is there of the same device.
fn add(all: &mut Peaks, part: DeviceBytes, together: fn(u64, u64) -> u64) {
    if part.bytes == 0 {
        return;
    }
    match all.iter_mut().find(|one| one.device == part.device) {
        Some(one) => one.bytes = together(one.bytes, part.bytes),
        None => all.push(part),
    }
}
