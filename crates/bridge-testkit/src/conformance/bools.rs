//! Bytes that are no `bool`: C libraries hand them over as booleans, and Rust must never see one.

use bridge_convert::ConvertByName;
use bridge_core::{Array, CopyPolicy, DataType, ManagedTensor, NativeType, Options, Refused};

use super::cases::all_natives;
use super::outcome::{Check, Findings, ensure};
use super::subject::{Subject, exported};
use crate::foreign::foreign_booleans;
use crate::samples::{Arrangement, Backing};

pub(super) fn bytes_that_are_no_bool_stay_bytes(subject: &Subject, findings: &mut Findings) {
    if subject.devices_or_report(findings).is_none() {
        return;
    }
    for native in all_natives(subject) {
        let accepts = native.accepts();
        let (lowest, highest) = accepts.rank_limits();
        let plain = Arrangement::of_rank(2.clamp(lowest, highest)).swap_remove(0);
        if !accepts.has(DataType::BOOL) || !accepts.has_shape(plain.shape()) {
            continue;
        }
        let name = native.name();
        findings.case(format!("{name}: imported"), || imported(subject, native, plain.shape()));
        for copy in [CopyPolicy::IfNeeded, CopyPolicy::Always] {
            findings.case(format!("{name}: converted with {copy:?}"), || {
                converted(subject, plain.shape(), copy)
            });
        }
        findings.case(format!("{name}: copied into an array of it"), || {
            copied_into(subject, native, &plain)
        });
    }
}

/// A tensor of booleans that has the byte 2, and its bytes.
fn booleans(shape: &[usize]) -> (ManagedTensor, Vec<u8>) {
    let count = shape.iter().product();
    let bytes: Vec<u8> = [2, 1, 0, 255].into_iter().cycle().take(count).collect();
    (foreign_booleans(&bytes, shape), bytes)
}

fn imported(subject: &Subject, native: &'static NativeType, shape: &[usize]) -> Check {
    let (tensor, bytes) = booleans(shape);
    let place = tensor.data().addr();
    match Array::import(tensor, native) {
        Ok(array) => stay_bytes(subject, exported(array)?, &bytes),
        Err(refused) => {
            let back = refused.into_value();
            ensure(back.data().addr() == place, || "it came back elsewhere".to_owned())?;
            stay_bytes(subject, back, &bytes)
        }
    }
}

fn converted(subject: &Subject, shape: &[usize], copy: CopyPolicy) -> Check {
    let (tensor, bytes) = booleans(shape);
    let options = Options::default().copy(copy);
    let converted = subject.registry.convert(Array::new(tensor), subject.name, options);
    stay_bytes(subject, exported(converted.unwrap_or_else(Refused::into_value))?, &bytes)
}

/// An exported array is written by others, and taken back.
fn copied_into(subject: &Subject, native: &'static NativeType, plain: &Arrangement) -> Check {
    let Some(sample) = plain.sample(DataType::BOOL, Backing::Vector) else { return Ok(()) };
    let Ok(array) = Array::import(sample.tensor, native) else { return Ok(()) };
    let mut target = exported(array)?;
    let (source, bytes) = booleans(plain.shape());
    if bridge_host::copy(&source, &mut target).is_err() {
        let found = subject.bytes(&target)?;
        return ensure(found.iter().all(|&byte| byte < 2), || {
            "the copy was refused, and wrote bytes that are no bool".to_owned()
        });
    }
    match Array::import(target, native) {
        Ok(array) => stay_bytes(subject, exported(array)?, &bytes),
        Err(refused) => stay_bytes(subject, refused.into_value(), &bytes),
    }
}

/// The tensor has these bytes and gives none of them out as a Rust `bool`.
fn stay_bytes(subject: &Subject, tensor: ManagedTensor, bytes: &[u8]) -> Check {
    ensure(tensor.data_type() == DataType::BOOL, || format!("it is of {}", tensor.data_type()))?;
    crate::oracle::compare(bytes, &subject.bytes(&tensor)?, 8)?;
    ensure(tensor.as_slice::<bool>().is_err(), || {
        "they are given out as a slice of bool".to_owned()
    })?;
    let Err(refused) = tensor.into_vec::<bool>() else {
        return Err("they are given out as a vector of bool".to_owned());
    };
    crate::oracle::compare(bytes, &subject.bytes(&refused.into_value())?, 8)
}
