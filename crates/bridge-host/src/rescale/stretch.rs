//! From the smallest to the largest value.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use bridge_core::{DataType, Error, ManagedTensor, Options, Result};

use super::blocks::{in_parts, new_tensor};
use super::numbers::{Real, Stretch};
use super::run::{Run, first, wider};
use super::{BLOCK, Rescaled, as_floats};

/// Stretches the floats of a host tensor over the integer type `to`: the smallest becomes its smallest, the
/// largest its largest, and fractions are cut off.
///
/// It computes in `f64` where the tensor has these and in `f32` else. Signed types end 128 below their
/// largest value; `i8`, `i64` and `u64` get 0 and 1. Of `options` the pool and the interrupt count, as
/// [`to_data_type_with`](crate::to_data_type_with) says: what it makes, and what it widens first, lies in the pool's memory.
///
/// # Errors
///
/// [`Error::NoCast`] where the tensor has no floats or `to` is no integer type, and as
/// [`to_data_type_with`](crate::to_data_type_with). Values that are not finite, and all equal values, are answers of
/// their own.
pub fn stretch(source: &ManagedTensor, to: DataType, options: &Options<'_>) -> Result<Rescaled> {
    let from = source.data_type();
    if !from.is_float() || !to.is_integer() {
        let reason = "only floats are stretched, and only over integers: cast it".to_owned();
        return Err(Error::NoCast { from, to, reason });
    }
    match from {
        DataType::F64 => {
            as_floats(source, from, options, |read| stretched::<f64>(read, to, options))
        }
        _ => as_floats(source, DataType::F32, options, |read| stretched::<f32>(read, to, options)),
    }
}

fn stretched<F: Real>(
    source: &ManagedTensor,
    to: DataType,
    options: &Options<'_>,
) -> Result<Rescaled> {
    let (low, high) = match ends::<F>(source, options)? {
        Ok(Some((low, high))) if low < high => (low, high),
        Ok(_) => return Ok(Rescaled::Level),
        Err(undefined) => return Ok(undefined),
    };
    let made = with_whole!(to, T => {
        let stretch = Stretch::<F, T>::onto(low, high);
        new_tensor(source, to, options, |run| {
            // A copy that no pointer leads to: the loop need not read it again after each store.
            let own = stretch;
            // SAFETY: `new_tensor` gives runs of as many numbers, of `F` and of `T`.
            unsafe { run.make(move |value: F| value.stretched(&own)) };
        })?
    });
    Ok(made.map_or(Rescaled::Level, Rescaled::Made))
}

/// The smallest and the largest value; none where there is no value; or the first that is not finite.
///
/// # Errors
///
/// What the interrupt says.
fn ends<F: Real>(
    source: &ManagedTensor,
    options: &Options<'_>,
) -> Result<Result<Option<(F, F)>, Rescaled>> {
    let count = source.layout().element_count();
    if count == 0 {
        return Ok(Ok(None));
    }
    let found = Mutex::new(None::<(F, F)>);
    let broken = AtomicUsize::new(usize::MAX);
    in_parts(count, size_of::<F>(), options, |part| {
        let mut mine = None::<(F, F)>;
        for start in part.clone().step_by(BLOCK) {
            let run = Run::of(source, start..part.end.min(start + BLOCK));
            // SAFETY: the source has `F`s, and the run is within its elements.
            let Some((low, high)) = (unsafe { run.ends::<F>() }) else {
                broken.fetch_min(start, Ordering::Relaxed);
                return;
            };
            mine = Some(mine.map_or((low, high), |ends| wider(ends, (low, high))));
        }
        let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
        *found = match (*found, mine) {
            (Some(one), Some(other)) => Some(wider(one, other)),
            (one, other) => one.or(other),
        };
    })?;
    Ok(match broken.into_inner() {
        usize::MAX => Ok(found.into_inner().unwrap_or_else(PoisonError::into_inner)),
        block => Err(first::<F>(source, block, |value| !value.is_finite())),
    })
}
