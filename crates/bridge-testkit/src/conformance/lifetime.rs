//! Owners: dropped once, and not before the last reader is done.

use bridge_convert::ConvertByName;
use bridge_core::{Array, CopyPolicy, Device, DeviceKind, ManagedTensor, Options};

use super::cases::{
    Case, Expected, Wanted, all_natives, for_each_case, natives_by_name, refusal_reason,
};
use super::outcome::{Check, Findings, ensure};
use super::subject::{Subject, exported};
use crate::counting::DropCounter;
use crate::effort::{is_small, sampled};
use crate::foreign::{ForeignTensor, run_deleter};
use crate::samples::{Backing, Sample};

const COUNTED: Wanted =
    Wanted { every_arrangement: true, backings: &[Backing::RustOwner, Backing::ForeignDeleter] };

/// What is done with a tensor, after which its owner must have been dropped.
type Use = fn(&Subject, &Case, ManagedTensor) -> Check;

const USES: &[(&str, Use)] = &[
    ("imported and dropped", |_, case, tensor| {
        drop(Array::import(tensor, case.native));
        Ok(())
    }),
    ("imported and exported", |_, case, tensor| match Array::import(tensor, case.native) {
        Ok(array) => exported(array).map(drop),
        Err(_) => Ok(()),
    }),
    ("dropped on another thread", |_, case, tensor| {
        let imported = Array::import(tensor, case.native);
        let thread = std::thread::spawn(move || drop(imported));
        thread.join().map_err(|_| "the drop panicked".to_owned())
    }),
    ("handed to a C consumer", |_, case, tensor| {
        let Ok(array) = Array::import(tensor, case.native) else {
            return Ok(());
        };
        let raw = exported(array)?.into_dlpack();
        // SAFETY: the tensor was just handed out, and this is its only owner.
        unsafe { run_deleter(raw.as_ptr()) };
        Ok(())
    }),
    ("handed out as DLPack and in again", |_, case, tensor| {
        let Ok(array) = Array::import(tensor, case.native) else {
            return Ok(());
        };
        let raw = exported(array)?.into_dlpack();
        // SAFETY: the tensor was just handed out, valid, and this is its only owner.
        let back = unsafe { ManagedTensor::from_dlpack(raw.as_ptr()) };
        let back = back.map_err(|error| format!("its DLPack tensor was refused: {error}"))?;
        drop(Array::import(back, case.native));
        Ok(())
    }),
    ("converted, and the array dropped", |subject, _, tensor| {
        let converted =
            subject.registry.convert(Array::new(tensor), subject.name, Options::default());
        converted.map(drop).map_err(|refused| refused.to_string())
    }),
    ("copied", |subject, _, tensor| {
        let options = Options::default().copy(CopyPolicy::Always);
        let converted = subject.registry.convert(Array::new(tensor), subject.name, options);
        converted.map(drop).map_err(|refused| refused.to_string())
    }),
    ("refused for its device", |subject, _, tensor| {
        let options = Options::default().on(Device::new(DeviceKind::Hexagon, 77));
        drop(subject.registry.convert(Array::new(tensor), subject.name, options));
        Ok(())
    }),
    ("refused for a copy, or taken", |subject, _, tensor| {
        let options = Options::default().copy(CopyPolicy::Never);
        drop(subject.registry.convert(Array::new(tensor), subject.name, options));
        Ok(())
    }),
];

pub(super) fn owners_are_dropped_once(subject: &Subject, findings: &mut Findings) {
    let Some(devices) = subject.devices_or_report(findings) else {
        return;
    };
    // An owner does not know of element types.
    for &(native, data_type) in sampled(&natives_by_name(subject), 1) {
        let counted = Wanted { every_arrangement: !is_small(), ..COUNTED };
        for_each_case(&devices, &[native], &counted, |case| {
            for (name, used) in USES {
                if case.data_type == data_type {
                    findings.case(format!("{case}, {name}"), || once(subject, &case, *used));
                }
            }
        });
    }
    if is_small() {
        return; // Most array types are made by name.
    }
    // Array types that no conversion by name makes.
    for_each_case(&devices, &all_natives(subject), &COUNTED, |case| {
        for (name, used) in &USES[..5] {
            findings.case(format!("{case}, {name}"), || once(subject, &case, *used));
        }
    });
}

fn once(subject: &Subject, case: &Case, used: Use) -> Check {
    let Some(Sample { tensor, drops: Some(drops), .. }) = case.sample(subject)? else {
        return Ok(());
    };
    used(subject, case, tensor)?;
    let times = drops.drops();
    ensure(times == 1, || format!("the owner was dropped {times} times, not once"))
}

pub(super) fn arrays_outlive_their_source(subject: &Subject, findings: &mut Findings) {
    let Some(devices) = subject.devices_or_report(findings) else {
        return;
    };
    for_each_case(&devices, &all_natives(subject), &COUNTED, |case| {
        findings.case(&case, || outlives(subject, &case));
    });
}

/// The memory has a second holder, which goes away between import and reading.
fn outlives(subject: &Subject, case: &Case) -> Check {
    let Some(sample) = case.sample(subject)? else {
        return Ok(());
    };
    let expected = Expected::of(&sample);
    let whole = sample.tensor.into_shared();
    let alias = ManagedTensor::alias(&whole);
    if refusal_reason(case.native.accepts(), &alias.describe()).is_some() {
        return Ok(());
    }
    let array = Array::import(alias, case.native).map_err(|refused| refused.to_string())?;
    drop(whole);
    let dropped = sample.drops.as_ref().map_or(0, DropCounter::drops);
    ensure(dropped == 0, || "the memory went away while an array holds it".to_owned())?;
    let through_c = ForeignTensor::of(exported(array)?, &DropCounter::new()).into_managed();
    expected.check_same(subject, &through_c)?;
    drop(through_c);
    let dropped = sample.drops.as_ref().map_or(1, DropCounter::drops);
    ensure(dropped == 1, || format!("the owner was dropped {dropped} times, not once"))
}
