//! Many arrays: stacks, slices and batches.

use bridge_convert::ConvertByName;
use bridge_convert::{Batch, convert_all, map_slices, stack, unstack};
use bridge_core::{Array, DataType, Error, NativeType, Options};

use super::cases::natives_by_name;
use super::outcome::{Check, Findings, ensure};
use super::subject::{Subject, exported};
use crate::effort::{is_small, sampled};
use crate::samples::{Arrangement, Backing, Sample};

pub(super) fn stacks_come_apart_again(subject: &Subject, findings: &mut Findings) {
    if subject.devices_or_report(findings).is_none() {
        return;
    }
    for &(native, data_type) in sampled(&natives_by_name(subject), 1) {
        let (lowest, highest) = native.accepts().rank_limits();
        // A stack has a rank more than its parts.
        for rank in lowest.max(1)..=highest.min(if is_small() { 2 } else { 3 }) {
            for axis in 0..rank {
                let name = format!("{data_type} of rank {rank} along axis {axis}");
                findings
                    .case(format!("stack to {name}"), || stacked(subject, data_type, rank, axis));
                findings.case(format!("map over slices of {name}"), || {
                    mapped(subject, native, data_type, rank, axis)
                });
            }
        }
        for rank in lowest..=highest.min(2) {
            findings.case(format!("unstack to {data_type} of rank {rank}"), || {
                unstacked(subject, data_type, rank)
            });
        }
        findings.case(format!("a batch of {data_type}"), || batch(subject, native, data_type));
    }
}

fn sample(data_type: DataType, rank: usize) -> Option<Sample> {
    Arrangement::of_rank(rank).swap_remove(0).sample(data_type, Backing::RustOwner)
}

fn stacked(subject: &Subject, data_type: DataType, rank: usize, axis: usize) -> Check {
    if data_type.size_in_bytes().is_none() {
        return Ok(()); // Packed elements cannot be sliced.
    }
    let Some(one) = sample(data_type, rank - 1) else {
        return Ok(());
    };
    let count = 3;
    let arrays: Vec<Array> = (0..count)
        .filter_map(|_| sample(data_type, rank - 1))
        .map(|sample| Array::new(sample.tensor))
        .collect();
    let array = stack(&subject.registry, arrays, axis, subject.name, Options::default())
        .map_err(|refused| format!("the stack failed: {refused}"))?;
    let whole = exported(array)?;
    let mut shape = one.tensor.shape().to_vec();
    shape.insert(axis, count);
    ensure(whole.shape() == shape, || format!("{shape:?} became {:?}", whole.shape()))?;
    let parts = whole.unstack(axis).map_err(|refused| refused.to_string())?;
    for part in parts {
        crate::oracle::compare(&one.expected, &subject.bytes(&part)?, data_type.bits())?;
    }
    // Arrays that differ are refused, and every one comes back.
    let odd = Arrangement::of_rank(rank).swap_remove(0).sample(data_type, Backing::RustOwner);
    let Some(odd) = odd else { return Ok(()) };
    let arrays = vec![Array::new(one.tensor), Array::new(odd.tensor)];
    match stack(&subject.registry, arrays, 0, subject.name, Options::default()) {
        Ok(_) => Err("arrays of two shapes were stacked".to_owned()),
        Err(refused) => {
            let (arrays, error) = refused.into_parts();
            ensure(arrays.len() == 2, || format!("{} of 2 arrays came back", arrays.len()))?;
            let named = matches!(error, Error::Mismatch { what: "shape", .. });
            ensure(named, || format!("the error is not Mismatch: {error}"))
        }
    }
}

fn unstacked(subject: &Subject, data_type: DataType, rank: usize) -> Check {
    if data_type.size_in_bytes().is_none() {
        return Ok(());
    }
    let Some(whole) = sample(data_type, rank + 1) else {
        return Ok(());
    };
    let drops = whole.drops.clone();
    let parts =
        unstack(&subject.registry, Array::new(whole.tensor), 0, subject.name, &Options::default())
            .map_err(|refused| format!("the array was not taken apart: {refused}"))?;
    let count = parts.len();
    let mut bytes = Vec::new();
    for part in parts {
        let part = exported(part)?;
        ensure(part.shape().len() == rank, || format!("a slice has shape {:?}", part.shape()))?;
        bytes.extend(subject.bytes(&part)?);
    }
    ensure(count > 0, || "there are no slices".to_owned())?;
    crate::oracle::compare(&whole.expected, &bytes, data_type.bits())?;
    let times = drops.map_or(1, |drops| drops.drops());
    ensure(times == 1, || format!("the owner was dropped {times} times, not once"))
}

fn mapped(
    subject: &Subject,
    native: &NativeType,
    data_type: DataType,
    rank: usize,
    axis: usize,
) -> Check {
    let (lowest, _) = native.accepts().rank_limits();
    if data_type.size_in_bytes().is_none() || rank <= lowest {
        return Ok(());
    }
    let Some(whole) = sample(data_type, rank) else {
        return Ok(());
    };
    let convert = |array| subject.registry.convert(array, subject.name, Options::default());
    let array = convert(Array::new(whole.tensor)).map_err(|refused| refused.to_string())?;
    let count = array.describe().map_err(|error| error.to_string())?.layout.shape()[axis];
    let mut seen = 0;
    let mapped = map_slices(&subject.registry, array, axis, |slice| {
        seen += 1;
        Ok((slice, seen))
    });
    let (array, extras) = mapped.map_err(|refused| format!("mapping failed: {refused}"))?;
    ensure(extras.len() == count, || format!("{} of {count} slices", extras.len()))?;
    let found = subject.bytes(&exported(array)?)?;
    crate::oracle::compare(&whole.expected, &found, data_type.bits())
}

/// A batch with one array that cannot be converted leaves all as they were.
fn batch(subject: &Subject, native: &NativeType, data_type: DataType) -> Check {
    let (lowest, highest) = native.accepts().rank_limits();
    let rank = 1.clamp(lowest, highest);
    let make = || sample(data_type, rank).map(|sample| Array::new(sample.tensor));
    let arrays: Vec<Array> = (0..3).filter_map(|_| make()).collect();
    if arrays.len() < 3 {
        return Ok(());
    }
    let converted = convert_all(&subject.registry, arrays, subject.name, &Options::default());
    let converted = converted.map_err(|refused| refused.to_string())?;
    ensure(converted.len() == 3, || format!("{} of 3 arrays came", converted.len()))?;
    let lacked = DataType::NAMED.iter().find(|one| !subject.backend.data_types().contains(one));
    let Some(bad) = lacked.and_then(|&lacked| sample(lacked, rank)) else {
        return Ok(());
    };
    let mut arrays = converted;
    arrays.insert(1, Array::new(bad.tensor));
    match convert_all(&subject.registry, arrays, subject.name, &Options::default()) {
        Ok(_) => Err("an element type that it lacks was taken".to_owned()),
        Err(refused) => {
            let Batch { index, converted, remaining } = refused.into_value();
            let back = converted.len() + remaining.len();
            ensure(index == 1, || format!("array {index} is blamed"))?;
            ensure(back == 4, || format!("{back} of 4 arrays came back"))
        }
    }
}
