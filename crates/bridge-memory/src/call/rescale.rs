//! What becomes of values that a new element type does not hold.

use bridge_core::{
    DataType, Device, DeviceBytes, Element, Error, Layout, ManagedTensor, Overflow, Registry,
    Result, vec_with_room, with_element_type,
};

use super::stretch::{Real, Stretch, Whole, ends, place_in, spread};
use crate::arguments::invalid;

/// What becomes of values when the element type of an array changes.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Rescale {
    /// Values keep their size; one that the type does not hold is refused, and named.
    #[default]
    Refuse,
    /// Values keep their size; what is out of range becomes the nearest end, and NaN zero in an integer.
    Saturate,
    /// Values keep their size; integers keep their low bits, as in C and NumPy.
    Wrap,
    /// Floats are stretched so that the smallest becomes the smallest of the integer type, and the largest
    /// its largest: the rule of the Python package arraybridge, to the last digit. Brightness is not kept
    /// from one array to the next.
    ///
    /// - It computes in float32, or float64 where the array has it, and rounds toward zero.
    /// - Signed types end 128 below their largest value: int16 at 32639, int32 at 2147483519.
    /// - int8, int64 and uint64 have no range there: they get 0 and 1.
    /// - An array of equal values is only cast, as are integers, and floats that stay floats; what does
    ///   not fit wraps then.
    /// - NaN and infinities are refused, and named: there, they make all values zero.
    /// - An empty array stays empty: there, it is an error.
    MinMax,
    /// `low` to `high` become the whole range of an integer type, to the nearest, and 0 to 1 in a float;
    /// what lies outside becomes the nearer end, infinities too. The same for every array, so that they
    /// stay comparable. It computes in float64. NaN is refused in an integer, and stays in a float.
    Range {
        /// What becomes the smallest value.
        low: f64,
        /// What becomes the largest.
        high: f64,
    },
}

impl Rescale {
    /// The cast that this is between two types, where it is no more than one.
    pub(super) fn as_cast(self, from: DataType, to: DataType) -> Option<Overflow> {
        match self {
            Self::Refuse => Some(Overflow::Refuse),
            Self::Saturate => Some(Overflow::Saturate),
            Self::Wrap => Some(Overflow::Wrap),
            Self::MinMax if from.is_float() && to.is_integer() => None,
            Self::MinMax => Some(Overflow::Wrap),
            Self::Range { .. } => None,
        }
    }
}

/// The array with elements of type `to`, in row-major host memory. The tensor may lie on any device
/// and have any layout.
///
/// ```
/// # use bridge_host as _;
/// use bridge_core::{DataType, ManagedTensor, Registry};
/// use bridge_memory::call::{Rescale, rescaled};
///
/// let image = ManagedTensor::from_vec(vec![0.0_f32, 0.5, 1.0], &[3])?;
/// let stretched = rescaled(Registry::global()?, &image, DataType::U16, Rescale::MinMax)?;
/// assert_eq!(stretched.as_slice::<u16>()?, [0, 32_767, 65_535]);
/// let fixed = Rescale::Range { low: 0.0, high: 2.0 };
/// let fixed = rescaled(Registry::global()?, &image, DataType::U8, fixed)?;
/// assert_eq!(fixed.as_slice::<u8>()?, [0, 64, 128]);
/// # Ok::<(), bridge_core::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::ValueOutOfRange`] under [`Rescale::Refuse`], an invalid argument for values that the rule does
/// not define (each rule says which) and for a range that is none, [`Error::NoCast`] where no cast leads
/// from one type to the other, out of memory.
pub fn rescaled(
    registry: &Registry,
    tensor: &ManagedTensor,
    to: DataType,
    rescale: Rescale,
) -> Result<ManagedTensor> {
    if tensor.device().kind().is_host_accessible() {
        return rescaled_on_host(registry, tensor, to, rescale);
    }
    let downloaded = registry.runtime(tensor.device())?.transfer(tensor, Device::CPU)?;
    rescaled_on_host(registry, &downloaded, to, rescale)
}

/// What [`rescaled`] takes by a rule that is more than a cast.
pub(super) struct Peaks {
    /// For its result.
    pub(super) kept: DeviceBytes,
    /// At most at any time beside that, on each device that it takes any on.
    pub(super) passing: Vec<DeviceBytes>,
}

/// The most memory that [`rescaled`] takes at any time, by a rule that is more than a cast.
pub(super) fn rescaled_peaks(
    registry: &Registry,
    tensor: &ManagedTensor,
    to: DataType,
    rescale: Rescale,
) -> Result<Peaks> {
    let (found, from) = (tensor.describe(), tensor.data_type());
    let bytes_as = |data_type| Ok::<_, Error>(found.layout.compact_bytes(data_type)? as u64);
    let is_range = matches!(rescale, Rescale::Range { .. });
    let computed_in = if is_range || from == DataType::F64 { DataType::F64 } else { DataType::F32 };
    let mut passing = Vec::new();
    let mut on_host = 0_u64;
    let is_read_in_place = if found.device.kind().is_host_accessible() {
        match computed_in {
            DataType::F64 => tensor.as_slice::<f64>().is_ok(),
            _ => tensor.as_slice::<f32>().is_ok(),
        }
    } else {
        let runtime = registry.runtime(found.device)?;
        passing = runtime.working_memory(&found, from, Device::CPU);
        on_host = on_host.saturating_add(bytes_as(from)?);
        from == computed_in
    };
    if !is_read_in_place {
        on_host = on_host.saturating_add(bytes_as(computed_in)?);
    }
    if is_range && to.is_float() {
        // The places in the range, before they are cast.
        on_host = on_host.saturating_add(bytes_as(DataType::F64)?);
    }
    match passing.iter_mut().find(|one| one.device == Device::CPU) {
        Some(host) => host.bytes = host.bytes.saturating_add(on_host),
        None => passing.push(DeviceBytes { device: Device::CPU, bytes: on_host }),
    }
    Ok(Peaks { kept: DeviceBytes { device: Device::CPU, bytes: bytes_as(to)? }, passing })
}

/// What `$body` gives for the integer type that is `$to`, where it is one.
macro_rules! with_whole {
    ($to:expr, $T:ident => $body:expr) => {
        with_whole!(@ $to, $T, $body; U8 = u8, U16 = u16, U32 = u32, U64 = u64, I8 = i8, I16 = i16, I32 = i32, I64 = i64,)
    };
    (@ $to:expr, $T:ident, $body:expr; $($name:ident = $type:ty,)*) => {
        match $to {
            $(DataType::$name => { type $T = $type; Some($body) })*
            _ => None,
        }
    };
}

fn rescaled_on_host(
    registry: &Registry,
    tensor: &ManagedTensor,
    to: DataType,
    rescale: Rescale,
) -> Result<ManagedTensor> {
    let from = tensor.data_type();
    if let Some(overflow) = rescale.as_cast(from, to) {
        return cast(registry, tensor, to, overflow);
    }
    match rescale {
        Rescale::Range { low, high } => in_range(registry, tensor, to, low, high),
        _ if from == DataType::F64 => min_max::<f64>(registry, tensor, to),
        _ => min_max::<f32>(registry, tensor, to),
    }
}

fn min_max<F: Real + Element + Default>(
    registry: &Registry,
    tensor: &ManagedTensor,
    to: DataType,
) -> Result<ManagedTensor> {
    let shape = tensor.shape();
    let made = with_values::<F, _>(registry, tensor, |values| {
        let ends = ends(values)
            .map_err(|place| undefined(values[place].wide(), place, "a finite number"))?;
        let Some((low, high)) = ends.filter(|(low, high)| low < high) else { return Ok(None) };
        let made = with_whole!(to, T => {
            let stretch = Stretch::onto::<T>(low, high);
            made_of(values, shape, |value| T::cut(value.stretched(&stretch).wide()))?
        });
        Ok(made)
    })?;
    match made {
        Some(made) => Ok(made),
        None => cast(registry, tensor, to, Overflow::Wrap),
    }
}

fn in_range(
    registry: &Registry,
    tensor: &ManagedTensor,
    to: DataType,
    low: f64,
    high: f64,
) -> Result<ManagedTensor> {
    if !(low.is_finite() && high.is_finite() && low < high) {
        let expected = "both ends must be finite numbers, the lower one below the higher";
        return Err(invalid("the range to rescale from", &format!("{low} to {high}"), expected));
    }
    let (from, shape) = (tensor.data_type(), tensor.shape());
    if !(to.is_integer() || to.is_float()) || from.is_complex() {
        let reason = "a range has real numbers at both ends: rescale real numbers".to_owned();
        return Err(Error::NoCast { from, to, reason });
    }
    with_values::<f64, _>(registry, tensor, |values| {
        let whole = with_whole!(to, T => {
            if let Some(place) = values.iter().position(|value| value.is_nan()) {
                return Err(undefined(f64::NAN, place, "a number"));
            }
            made_of(values, shape, |value| spread::<T>(place_in(low, high, value)))?
        });
        if let Some(made) = whole {
            return Ok(made);
        }
        let places: ManagedTensor = made_of(values, shape, |value| place_in(low, high, value))?;
        cast(registry, &places, to, Overflow::Saturate)
    })
}

/// The error for a value that a rule says nothing about.
fn undefined(value: f64, place: usize, must_be: &str) -> Error {
    invalid(
        "a value to rescale",
        &format!("{value}, element {place} in row-major order"),
        &format!(
            "it must be {must_be}: replace it first, or take Rescale::Saturate, which makes zero of NaN \
             and the nearest end of an infinity"
        ),
    )
}

fn cast(
    registry: &Registry,
    tensor: &ManagedTensor,
    to: DataType,
    overflow: Overflow,
) -> Result<ManagedTensor> {
    let made = with_element_type!(to, T => {
        let mut made = zeros::<T>(tensor.shape())?;
        registry.host_tools()?.cast(tensor, &mut made, overflow)?;
        made
    });
    made.ok_or_else(|| Error::NoCast {
        from: tensor.data_type(),
        to,
        reason: "no Rust type has such elements: ask for another type".to_owned(),
    })
}

/// What `read` makes of the elements as `F`, in row-major order. They are copied only where they are not
/// so already. Floats that are narrower than `F` widen, which is exact.
fn with_values<F: Element + Default, R>(
    registry: &Registry,
    tensor: &ManagedTensor,
    read: impl FnOnce(&[F]) -> Result<R>,
) -> Result<R> {
    if let Ok(values) = tensor.as_slice::<F>() {
        return read(values);
    }
    let mut copy = zeros::<F>(tensor.shape())?;
    registry.host_tools()?.cast(tensor, &mut copy, Overflow::Saturate)?;
    read(copy.as_slice()?)
}

fn made_of<F: Copy, T: Element>(
    values: &[F],
    shape: &[usize],
    make: impl Fn(F) -> T,
) -> Result<ManagedTensor> {
    let mut made = vec_with_room(values.len(), 0)?;
    made.extend(values.iter().map(|&value| make(value)));
    Ok(ManagedTensor::from_vec(made, shape)?)
}

fn zeros<T: Element + Default>(shape: &[usize]) -> Result<ManagedTensor> {
    let count = Layout::row_major(shape)?.element_count();
    let mut zeros = vec_with_room(count, 0)?;
    zeros.resize(count, T::default());
    Ok(ManagedTensor::from_vec(zeros, shape)?)
}
