//! From two given values.

use std::sync::atomic::{AtomicUsize, Ordering};

use bridge_core::{DataType, Error, ManagedTensor, Options, Overflow, Result};

use super::blocks::new_tensor;
use super::numbers::{Real, Span, Whole, spread as spread_one};
use super::run::first;
use super::{Rescaled, as_floats};
use crate::new_tensor::to_data_type_with;

/// Puts the numbers from `low` to `high` on the whole range of the integer type `to`, to the nearest, or from 0 to 1
/// where `to` is a float; what lies outside becomes the nearer end. It computes in `f64`. NaN stays in a float.
///
/// `low` and `high` are finite and `low < high`. Of `options` the pool and the interrupt count, as
/// [`to_data_type_with`](crate::to_data_type_with) says: what it makes, and what it widens first, lies in the pool's memory.
///
/// # Errors
///
/// [`Error::NoCast`] for complex numbers and where `to` is neither an integer nor a float type,
/// and as [`to_data_type_with`](crate::to_data_type_with). NaN for an integer is an answer of its own.
pub fn spread(
    source: &ManagedTensor,
    to: DataType,
    (low, high): (f64, f64),
    options: &Options<'_>,
) -> Result<Rescaled> {
    let from = source.data_type();
    if !(to.is_integer() || to.is_float()) || from.is_complex() {
        let reason = "a range has real numbers at both ends: rescale real numbers".to_owned();
        return Err(Error::NoCast { from, to, reason });
    }
    let span = f64::span(low, high);
    match from {
        // They widen one by one: as a tensor they would take twice the memory.
        DataType::F32 => {
            as_floats(source, from, options, |read| spread_from::<f32>(read, to, span, options))
        }
        _ => as_floats(source, DataType::F64, options, |read| {
            spread_from::<f64>(read, to, span, options)
        }),
    }
}

fn spread_from<F: Real>(
    source: &ManagedTensor,
    to: DataType,
    span: Span<f64>,
    options: &Options<'_>,
) -> Result<Rescaled> {
    if let Some(made) = with_whole!(to, T => spread_over::<F, T>(source, to, span, options)) {
        return made;
    }
    let places = new_tensor(source, DataType::F64, options, |run| {
        // SAFETY: `new_tensor` gives runs of as many numbers, of `F` and of `f64`.
        unsafe { run.make(move |value: F| span.place_of(value.wide())) };
    })?;
    Ok(Rescaled::Made(match to {
        DataType::F64 => places,
        _ => to_data_type_with(&places, to, Overflow::Saturate, options)?,
    }))
}

fn spread_over<F: Real, T: Whole>(
    source: &ManagedTensor,
    to: DataType,
    span: Span<f64>,
    options: &Options<'_>,
) -> Result<Rescaled> {
    let missing = AtomicUsize::new(usize::MAX);
    let made = new_tensor(source, to, options, |run| {
        // SAFETY: `new_tensor` gives runs of as many numbers, of `F` and of `T`.
        let has_all = unsafe {
            run.make(move |value: F| spread_one::<T>(span.place_of(value.wide())));
            run.all_are::<F>(|value| !value.is_nan())
        };
        if !has_all {
            missing.fetch_min(run.place, Ordering::Relaxed);
        }
    })?;
    match missing.into_inner() {
        usize::MAX => Ok(Rescaled::Made(made)),
        block => Ok(first(source, block, F::is_nan)),
    }
}
