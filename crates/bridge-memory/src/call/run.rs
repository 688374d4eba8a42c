//! A whole call of a function on arrays whose type is known at run time.

use bridge_core::{Array, Registry, Result};

use super::options::CallOptions;
use super::parts::Arrays;
use super::session::Call;

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
/// recovery where memory ran out. The arrays are gone then.
pub fn call<R: Arrays<R, M>, M>(
    registry: &Registry,
    options: CallOptions<'_>,
    arrays: Vec<Array>,
    mut function: impl FnMut(&[Array]) -> Result<R>,
) -> Result<R> {
    let call = looked_at(registry, options, &arrays)?;
    let arrays: Vec<Array> = call.argument(arrays)?;
    let result = call.recovering(|| function(&arrays))?;
    call.result(result)
}

/// As [`call`], but `function` gets one slice of the first array along its first axis after the other,
/// with the other arrays whole, and what it gives is stacked. Element types are converted once for the
/// whole stack, so that slices stay comparable.
///
/// # Errors
///
/// As [`call`], and as [`map_slices`](bridge_convert::map_slices).
pub fn call_by_slice(
    registry: &Registry,
    options: CallOptions<'_>,
    arrays: Vec<Array>,
    mut function: impl FnMut(&[Array]) -> Result<Array>,
) -> Result<Array> {
    let call = looked_at(registry, options, &arrays)?;
    let mut arrays = arrays.into_iter();
    let Some(first) = arrays.next() else {
        return Err(crate::arguments::invalid("the number of arrays", &0, "one is needed to cut"));
    };
    let mut arguments: Vec<Array> = call.argument(arrays.collect::<Vec<_>>())?;
    let stacked = call.each_slice(first, |slice: Array| {
        arguments.insert(0, slice);
        let done = call.recovering(|| function(&arguments));
        arguments.remove(0);
        done
    })?;
    call.result(stacked)
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
