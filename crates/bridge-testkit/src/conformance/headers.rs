//! DLPack headers of what a backend exports: true, and each with its own.

use bridge_core::dlpack::DLManagedTensorVersioned;
use bridge_core::{Access, Array, Device, ManagedTensor};

use super::cases::{Case, Expected, Wanted, all_natives, for_each_case};
use super::outcome::{Check, Findings, ensure};
use super::subject::{Subject, exported};
use crate::foreign::run_deleter;
use crate::samples::Backing;

/// The flag of dlpack.h for memory that must not be written.
const READ_ONLY: u64 = 1;

pub(super) fn dlpack_headers_tell_the_truth(subject: &Subject, findings: &mut Findings) {
    let Some(devices) = subject.devices_or_report(findings) else {
        return;
    };
    let wanted = Wanted { backings: &[Backing::Vector, Backing::RustOwner], ..Wanted::ALL };
    for native in all_natives(subject) {
        // What a header says of places and access does not depend on the element type.
        let first = native.accepts().data_types().first().copied();
        for_each_case(&devices, &[native], &wanted, |case| {
            if Some(case.data_type) != first {
                return;
            }
            for access in [Access::Exclusive, Access::ReadOnly] {
                let name = format!("{case}, {access:?}");
                findings.case(name, || one_header(subject, &case, access));
            }
            findings.case(format!("{case}, two exports"), || two_headers(subject, &case));
        });
    }
}

fn one_header(subject: &Subject, case: &Case, access: Access) -> Check {
    if access == Access::Exclusive && case.arrangement.repeats_elements() {
        return Ok(());
    }
    let Some(sample) = case.sample_with(subject, access)? else { return Ok(()) };
    let expected = Expected::of(&sample);
    let device = sample.tensor.device();
    let Ok(array) = Array::import(sample.tensor, case.native) else { return Ok(()) };
    let tensor = exported(array)?;
    let same = expected.check_place(&tensor).is_ok() && !expected.bytes.is_empty();
    // A backend may be more careful than it must.
    let read_only = tensor.access() == Access::ReadOnly || (same && access == Access::ReadOnly);
    let first = tensor.first_element().addr();
    let raw = tensor.into_dlpack();
    // SAFETY: the header was just handed out and is owned here.
    let checked = is_true(unsafe { raw.as_ref() }, &expected, device, read_only, first);
    // SAFETY: as above; it is not used any more.
    unsafe { run_deleter(raw.as_ptr()) };
    checked?;
    let times = sample.drops.map_or(1, |drops| drops.drops());
    ensure(times == 1, || format!("the owner was dropped {times} times, not once"))
}

/// Whether a header says of a tensor what is true of it.
fn is_true(
    header: &DLManagedTensorVersioned,
    expected: &Expected,
    device: Device,
    read_only: bool,
    first: usize,
) -> Check {
    let tensor = &header.dl_tensor;
    let (kind, ordinal) = (tensor.device.device_type.0, tensor.device.device_id);
    let on_host = device.kind().is_host_accessible();
    ensure(kind == device.kind() as u32 || on_host, || {
        format!("{device} became the device type {kind}")
    })?;
    ensure(ordinal == device.ordinal().cast_signed() || on_host, || {
        format!("{device} became the device id {ordinal}")
    })?;
    let rank = expected.shape.len();
    ensure(usize::try_from(tensor.ndim) == Ok(rank), || format!("the rank is {}", tensor.ndim))?;
    ensure(rank == 0 || !tensor.shape.is_null(), || "the shape is null".to_owned())?;
    ensure(rank == 0 || !tensor.strides.is_null(), || "the strides are null".to_owned())?;
    for (axis, &extent) in expected.shape.iter().enumerate() {
        // SAFETY: the shape is not null, and has `ndim` extents.
        let said = unsafe { *tensor.shape.add(axis) };
        ensure(usize::try_from(said) == Ok(extent), || {
            format!("the extent of axis {axis} is {said}, not {extent}")
        })?;
    }
    let is_empty = expected.shape.contains(&0);
    ensure(tensor.data.is_null() == is_empty, || {
        format!("the data pointer of {:?} is {:?}", expected.shape, tensor.data)
    })?;
    let place = tensor.data.addr().wrapping_add(tensor.byte_offset as usize);
    ensure(is_empty || !device.kind().has_addresses() || place == first, || {
        format!("the first element is at {place:#x}, not at {first:#x}")
    })?;
    let said = header.flags.bits() & READ_ONLY != 0;
    ensure(said == read_only, || {
        format!("it is read-only: {read_only}, and the flags are {:#x}", header.flags.bits())
    })
}

/// Two exports of one memory: when the consumer of the first is done, the second is still right.
fn two_headers(subject: &Subject, case: &Case) -> Check {
    let Some(sample) = case.sample(subject)? else { return Ok(()) };
    let expected = Expected::of(&sample);
    let device = sample.tensor.device();
    let whole = sample.tensor.into_shared();
    let handed_out = || -> Result<_, String> {
        let Ok(array) = Array::import(ManagedTensor::alias(&whole), case.native) else {
            return Ok(None);
        };
        Ok(Some(exported(array)?.into_dlpack()))
    };
    let Some(first) = handed_out()? else { return Ok(()) };
    let Some(second) = handed_out()? else { return Err("its second alias was refused".to_owned()) };
    drop(whole);
    if !device.kind().is_host_accessible() {
        // A header has no room for a stream.
        let waited = subject.runtime_of(device)?.synchronize(device);
        waited.map_err(|error| format!("synchronizing {device}: {error}"))?;
    }
    let one = first == second;
    // SAFETY: each was handed out above, and is owned here.
    let back = unsafe {
        run_deleter(first.as_ptr());
        if one {
            return Err("two exports have one header".to_owned());
        }
        ManagedTensor::from_dlpack(second.as_ptr())
    };
    let back = back.map_err(|error| format!("its DLPack tensor was refused: {error}"))?;
    expected.check(subject, &back)?;
    drop(back);
    let times = sample.drops.map_or(1, |drops| drops.drops());
    ensure(times == 1, || format!("the owner was dropped {times} times, not once"))
}
