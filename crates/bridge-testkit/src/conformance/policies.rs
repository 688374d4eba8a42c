//! Conversions by name under each copy policy.

use bridge_convert::ConvertByName;
use bridge_core::{Array, CopyPolicy, Error, ManagedTensor, Options};

use super::cases::{
    Case, Expected, Wanted, any_backing, devices_of, for_each_case, natives_by_name, refusal_reason,
};
use super::outcome::{Check, Findings, ensure};
use super::subject::{Place, Subject, exported};
use crate::samples::Arrangement;

/// Every case that a conversion by name leads to.
fn for_each_named_case(
    subject: &Subject,
    findings: &mut Findings,
    check: fn(&Subject, &Case) -> Check,
) {
    let Some(devices) = subject.devices_or_report(findings) else {
        return;
    };
    for (native, data_type) in natives_by_name(subject) {
        for_each_case(&devices, &[native], &Wanted::ALL, |case| {
            if case.data_type == data_type {
                findings.case(&case, || check(subject, &case));
            }
        });
    }
}

pub(super) fn conversions_keep_every_bit(subject: &Subject, findings: &mut Findings) {
    for_each_named_case(subject, findings, |subject, case| {
        let Some(sample) = case.sample(subject)? else {
            return Ok(());
        };
        let expected = Expected::of(&sample);
        let copied = refusal_reason(case.native.accepts(), &sample.tensor.describe());
        let array = Array::new(sample.tensor);
        let (array, report) = subject
            .registry
            .convert_reported(array, subject.name, Options::default())
            .map_err(|refused| format!("the conversion failed: {refused}"))?;
        let backend = array.descriptor().name;
        ensure(backend == subject.name, || format!("the result belongs to \"{backend}\""))?;
        let tensor = stayed(subject, array)?;
        let shared = Place::of(&tensor) == expected.place;
        if !expected.bytes.is_empty() {
            ensure(report.is_zero_copy() == shared, || {
                format!("the report \"{report}\" is wrong: memory shared is {shared}")
            })?;
            ensure(shared == copied.is_none(), || match copied {
                Some(why) => format!("it was shared although ACCEPTS excludes {why}"),
                None => format!("it keeps ACCEPTS and was copied: {report}"),
            })?;
        }
        expected.check(subject, &tensor)
    });
}

/// Converts an array to the backend it is of, which must change nothing, and exports it.
fn stayed(subject: &Subject, array: Array) -> Result<ManagedTensor, String> {
    let tensor = exported(array)?;
    let place = Place::of(&tensor);
    let native = subject.backend.native_type_for(tensor.data_type(), tensor.shape());
    let native = native.map_err(|error| error.to_string())?;
    let array = Array::import(tensor, native).map_err(|refused| refused.to_string())?;
    let (same, report) = subject
        .registry
        .convert_reported(array, subject.name, Options::default())
        .map_err(|refused| format!("converting it to its own backend failed: {refused}"))?;
    let tensor = exported(same)?;
    ensure(report.is_zero_copy() && Place::of(&tensor) == place, || {
        format!("converting it to its own backend copied: {report}")
    })?;
    Ok(tensor)
}

pub(super) fn copy_never_shares_or_gives_back(subject: &Subject, findings: &mut Findings) {
    for_each_named_case(subject, findings, |subject, case| {
        let Some(sample) = case.sample(subject)? else {
            return Ok(());
        };
        let expected = Expected::of(&sample);
        let why = refusal_reason(case.native.accepts(), &sample.tensor.describe());
        let options = Options::default().copy(CopyPolicy::Never);
        let array = Array::new(sample.tensor);
        let tensor = match subject.registry.convert(array, subject.name, options) {
            Ok(array) => exported(array)?,
            Err(refused) => {
                let (array, error) = refused.into_parts();
                ensure(why.is_some(), || format!("it keeps ACCEPTS and was refused: {error}"))?;
                ensure(matches!(error, Error::WouldCopy { .. }), || {
                    format!("the error is not WouldCopy: {error}")
                })?;
                let dropped = sample.drops.as_ref().is_some_and(|drops| drops.drops() > 0);
                ensure(!dropped, || "the owner was dropped by a refused conversion".to_owned())?;
                exported(array)?
            }
        };
        expected.check_same(subject, &tensor)
    });
    let Some(devices) = subject.devices_or_report(findings) else {
        return;
    };
    for native in subject.backend.native_types() {
        let accepts = native.accepts();
        let (lowest, highest) = accepts.rank_limits();
        let data_type = accepts.data_types()[0];
        for rank in lowest..=highest.min(4) {
            let empty = Arrangement::empty_with_any_strides(rank);
            let Some(arrangement) = empty.filter(|one| accepts.has_shape(one.shape())) else {
                continue;
            };
            for device in devices_of(accepts, &devices) {
                let (arrangement, backing) = (arrangement.clone(), any_backing(accepts));
                let case = Case { native, device, data_type, arrangement, backing };
                findings.case(&case, || empty_is_taken(subject, &case));
            }
        }
    }
}

/// Where there are no elements, there is nothing to copy, wherever they would lie.
fn empty_is_taken(subject: &Subject, case: &Case) -> Check {
    let Some(sample) = case.sample(subject)? else { return Ok(()) };
    if refusal_reason(case.native.accepts(), &sample.tensor.describe()).is_some() {
        return Ok(()); // It lies where the array type cannot be.
    }
    let expected = Expected::of(&sample);
    let options = Options::default().copy(CopyPolicy::Never);
    let converted = subject.registry.convert(Array::new(sample.tensor), subject.name, options);
    let array = converted.map_err(|refused| format!("it has no elements: {refused}"))?;
    expected.check(subject, &exported(array)?)
}

pub(super) fn copy_always_shares_nothing(subject: &Subject, findings: &mut Findings) {
    for_each_named_case(subject, findings, |subject, case| {
        let Some(sample) = case.sample(subject)? else {
            return Ok(());
        };
        let expected = Expected::of(&sample);
        let options = Options::default().copy(CopyPolicy::Always);
        let array = Array::new(sample.tensor);
        let array = subject
            .registry
            .convert(array, subject.name, options)
            .map_err(|refused| format!("the conversion failed: {refused}"))?;
        if let Some(drops) = &sample.drops {
            let times = drops.drops();
            ensure(times == 1, || {
                format!("the copy's source was dropped {times} times, not once")
            })?;
        }
        expected.check(subject, &exported(array)?)?;
        copied_from_a_live_source(subject, case)
    });
}

/// The source lives on: the copy lies elsewhere, and copying has not changed the source.
fn copied_from_a_live_source(subject: &Subject, case: &Case) -> Check {
    let Some(sample) = case.sample(subject)? else { return Ok(()) };
    let expected = Expected::of(&sample);
    let source = sample.tensor.into_shared();
    let options = Options::default().copy(CopyPolicy::Always);
    let copy = subject
        .registry
        .convert(Array::new(ManagedTensor::alias(&source)), subject.name, options)
        .map_err(|refused| format!("the conversion failed: {refused}"))?;
    let copy = exported(copy)?;
    let shared = Place::of(&copy) == expected.place && !expected.bytes.is_empty();
    ensure(!shared, || "the copy lies in the source's memory".to_owned())?;
    expected.check(subject, &copy)?;
    expected
        .check_same(subject, &ManagedTensor::alias(&source))
        .map_err(|found| format!("the source was changed: {found}"))
}
