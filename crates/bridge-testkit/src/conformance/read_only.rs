//! Read-only and shared memory.

use bridge_convert::ConvertByName;
use bridge_core::{Access, Array, CopyPolicy, Error, ManagedTensor, Options, Reason};

use super::cases::{Case, Expected, Wanted, all_natives, for_each_case, natives_by_name};
use super::outcome::{Check, Findings, ensure};
use super::subject::{Place, Subject, exported};

pub(super) fn read_only_stays_read_only(subject: &Subject, findings: &mut Findings) {
    let Some(devices) = subject.devices_or_report(findings) else {
        return;
    };
    for_each_case(&devices, &all_natives(subject), &Wanted::ALL, |case| {
        findings.case(format!("{case}, imported read-only"), || imported(subject, &case));
    });
    for (native, data_type) in natives_by_name(subject) {
        for_each_case(&devices, &[native], &Wanted::ALL, |case| {
            if case.data_type == data_type {
                let name = format!("{case}, converted read-only");
                findings.case(name, || converted(subject, &case));
            }
        });
    }
}

fn imported(subject: &Subject, case: &Case) -> Check {
    let Some(sample) = case.sample_with(subject, Access::ReadOnly)? else {
        return Ok(());
    };
    let expected = Expected::of(&sample);
    match Array::import(sample.tensor, case.native) {
        Ok(array) => still_read_only(&exported(array)?, &expected),
        Err(refused) => still_read_only(&refused.into_value(), &expected),
    }
}

fn converted(subject: &Subject, case: &Case) -> Check {
    let convert = |options: Options| -> Result<_, String> {
        let Some(sample) = case.sample_with(subject, Access::ReadOnly)? else {
            return Ok(None);
        };
        let expected = Expected::of(&sample);
        let result = subject.registry.convert(Array::new(sample.tensor), subject.name, options);
        Ok(Some((result, expected)))
    };
    let Some((result, expected)) = convert(Options::default())? else {
        return Ok(());
    };
    let tensor = exported(result.map_err(|refused| refused.to_string())?)?;
    still_read_only(&tensor, &expected)?;
    expected.check(subject, &tensor)?;

    let may_write = case.native.accepts().may_write_read_only();
    let never = Options::default().copy(CopyPolicy::Never);
    let Some((result, expected)) = convert(never)? else {
        return Ok(());
    };
    match result {
        Ok(_) if may_write => {
            return Err("a type that ignores the flag took it under CopyPolicy::Never".to_owned());
        }
        Ok(array) => still_read_only(&exported(array)?, &expected)?,
        Err(refused) => {
            let (array, error) = refused.into_parts();
            let named = matches!(&error, Error::WouldCopy { declined, .. }
                if declined.iter().any(|one| one.reason == Reason::ReadOnly));
            ensure(named || !may_write, || format!("the error does not say why: {error}"))?;
            still_read_only(&exported(array)?, &expected)?;
        }
    }
    // Who opts in by name gets the memory; who is honest about the flag keeps it all the same.
    // SAFETY: nothing here writes to what is converted.
    let promised = unsafe { never.ignore_read_only() };
    let Some((result, expected)) = convert(promised)? else {
        return Ok(());
    };
    match result {
        Ok(array) if may_write => expected.check_same(subject, &exported(array)?),
        Ok(array) => still_read_only(&exported(array)?, &expected),
        Err(refused) => expected.check_same(subject, &exported(refused.into_value())?),
    }
}

/// Where the memory is the same, nobody may write to it.
fn still_read_only(tensor: &ManagedTensor, expected: &Expected) -> Check {
    let same = Place::of(tensor) == expected.place && !expected.bytes.is_empty();
    ensure(!same || tensor.access() == Access::ReadOnly, || {
        format!("read-only memory came out as {:?}", tensor.access())
    })
}

pub(super) fn shared_memory_is_never_called_exclusive(subject: &Subject, findings: &mut Findings) {
    let Some(devices) = subject.devices_or_report(findings) else {
        return;
    };
    for_each_case(&devices, &all_natives(subject), &Wanted::ALL, |case| {
        findings.case(format!("{case}, shared"), || {
            let Some(sample) = case.sample_with(subject, Access::Shared)? else {
                return Ok(());
            };
            let expected = Expected::of(&sample);
            let Ok(array) = Array::import(sample.tensor, case.native) else {
                return Ok(());
            };
            not_exclusive(&exported(array)?, &expected)
        });
        findings.case(format!("{case}, two aliases"), || {
            let Some(sample) = case.sample(subject)? else {
                return Ok(());
            };
            let expected = Expected::of(&sample);
            let whole = sample.tensor.into_shared();
            let aliases = [ManagedTensor::alias(&whole), ManagedTensor::alias(&whole)];
            drop(whole);
            let arrays: Vec<Array> =
                aliases.into_iter().flat_map(|alias| Array::import(alias, case.native)).collect();
            for array in arrays {
                not_exclusive(&exported(array)?, &expected)?;
            }
            Ok(())
        });
    });
}

fn not_exclusive(tensor: &ManagedTensor, expected: &Expected) -> Check {
    let same = Place::of(tensor) == expected.place && !expected.bytes.is_empty();
    ensure(!same || tensor.access() != Access::Exclusive, || {
        "memory that others hold came out as exclusive".to_owned()
    })
}
