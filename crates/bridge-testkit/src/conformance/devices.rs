//! Devices: routes between them, and those that are not there.

use bridge_convert::ConvertByName;
use bridge_convert::Step;
use bridge_core::{
    Access, Array, Backend, CopyPolicy, Device, Error, ManagedTensor, Mapping, NativeArray,
    Options, Runtime, TensorSpec,
};

use super::cases::{Case, Expected, Wanted, for_each_case, natives_by_name};
use super::outcome::{Check, Findings, ensure};
use super::subject::{Subject, exported};
use crate::effort::{is_small, sampled};
use crate::fake_accelerator::{self, FakeAccelerator, FakeArray};
use crate::samples::{Arrangement, Backing};

/// An ordinal that no machine has.
const NOT_THERE: u32 = 4_096;

pub(super) fn unknown_devices_are_refused(subject: &Subject, findings: &mut Findings) {
    if subject.devices_or_report(findings).is_none() {
        return;
    }
    let Some(&(native, data_type)) = natives_by_name(subject).first() else {
        return;
    };
    for &kind in bridge_core::DeviceKind::ALL {
        let asked = Device::new(kind, NOT_THERE);
        let managed = subject.own_kinds().contains(&kind);
        let accepted = native.accepts().device_kinds().contains(&kind);
        if accepted && !managed {
            continue; // Another backend's device, which that backend answers for.
        }
        findings.case(format!("a conversion to {asked}"), || {
            let (lowest, highest) = native.accepts().rank_limits();
            let arrangement = Arrangement::of_rank(2.clamp(lowest, highest)).swap_remove(0);
            let Some(sample) = arrangement.sample(data_type, Backing::RustOwner) else {
                return Ok(());
            };
            let expected = Expected::of(&sample);
            let options = Options::default().on(asked);
            let array = Array::new(sample.tensor);
            let (array, error) = match subject.registry.convert(array, subject.name, options) {
                Ok(_) => return Err("it succeeded".to_owned()),
                Err(refused) => refused.into_parts(),
            };
            match &error {
                Error::DeviceUnavailable { available, .. } => {
                    ensure(!available.is_empty(), || "no device is listed".to_owned())?;
                }
                Error::Unavailable { why, .. } => {
                    ensure(!why.reason.is_empty() && !why.remedy.is_empty(), || {
                        "it says neither why there is none nor what to do".to_owned()
                    })?;
                }
                Error::Unsupported { .. } if !managed => {}
                other => return Err(format!("the error is another: {other}")),
            }
            expected.check_same(subject, &exported(array)?)
        });
    }
}

pub(super) fn device_routes_are_exact(subject: &Subject, findings: &mut Findings) {
    let Some(devices) = subject.devices_or_report(findings) else {
        return;
    };
    let backings = &[Backing::RustOwner];
    let wanted = Wanted { every_arrangement: !is_small(), backings };
    for (native, data_type) in natives_by_name(subject) {
        let kinds = native.accepts().device_kinds();
        let own: Vec<Device> =
            devices.iter().copied().filter(|device| kinds.contains(&device.kind())).collect();
        for_each_case(&devices, &[native], &wanted, |case| {
            if case.data_type != data_type {
                return;
            }
            if kinds.contains(&Device::CPU.kind()) && case.device == Device::CPU {
                findings.case(format!("{case}, from another backend's device"), || {
                    from_another_device(subject, &case)
                });
            }
            for &to in sampled(&own, 2).iter().chain([&Device::CPU]) {
                let name = format!("{case}, written to memory of {to} that is given");
                findings.case(name, || written(subject, &case, to));
            }
            for &from in sampled(&own, 2) {
                for &to in sampled(&own, 2) {
                    let name = format!("{case}, from the host to {from} to {to} to the host");
                    findings.case(name, || around(subject, &case, from, to));
                }
            }
        });
    }
}

pub(super) fn memory_used_in_place_comes_back(subject: &Subject, findings: &mut Findings) {
    let Some(devices) = subject.devices_or_report(findings) else {
        return;
    };
    let wanted = Wanted { backings: &[Backing::RustOwner], ..Wanted::ALL };
    for (index, (native, data_type)) in natives_by_name(subject).into_iter().enumerate() {
        for_each_case(&devices, &[native], &wanted, |case| {
            for &device in &devices {
                if case.data_type == data_type && device.kind() == case.device.kind() {
                    let name = format!("{case}, on {device} and back");
                    findings.case(name, || there_and_back(subject, &case, device));
                    // Who may write does not depend on the element type.
                    if index == 0 {
                        each_access_in_place(subject, findings, &case, device);
                    }
                }
            }
        });
    }
}

/// As the law above says, of a runtime and not of conversions, which would copy what is refused.
fn each_access_in_place(subject: &Subject, findings: &mut Findings, case: &Case, device: Device) {
    let Some(runtime) = subject.own_runtime().filter(|one| one.serves(device).is_some()) else {
        return;
    };
    for access in [Access::Exclusive, Access::Shared, Access::ReadOnly] {
        for backing in [Backing::Vector, Backing::RustOwner] {
            let case = Case { device: Device::CPU, backing, ..case.clone() };
            let name = format!("{case}, {access:?}, in place on {device} and back");
            findings.case(name, || in_place(subject, runtime, &case, access, device));
        }
    }
}

/// What `mapping` promises `map` does, there and back, with the access that there is, and what
/// comes back is the original.
fn in_place(
    subject: &Subject,
    runtime: &dyn Runtime,
    case: &Case,
    access: Access,
    device: Device,
) -> Check {
    if access == Access::Exclusive && case.arrangement.repeats_elements() {
        return Ok(());
    }
    let Some(sample) = case.sample_with(subject, access)? else { return Ok(()) };
    let (before, expected) = (sample.tensor.describe(), Expected::of(&sample));
    if runtime.mapping(&before, device) != Mapping::Possible {
        return Ok(());
    }
    let mapped = runtime
        .map(sample.tensor, device)
        .map_err(|refused| format!("mapping promised it, and map refused: {refused}"))?;
    let found = mapped.describe();
    ensure(found.device == device, || format!("asked for {device}, it is on {}", found.device))?;
    ensure(found.layout.is_same_as(&before.layout) || !device.kind().has_addresses(), || {
        format!("its layout became {:?}", found.layout)
    })?;
    ensure(no_more_writable(&mapped, access), || {
        format!("{access:?} memory came out as {:?}", found.access)
    })?;
    ensure(runtime.mapping(&found, Device::CPU) == Mapping::Possible, || {
        format!("memory of the host cannot go back to it: {found:?}")
    })?;
    let back = runtime
        .map(mapped, Device::CPU)
        .map_err(|refused| format!("mapping promised the way back: {refused}"))?;
    ensure(no_more_writable(&back, access), || {
        format!("{access:?} memory came back as {:?}", back.access())
    })?;
    ensure(back.stream().is_none(), || "it came back before the device was done".to_owned())?;
    let after = back.describe();
    ensure(after.owner == before.owner && after.ownership == before.ownership, || {
        format!("it came back without its owner: {before:?} to {after:?}")
    })?;
    expected.check_same(subject, &back)?;
    drop(back);
    let times = sample.drops.map_or(1, |drops| drops.drops());
    ensure(times == 1, || format!("the owner was dropped {times} times, not once"))
}

/// Whether a tensor can be written no more than memory with this access.
fn no_more_writable(tensor: &ManagedTensor, most: Access) -> bool {
    match most {
        Access::Exclusive => true,
        Access::Shared => tensor.access() != Access::Exclusive,
        Access::ReadOnly => tensor.access() == Access::ReadOnly,
    }
}

/// To a device and back; where the one way was in place, the other is, and the address is the same.
fn there_and_back(subject: &Subject, case: &Case, device: Device) -> Check {
    let Some(sample) = case.arrangement.sample(case.data_type, case.backing) else {
        return Ok(());
    };
    let expected = Expected::of(&sample);
    let address = sample.tensor.first_element().addr();
    let registry = &subject.registry;
    let (array, there) = registry
        .convert_reported(Array::new(sample.tensor), subject.name, Options::default().on(device))
        .map_err(|refused| format!("to {device}: {refused}"))?;
    let in_place = |steps: &[Step]| steps.iter().any(|step| matches!(step, Step::Map { .. }));
    if !in_place(&there.steps) {
        return Ok(());
    }
    ensure(there.is_zero_copy(), || format!("in place, and yet a copy: {there}"))?;
    let (tensor, runtime) = (exported(array)?, subject.runtime_of(device)?);
    let found = tensor.describe();
    ensure(runtime.mapping(&found, Device::CPU) == Mapping::Possible, || {
        format!("memory of the host cannot go back to it: {found:?}")
    })?;
    let tensor = runtime.map(tensor, Device::CPU).map_err(|refused| refused.to_string())?;
    ensure(tensor.layout().is_empty() || tensor.first_element().addr() == address, || {
        "it came back elsewhere".to_owned()
    })?;
    expected.check(subject, &tensor)
}

/// From a device whose backend hands memory over in rows, without gaps.
fn from_another_device(subject: &Subject, case: &Case) -> Check {
    if !FakeArray::ACCEPTS.has(case.data_type) {
        return Ok(()); // A type of lanes, which has no constant of its own for the other to list.
    }
    let Some(sample) = case.arrangement.sample(case.data_type, case.backing) else {
        return Ok(());
    };
    let expected = Expected::of(&sample);
    let registry = subject.registry_with(fake_accelerator::REGISTRATIONS);
    let name = FakeAccelerator.descriptor().name;
    let array = registry
        .convert(Array::new(sample.tensor), name, Options::default())
        .map_err(|refused| format!("to \"{name}\": {refused}"))?;
    let (array, report) = registry
        .convert_reported(array, subject.name, Options::default())
        .map_err(|refused| format!("from \"{name}\": {refused}"))?;
    ensure(!report.is_zero_copy() || subject.name == name, || {
        format!("no copy was reported: {report}")
    })?;
    expected.check(subject, &exported(array)?)
}

/// What the runtime says that it writes it writes, to the memory that it is given.
fn written(subject: &Subject, case: &Case, to: Device) -> Check {
    let Some(runtime) = subject.own_runtime() else { return Ok(()) };
    if !runtime.writes(case.data_type, case.device, to) {
        return Ok(());
    }
    let Some(sample) = case.sample(subject)? else { return Ok(()) };
    let target = || {
        let spec = TensorSpec::row_major(case.data_type, sample.tensor.shape())?;
        let zeros = bridge_host::zeroed(&spec, 64)?;
        if to == Device::CPU { Ok(zeros) } else { runtime.transfer(&zeros, to) }
    };
    let target = target().map_err(|error: Error| format!("memory of {to}: {error}"))?;
    let place = target.data();
    let written = runtime.write(&sample.tensor, target);
    let written = written.map_err(|error| format!("it said that it writes there: {error}"))?;
    ensure(written.device() == to && written.data() == place, || {
        format!("it gave other memory back than it was given: {written:?}")
    })?;
    Expected::of(&sample).check(subject, &written)
}

/// From the host to one device, a copy on the other, and back.
fn around(subject: &Subject, case: &Case, from: Device, to: Device) -> Check {
    let Some(sample) = case.arrangement.sample(case.data_type, case.backing) else {
        return Ok(());
    };
    let expected = Expected::of(&sample);
    let mut array = Array::new(sample.tensor);
    for (device, copy) in
        [(from, CopyPolicy::IfNeeded), (to, CopyPolicy::IfNeeded), (to, CopyPolicy::Always)]
    {
        let before = array.describe().map_err(|error| error.to_string())?.device;
        let options = Options::default().on(device).copy(copy);
        let (done, report) = subject
            .registry
            .convert_reported(array, subject.name, options)
            .map_err(|refused| format!("to {device}: {refused}"))?;
        let tensor = exported(done)?;
        let on_host = |device: Device| device.kind().is_host_accessible();
        let arrived = tensor.device() == device || (on_host(tensor.device()) && on_host(device));
        ensure(arrived, || format!("asked for {device}, it is on {}", tensor.device()))?;
        let copied = !report.is_zero_copy();
        let mapped = report.steps.iter().any(|step| matches!(step, Step::Map { .. }));
        let must_copy =
            copy == CopyPolicy::Always || (before != device && !on_host(device) && !mapped);
        ensure(copied || !must_copy, || format!("no copy was reported: {report}"))?;
        array = Array::new(tensor);
    }
    expected.check(subject, &exported(array)?)
}
