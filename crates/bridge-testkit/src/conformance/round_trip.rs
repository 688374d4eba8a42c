//! Out and in again: the same memory, as described.

use bridge_core::{Array, alignment_of};

use super::cases::{Case, Expected, Wanted, all_natives, for_each_case, refusal_reason};
use super::outcome::{Check, Findings, ensure};
use super::subject::{Subject, exported};

pub(super) fn exports_are_taken_back(subject: &Subject, findings: &mut Findings) {
    let Some(devices) = subject.devices_or_report(findings) else {
        return;
    };
    for_each_case(&devices, &all_natives(subject), &Wanted::ALL, |case| {
        findings.case(&case, || {
            let Some((mut array, expected)) = imported(subject, &case)? else {
                return Ok(());
            };
            for _ in 0..3 {
                let tensor = exported(array)?;
                expected.check_place(&tensor)?;
                array = Array::import(tensor, case.native).map_err(|refused| {
                    format!("it refused its own export, on which failed calls rely: {refused}")
                })?;
            }
            expected.check_same(subject, &exported(array)?)
        });
    });
}

pub(super) fn describe_says_what_export_gives(subject: &Subject, findings: &mut Findings) {
    let Some(devices) = subject.devices_or_report(findings) else {
        return;
    };
    for_each_case(&devices, &all_natives(subject), &Wanted::ALL, |case| {
        findings.case(&case, || {
            let Some((array, _)) = imported(subject, &case)? else {
                return Ok(());
            };
            described(array)
        });
    });
}

/// Ownership may be described better than it turns out: the plan is then made again from the
/// export.
fn described(array: Array) -> Check {
    let said = array.describe().map_err(|error| format!("describe failed: {error}"))?;
    let tensor = exported(array)?;
    let given = tensor.describe();
    ensure(said.data_type == given.data_type, || {
        format!("it said {} and gave {}", said.data_type, given.data_type)
    })?;
    ensure(said.device == given.device, || {
        format!("it said {} and gave {}", said.device, given.device)
    })?;
    let offset = given.layout.byte_offset();
    let (layout, found) = (said.layout.at_byte_offset(offset), &given.layout);
    ensure(layout.is_same_as(found), || format!("it said {layout:?} and gave {found:?}"))?;
    ensure(said.access == given.access, || {
        format!("it said {:?} and gave {:?}", said.access, given.access)
    })?;
    // What is kept by a value of an array type goes back to it as it is.
    ensure(said.owner.is_none() || said.owner == given.owner, || {
        format!("it said that {:?} keeps it, and gave {:?}", said.owner, given.owner)
    })?;
    if given.layout.is_empty() || !given.device.kind().has_addresses() {
        return Ok(());
    }
    // Of the memory or of the first element, which comes later where strides are negative.
    let most = given.alignment.max(alignment_of(tensor.first_element()));
    ensure(said.alignment <= most, || {
        format!("it said aligned to {} bytes and gave {most}", said.alignment)
    })
}

/// An array of the case's tensor, where its type takes it.
pub(super) fn imported(
    subject: &Subject,
    case: &Case,
) -> Result<Option<(Array, Expected)>, String> {
    let Some(sample) = case.sample(subject)? else {
        return Ok(None);
    };
    if refusal_reason(case.native.accepts(), &sample.tensor.describe()).is_some() {
        return Ok(None);
    }
    let expected = Expected::of(&sample);
    let array = Array::import(sample.tensor, case.native).map_err(|refused| refused.to_string())?;
    Ok(Some((array, expected)))
}
