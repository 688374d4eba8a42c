//! What becomes of values that a new element type does not hold.

use bridge_core::{
    DataType, Device, DeviceBytes, Error, Interrupt, Layout, ManagedTensor, Overflow, Registry,
    Result,
};
use bridge_host::Rescaled;

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
    rescaled_unless(None, registry, tensor, to, rescale)
}

/// As [`rescaled`]; `interrupt` is asked, while it goes on on the host, whether it shall: after every 64 MiB or so.
///
/// # Errors
///
/// As [`rescaled`], and what `interrupt` says.
pub fn rescaled_unless(
    interrupt: Option<&dyn Interrupt>,
    registry: &Registry,
    tensor: &ManagedTensor,
    to: DataType,
    rescale: Rescale,
) -> Result<ManagedTensor> {
    if tensor.device().kind().is_host_accessible() {
        return rescaled_on_host(interrupt, tensor, to, rescale);
    }
    let downloaded = registry.runtime(tensor.device())?.transfer(tensor, Device::CPU)?;
    rescaled_on_host(interrupt, &downloaded, to, rescale)
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
    let in_double = from == DataType::F64 || is_range && from != DataType::F32;
    let read_as = if in_double { DataType::F64 } else { DataType::F32 };
    let mut passing = Vec::new();
    let mut on_host = 0_u64;
    let mut read_from = found.layout.clone();
    let is_read_in_place = if found.device.kind().is_host_accessible() {
        bridge_host::is_read_in_place(tensor, read_as)
    } else {
        let runtime = registry.runtime(found.device)?;
        passing = runtime.working_memory(&found, from, Device::CPU, Overflow::Refuse);
        on_host = on_host.saturating_add(bytes_as(from)?);
        read_from = Layout::row_major(found.layout.shape())?;
        from == read_as
    };
    let mut buffers = 0;
    if !is_read_in_place {
        on_host = on_host.saturating_add(bytes_as(read_as)?);
        let read = Layout::row_major(found.layout.shape())?;
        buffers = bridge_host::working_memory((from, &read_from), (read_as, &read));
    }
    // The places in the range, before they are cast.
    let has_places = is_range && to.is_float() && to != DataType::F64;
    let places = if has_places { bytes_as(DataType::F64)? } else { 0 };
    // The buffers are gone when the result is made.
    let kept = bytes_as(to)?;
    on_host = on_host.saturating_add(places.max(buffers.saturating_sub(kept)));
    match passing.iter_mut().find(|one| one.device == Device::CPU) {
        Some(host) => host.bytes = host.bytes.saturating_add(on_host),
        None => passing.push(DeviceBytes { device: Device::CPU, bytes: on_host }),
    }
    Ok(Peaks { kept: DeviceBytes { device: Device::CPU, bytes: kept }, passing })
}

fn rescaled_on_host(
    interrupt: Option<&dyn Interrupt>,
    tensor: &ManagedTensor,
    to: DataType,
    rescale: Rescale,
) -> Result<ManagedTensor> {
    let from = tensor.data_type();
    if let Some(overflow) = rescale.as_cast(from, to) {
        return bridge_host::to_data_type_unless(interrupt, tensor, to, overflow);
    }
    let (made, must_be) = match rescale {
        Rescale::Range { low, high } => {
            require_range(low, high)?;
            (bridge_host::spread(tensor, to, (low, high), interrupt)?, "a number")
        }
        _ => (bridge_host::stretch(tensor, to, interrupt)?, "a finite number"),
    };
    match made {
        Rescaled::Made(made) => Ok(made),
        Rescaled::Level => bridge_host::to_data_type_unless(interrupt, tensor, to, Overflow::Wrap),
        Rescaled::Undefined { value, place } => Err(invalid(
            "a value to rescale",
            &format!("{value}, element {place} in row-major order"),
            &format!(
                "it must be {must_be}: replace it first, or take Rescale::Saturate, which makes zero of NaN \
                 and the nearest end of an infinity"
            ),
        )),
    }
}

fn require_range(low: f64, high: f64) -> Result<()> {
    if low.is_finite() && high.is_finite() && low < high {
        return Ok(());
    }
    let expected = "both ends must be finite numbers, the lower one below the higher";
    Err(invalid("the range to rescale from", &format!("{low} to {high}"), expected))
}
