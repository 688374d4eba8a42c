//! Import against `Accepts`: what keeps it is taken as it is, what does not comes back.

use bridge_core::{
    Access, Array, DataType, Device, DeviceKind, ManagedTensor, NativeType, Refused, Runtime,
};

use super::cases::{
    Case, Expected, Wanted, all_natives, any_backing, devices_of, for_each_case, refusal_reason,
};
use super::outcome::{Check, Findings, ensure};
use super::subject::{Place, Subject, exported};
use crate::counting::DropCounter;
use crate::effort::sampled;
use crate::fake_accelerator::{DEVICES, FakeAccelerator};
use crate::samples::{Arrangement, Backing};

pub(super) fn accepted_tensors_are_taken_without_a_copy(
    subject: &Subject,
    findings: &mut Findings,
) {
    let Some(devices) = subject.devices_or_report(findings) else {
        return;
    };
    for_each_case(&devices, &all_natives(subject), &Wanted::ALL, |case| {
        findings.case(&case, || taken(subject, &case));
    });
    for native in all_natives(subject) {
        let (accepts, types) = (native.accepts(), native.accepts().data_types());
        let (lowest, highest) = accepts.rank_limits();
        let backing = any_backing(accepts);
        for arrangement in Arrangement::of_other_sizes(lowest, highest) {
            for device in devices_of(accepts, &devices) {
                let data_type = types[arrangement.room() % types.len()];
                let arrangement = arrangement.clone();
                let case = Case { native, device, data_type, arrangement, backing };
                findings.case(&case, || taken(subject, &case));
            }
        }
    }
}

fn taken(subject: &Subject, case: &Case) -> Check {
    let Some(sample) = case.sample(subject)? else {
        return Ok(());
    };
    if refusal_reason(case.native.accepts(), &sample.tensor.describe()).is_some() {
        return Ok(());
    }
    let expected = Expected::of(&sample);
    let array = Array::import(sample.tensor, case.native)
        .map_err(|refused| format!("it keeps ACCEPTS and was refused: {refused}"))?;
    let tensor = exported(array)?;
    expected.check_place(&tensor).map_err(|found| {
        format!("it keeps ACCEPTS and was copied, which import must never do: {found}")
    })?;
    expected.check(subject, &tensor)
}

pub(super) fn other_tensors_come_back_unharmed(subject: &Subject, findings: &mut Findings) {
    let Some(devices) = subject.devices_or_report(findings) else {
        return;
    };
    for_each_case(&devices, &all_natives(subject), &Wanted::ALL, |case| {
        findings.case(&case, || {
            let Some(sample) = case.sample(subject)? else {
                return Ok(());
            };
            let expected = Expected::of(&sample);
            refused(subject, case.native, sample.tensor, &expected, sample.drops.as_ref())
        });
    });
    for native in all_natives(subject) {
        let (lowest, highest) = native.accepts().rank_limits();
        let ranks = [lowest.checked_sub(1), highest.checked_add(1)];
        for rank in ranks.into_iter().flatten().filter(|&rank| rank <= 5) {
            let data_type = native.accepts().data_types()[0];
            other_cases(subject, findings, native, data_type, &Arrangement::of_rank(rank)[0]);
        }
        let foreign = DeviceKind::Extension;
        if !native.accepts().device_kinds().contains(&foreign) {
            findings.case(format!("{}: memory of another backend's device", native.name()), || {
                other_device(native)
            });
        }
        let lacked = DataType::NAMED.iter().filter(|one| !native.accepts().has(**one));
        for &&data_type in sampled(&lacked.collect::<Vec<_>>(), 4) {
            let plain = &Arrangement::of_rank(2.clamp(lowest, highest))[0];
            other_cases(subject, findings, native, data_type, plain);
        }
    }
}

/// Host tensors of a rank or an element type that the array type lacks.
fn other_cases(
    subject: &Subject,
    findings: &mut Findings,
    native: &'static NativeType,
    data_type: DataType,
    arrangement: &Arrangement,
) {
    for backing in Backing::ALL {
        let device = Device::CPU;
        let arrangement = arrangement.clone();
        let case = Case { native, device, data_type, arrangement, backing };
        findings.case(&case, || {
            let Some(sample) = case.sample(subject)? else {
                return Ok(());
            };
            let expected = Expected::of(&sample);
            refused(subject, native, sample.tensor, &expected, sample.drops.as_ref())
        });
    }
}

/// A tensor on a device that the array type does not know.
fn other_device(native: &'static NativeType) -> Check {
    let (lowest, highest) = native.accepts().rank_limits();
    let arrangement = Arrangement::of_rank(2.clamp(lowest, highest)).swap_remove(0);
    let upload = |base: ManagedTensor| FakeAccelerator.transfer(&base, DEVICES[0]);
    let data_type = native.accepts().data_types()[0];
    let made = arrangement.sample_with(data_type, Backing::RustOwner, Access::Exclusive, upload);
    let Some(sample) = made.map_err(|refused| refused.to_string())? else { return Ok(()) };
    let place = Place::of(&sample.tensor);
    let back = match Array::import(sample.tensor, native) {
        Err(refused) => refused.into_value(),
        Ok(_) => return Err("it was taken although ACCEPTS excludes its device".to_owned()),
    };
    ensure(Place::of(&back) == place, || "the tensor came back elsewhere".to_owned())?;
    drop(back);
    let times = sample.drops.map_or(1, |drops| drops.drops());
    ensure(times == 1, || format!("the owner was dropped {times} times, not once"))
}

fn refused(
    subject: &Subject,
    native: &'static NativeType,
    tensor: ManagedTensor,
    expected: &Expected,
    drops: Option<&DropCounter>,
) -> Check {
    let before = tensor.describe();
    let Some(why) = refusal_reason(native.accepts(), &before) else {
        return Ok(());
    };
    let Err(refused) = Array::import(tensor, native) else {
        return Err(format!("it was taken although ACCEPTS excludes {why}"));
    };
    ensure(!refused.error().to_string().is_empty(), || "the refusal says nothing".to_owned())?;
    let back = Refused::into_value(refused);
    if let Some(drops) = drops {
        ensure(drops.drops() == 0, || "the owner of a refused tensor was dropped".to_owned())?;
    }
    let after = back.describe();
    ensure(before == after, || format!("the tensor came back changed: {before:?} to {after:?}"))?;
    ensure(Place::of(&back) == expected.place, || "the tensor came back elsewhere".to_owned())?;
    expected.check_same(subject, &back)?;
    drop(back);
    match drops.map(DropCounter::drops) {
        None | Some(1) => Ok(()),
        Some(times) => Err(format!("the owner was dropped {times} times, not once")),
    }
}
