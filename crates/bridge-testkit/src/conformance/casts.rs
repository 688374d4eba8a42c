//! Casts: on request, with advice that works, and exact where both types hold the values.

use bridge_convert::ConvertByName;
use bridge_core::{Array, DataType, Device, Error, ManagedTensor, NativeType, Options, Overflow};

use super::cases::natives_by_name;
use super::outcome::{Check, Findings, ensure};
use super::subject::{Subject, exported};
use crate::effort::sampled;
use crate::samples::{small_numbers, tensor_of};

/// What is cast from: one type of each family and width.
const SOURCES: &[DataType] = &[
    DataType::U8,
    DataType::I16,
    DataType::I32,
    DataType::U64,
    DataType::F16,
    DataType::BF16,
    DataType::F32,
    DataType::F64,
    DataType::BOOL,
    DataType::C64,
    DataType::F8E4M3FN,
];

/// A number that an element type does not hold, and what it becomes where a cast saturates.
struct Unheld {
    from: DataType,
    number: &'static [u8],
    to: DataType,
    nearest: &'static [u8],
}

const UNHELD: &[Unheld] = &[
    Unheld {
        from: DataType::I32,
        number: &300_i32.to_ne_bytes(),
        to: DataType::U8,
        nearest: &[255],
    },
    Unheld {
        from: DataType::I32,
        number: &(-1_i32).to_ne_bytes(),
        to: DataType::U8,
        nearest: &[0],
    },
    Unheld {
        from: DataType::I64,
        number: &(1_i64 << 40).to_ne_bytes(),
        to: DataType::I32,
        nearest: &i32::MAX.to_ne_bytes(),
    },
    Unheld {
        from: DataType::F32,
        number: &3e9_f32.to_ne_bytes(),
        to: DataType::I32,
        nearest: &i32::MAX.to_ne_bytes(),
    },
    Unheld {
        from: DataType::F32,
        number: &f32::NAN.to_ne_bytes(),
        to: DataType::U8,
        nearest: &[0],
    },
];

pub(super) fn casts_happen_on_request_only(subject: &Subject, findings: &mut Findings) {
    let Some(devices) = subject.devices_or_report(findings) else {
        return;
    };
    let supported = subject.backend.data_types();
    let lacked: Vec<_> = DataType::NAMED.iter().filter(|one| !supported.contains(one)).collect();
    for &&lacked in sampled(&lacked, 2) {
        findings.case(format!("{lacked}, which it lacks"), || advice_works(subject, lacked));
    }
    for (native, to) in natives_by_name(subject) {
        for &from in sampled(SOURCES, 2) {
            findings.case(format!("cast from {from} to {to}"), || cast(subject, native, from, to));
        }
    }
    for unheld in UNHELD.iter().filter(|one| supported.contains(&one.to)) {
        let Unheld { from, number, to, .. } = unheld;
        let name = format!("a {from} of bytes {number:02x?}, which {to} does not hold");
        findings.case(format!("{name}, by name"), || unheld_by_name(subject, unheld));
        let own = |&device: &Device| subject.own_runtime()?.serves(device);
        for device in devices.iter().copied().filter(|device| own(device).is_some()) {
            findings
                .case(format!("{name}, on {device}"), || unheld_on_device(subject, unheld, device));
        }
    }
}

/// A row of ones that ends with the number, and what it becomes where the cast saturates.
fn row_of(unheld: &Unheld, shape: &[usize]) -> Option<(ManagedTensor, Vec<u8>)> {
    let others = shape.iter().product::<usize>().saturating_sub(1);
    let row = |data_type, last: &[u8]| {
        Some([crate::small_number(data_type, 1)?.repeat(others), last.to_vec()].concat())
    };
    let numbers = row(unheld.from, unheld.number)?;
    Some((tensor_of(unheld.from, shape, &numbers)?, row(unheld.to, unheld.nearest)?))
}

fn unheld_by_name(subject: &Subject, unheld: &Unheld) -> Check {
    let convert = |overflow| {
        let (tensor, nearest) = row_of(unheld, &shape_for(subject, unheld.to))?;
        let options = Options::default().cast(unheld.to).overflow(overflow);
        Some((subject.registry.convert(Array::new(tensor), subject.name, options), nearest))
    };
    let Some((refused, _)) = convert(Overflow::Refuse) else { return Ok(()) };
    let error = refused.err().ok_or("it was cast under Overflow::Refuse")?.into_parts().1;
    ensure(matches!(error, Error::ValueOutOfRange { .. }), || {
        format!("the error is not ValueOutOfRange: {error}")
    })?;
    let Some((cast, nearest)) = convert(Overflow::Saturate) else { return Ok(()) };
    let tensor = exported(cast.map_err(|refused| refused.to_string())?)?;
    crate::oracle::compare(&nearest, &subject.bytes(&tensor)?, unheld.to.bits())
}

/// Asks the device itself, which a conversion does not where the host can cast.
fn unheld_on_device(subject: &Subject, unheld: &Unheld, device: Device) -> Check {
    let runtime = subject.runtime_of(device)?;
    let &Unheld { from, to, .. } = unheld;
    let place = || -> Result<_, String> {
        let Some((tensor, nearest)) = row_of(unheld, &[7]) else { return Ok(None) };
        let placed = runtime.transfer(&tensor, device).map_err(|error| error.to_string())?;
        Ok(Some((placed, nearest)))
    };
    if runtime.casts(from, to, Overflow::Refuse)
        && let Some((placed, _)) = place()?
    {
        let cast = runtime.cast(&placed, to, Overflow::Refuse);
        ensure(cast.is_err(), || "it was cast under Overflow::Refuse".to_owned())?;
    }
    if runtime.casts(from, to, Overflow::Saturate)
        && let Some((placed, nearest)) = place()?
    {
        let cast = runtime.cast(&placed, to, Overflow::Saturate);
        let cast = cast.map_err(|error| format!("under Overflow::Saturate: {error}"))?;
        crate::oracle::compare(&nearest, &subject.bytes(&cast)?, to.bits())?;
    }
    Ok(())
}

/// An array of an element type that the backend lacks is refused with advice, comes back, and
/// converts when the advice is followed.
fn advice_works(subject: &Subject, lacked: DataType) -> Check {
    let Some((array, numbers)) = numbers(subject, lacked, lacked)? else {
        return Ok(());
    };
    let refused = match subject.registry.convert(array, subject.name, Options::default()) {
        Err(refused) => refused,
        Ok(array) => {
            let found = exported(array)?.data_type();
            return Err(format!("it was taken and silently became {found}"));
        }
    };
    let (array, error) = refused.into_parts();
    let Error::UnsupportedDataType { remedy, ref supported, .. } = error else {
        return Err(format!("the error is not UnsupportedDataType: {error}"));
    };
    ensure(!supported.is_empty(), || "the error lists no element type".to_owned())?;
    let Some(remedy) = remedy else { return Ok(()) };
    ensure(error.to_string().contains(&remedy.to_string()), || {
        format!("the text does not name the cast to {remedy}: {error}")
    })?;
    check_cast(subject, array, remedy, &numbers)
        .map_err(|found| format!("the advice to cast to {remedy} does not work: {found}"))
}

fn cast(subject: &Subject, native: &NativeType, from: DataType, to: DataType) -> Check {
    let (lowest, highest) = native.accepts().rank_limits();
    ensure(lowest <= highest, || "no rank is allowed".to_owned())?;
    let to_real = from.is_complex() && !to.is_complex();
    if to_real || to.lanes() != 1 || crate::small_number(to, 1).is_none() {
        return Ok(());
    }
    let Some((array, numbers)) = numbers(subject, from, to)? else {
        return Ok(());
    };
    check_cast(subject, array, to, &numbers)
}

/// An array of small numbers that both types hold, and the numbers.
fn numbers(
    subject: &Subject,
    from: DataType,
    to: DataType,
) -> Result<Option<(Array, Vec<u8>)>, String> {
    let is_bool = |data_type| data_type == DataType::BOOL;
    let some: &[u8] = if is_bool(from) || is_bool(to) { &[1, 0, 0, 1] } else { &[1, 3, 0, 2, 1] };
    let shape = shape_for(subject, to);
    Ok(small_numbers(from, &shape, some).map(|tensor| (Array::new(tensor), some.to_vec())))
}

fn shape_for(subject: &Subject, to: DataType) -> Vec<usize> {
    let natives = subject.backend.native_types();
    let limits = natives.iter().find(|one| one.accepts().has(to)).or(natives.first());
    let (lowest, highest) = limits.map_or((0, 2), |native| native.accepts().rank_limits());
    vec![3; 2.clamp(lowest, highest)]
}

fn check_cast(subject: &Subject, array: Array, to: DataType, numbers: &[u8]) -> Check {
    let array = subject
        .registry
        .convert(array, subject.name, Options::default().cast(to))
        .map_err(|refused| format!("the cast failed: {refused}"))?;
    let tensor = exported(array)?;
    ensure(tensor.data_type() == to, || format!("the result is {}", tensor.data_type()))?;
    let Some(expected) = small_numbers(to, tensor.shape(), numbers) else {
        return Ok(());
    };
    let found = subject.bytes(&tensor)?;
    crate::oracle::compare(&crate::bytes_of(&expected), &found, to.bits())
}
