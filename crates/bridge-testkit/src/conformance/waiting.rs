//! Devices that work later: when a result can be read.

use bridge_core::{Device, ManagedTensor, Mapping, Ownership, Rank, Runtime};

use super::outcome::{Check, Findings, ensure};
use super::subject::Subject;
use crate::effort::sampled;
use crate::oracle::{bytes_of, compare};
use crate::samples::{Arrangement, Backing};

/// Shapes of what is moved: a small one, and one that takes a while.
const SHAPES: [&[usize]; 2] = [&[3, 2], &[1 << 8, 1 << 8]];

pub(super) fn results_are_ready_when_they_say_so(subject: &Subject, findings: &mut Findings) {
    let Some(devices) = subject.devices_or_report(findings) else {
        return;
    };
    let Some(runtime) = subject.own_runtime() else {
        return; // It has no device of its own to wait for.
    };
    for device in devices.into_iter().filter(|&device| runtime.serves(device).is_some()) {
        for shape in sampled(&SHAPES, 1) {
            for (name, made) in WAYS {
                findings.case(format!("{name} {shape:?} on {device}"), || {
                    on_device(subject, runtime, device, shape, *made)
                });
            }
        }
    }
}

/// What makes a tensor on a device of one there.
type Way = fn(&dyn Runtime, ManagedTensor, Device) -> bridge_core::Result<ManagedTensor>;

const WAYS: &[(&str, Way)] = &[
    ("an upload of", |_, uploaded, _| Ok(uploaded)),
    ("a copy of", |runtime, uploaded, _| runtime.copy(&uploaded)),
    ("a transfer of", |runtime, uploaded, device| runtime.transfer(&uploaded, device)),
];

/// What a device makes is read in each way that there is. Its source is gone by then.
fn on_device(
    subject: &Subject,
    runtime: &dyn Runtime,
    device: Device,
    shape: &[usize],
    way: Way,
) -> Check {
    let data_type = subject.backend.data_types().into_iter().next().ok_or("no element type")?;
    let arrangement = Arrangement::row_major(shape);
    let Some(sample) = arrangement.sample(data_type, Backing::RustOwner) else { return Ok(()) };
    let make = || -> Result<ManagedTensor, String> {
        let uploaded = runtime.transfer(&sample.tensor, device).map_err(|e| e.to_string())?;
        way(runtime, uploaded, device).map_err(|error| error.to_string())
    };
    let expected = |found: &[u8], how: &str| {
        compare(&sample.expected, found, data_type.bits())
            .map_err(|found| format!("{how}: {found}"))
    };
    if device.kind().is_host_accessible() {
        expected(&read(runtime, &make()?, device)?, "where it lies")?;
    }
    let down = runtime.transfer(&make()?, Device::CPU).map_err(|error| error.to_string())?;
    expected(&read(runtime, &down, device)?, "copied to the host")?;
    let native = runtime.serves(device) == Some(Rank::Native);
    ensure(!native || down.describe().ownership == Ownership::Movable, || {
        "its copy on the host is no allocation that a vector could own".to_owned()
    })?;
    let made = make()?;
    if runtime.mapping(&made.describe(), Device::CPU) != Mapping::Possible {
        return Ok(());
    }
    let mapped = runtime.map(made, Device::CPU).map_err(|refused| refused.to_string())?;
    expected(&read(runtime, &mapped, device)?, "used by the host in place")
}

/// The elements of memory of the host: at once where it names no stream, else after `device` was
/// waited for.
fn read(runtime: &dyn Runtime, tensor: &ManagedTensor, device: Device) -> Result<Vec<u8>, String> {
    if tensor.stream().is_some() {
        runtime.synchronize(device).map_err(|error| format!("synchronizing {device}: {error}"))?;
    }
    Ok(bytes_of(tensor))
}
