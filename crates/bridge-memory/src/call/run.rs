//! A whole call of a function on arrays whose type is known at run time.

use bridge_core::{Array, Error, Refused, Registry, Result};

use super::options::CallOptions;
use super::parts::Arrays;
use super::session::Call;
use super::slices::Slices;
use crate::arguments::invalid;

/// Converts the arrays to the backend and the device that the options name, runs `function` on them and
/// converts what it gives: [`Array`]s, also in tuples, lists, options and maps.
///
/// ```
/// # use bridge_host as _;
/// use bridge_core::{Array, DataType, ManagedTensor, Registry};
/// use bridge_memory::call::{CallOptions, DtypeConversion, Rescale, call};
///
/// let options = CallOptions::new("gather")
///     .on("dlpack")
///     .dtype(DtypeConversion::Uint8)
///     .rescale(Rescale::Saturate);
/// let array = Array::new(ManagedTensor::from_vec(vec![-1.0_f32, 300.0], &[2])?);
/// let (array, count) = call(Registry::global()?, options, vec![array], |arrays| {
///     let [array] = &arrays[..] else { unreachable!("one was given") };
///     let tensor = array.downcast_ref::<ManagedTensor>().expect("converted to it");
///     let doubled = tensor.as_slice::<f32>()?.iter().map(|one| one * 2.0).collect();
///     Ok((Array::new(ManagedTensor::from_vec(doubled, tensor.shape())?), 2_usize))
/// })?;
/// let tensor = array.downcast::<ManagedTensor>()?;
/// assert_eq!((tensor.as_slice::<u8>()?, count), (&[0, 255][..], 2));
/// # Ok::<(), bridge_core::Error>(())
/// ```
///
/// # Errors
///
/// Arrays on different devices, where the options name none; of another backend than the options allow;
/// as [`ConvertByName::convert`](bridge_convert::ConvertByName::convert); what `function` gives, after
/// recovery where memory ran out; a result that cannot be converted, which is dropped.
///
/// The arrays come back, in their order. Before `function` runs, those up to the one that could not be
/// converted are converted, and the others as they were; once it has run, which only borrows them, all
/// are converted.
pub fn call<R: Arrays<R, M>, M>(
    registry: &Registry,
    options: CallOptions<'_>,
    arrays: Vec<Array>,
    mut function: impl FnMut(&[Array]) -> Result<R>,
) -> Result<R, Refused<Vec<Array>>> {
    let (call, arrays) = begun(registry, options, arrays)?;
    let done = call.recovering(|| function(&arrays));
    done.and_then(|result| call.result(result)).map_err(|error| Refused::new(arrays, error))
}

/// As [`call`], but `function` gets one slice of the first array along its first axis after the other,
/// with the other arrays whole, and what it gives is stacked. Element types are converted once for the
/// whole stack, so that slices stay comparable.
///
/// # Errors
///
/// As [`call`], and as [`map_slices`](bridge_convert::map_slices). The first array comes back as it was,
/// since its slices are converted and not the whole; the others as from [`call`].
pub fn call_by_slice(
    registry: &Registry,
    options: CallOptions<'_>,
    arrays: Vec<Array>,
    mut function: impl FnMut(&[Array]) -> Result<Array>,
) -> Result<Array, Refused<Vec<Array>>> {
    let (call, mut slices, mut arguments) = cut(registry, options, arrays)?;
    let done = (|| {
        while let Some(slice) = slices.next_slice::<Array, _>()? {
            arguments.insert(0, slice);
            let done = call.recovering(|| function(&arguments));
            arguments.remove(0);
            slices.push(done?)?;
        }
        call.result(slices.finish()?)
    })();
    done.map_err(|error| put_together(slices, arguments, error))
}

/// A call that arrays have been looked at and converted for.
pub(super) fn begun<'a>(
    registry: &'a Registry,
    options: CallOptions<'a>,
    arrays: Vec<Array>,
) -> Result<(Call<'a>, Vec<Array>), Refused<Vec<Array>>> {
    match looked_at(registry, options, &arrays) {
        Ok(call) => call.arguments(arrays).map(|arrays| (call, arrays)),
        Err(error) => Err(Refused::new(arrays, error)),
    }
}

/// A call that cuts the first array, and the others, converted.
pub(super) fn cut<'a>(
    registry: &'a Registry,
    options: CallOptions<'a>,
    arrays: Vec<Array>,
) -> Result<(Call<'a>, Slices<'a>, Vec<Array>), Refused<Vec<Array>>> {
    let call = match looked_at(registry, options, &arrays) {
        Ok(call) => call,
        Err(error) => return Err(Refused::new(arrays, error)),
    };
    let mut arrays = arrays.into_iter();
    let Some(first) = arrays.next() else {
        let error = invalid("the number of arrays", &0, "one is needed to cut");
        return Err(Refused::new(Vec::new(), error));
    };
    let others = match call.arguments(arrays.collect()) {
        Ok(others) => others,
        Err(refused) => return Err(refused.map(|others| with_first(first, others))),
    };
    match call.slices(first) {
        Ok(slices) => Ok((call, slices, others)),
        Err(refused) => Err(refused.map(|first| with_first(first, others))),
    }
}

/// All arrays of a call that failed.
pub(super) fn put_together(
    slices: Slices<'_>,
    others: Vec<Array>,
    error: Error,
) -> Refused<Vec<Array>> {
    Refused::new(with_first(slices.into_array(), others), error)
}

fn with_first(first: Array, mut others: Vec<Array>) -> Vec<Array> {
    others.insert(0, first);
    others
}

fn looked_at<'a>(
    registry: &'a Registry,
    options: CallOptions<'a>,
    arrays: &[Array],
) -> Result<Call<'a>> {
    let mut call = Call::new(registry, options);
    for (index, array) in arrays.iter().enumerate() {
        call.look_at::<_, Array, _>(&format!("array {index}"), array)?;
    }
    call.check_devices()?;
    Ok(call)
}
