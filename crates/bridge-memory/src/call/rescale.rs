//! What becomes of values that a new element type does not hold.

use bridge_core::{
    Admission, DataType, Device, Error, ManagedTensor, Options, Overflow, Permit, Registry, Result,
};
use bridge_host::Rescaled;

use super::rescale_peaks::Peaks;
use crate::arguments::invalid;

/// What becomes of values when the element type of an array changes.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Rescale {
    /// Values keep their size; one that the type does not hold is refused, and named.
    #[default]
    Refuse,
    /// Values keep their size; what is out of range becomes the nearest end, and NaN zero in an integer. In a
    /// float that end is the largest finite value, where a cast under [`Overflow::Saturate`] makes an infinity;
    /// infinities stay, or become NaN where the type has none. What a call has on a device is rescaled on the host only where a value is too
    /// large.
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

/// What has to be done for a rule between two types.
#[derive(Clone, Copy)]
pub(super) enum Work {
    /// A cast, which every device can do.
    Cast(Overflow),
    /// A cast to floats, of which finite ones stay finite.
    Saturate,
    /// From the smallest to the largest value.
    Stretch,
    /// From `low` to `high`.
    Spread { low: f64, high: f64 },
}

impl Rescale {
    /// What has to be done between two types.
    pub(super) fn work(self, from: DataType, to: DataType) -> Work {
        match self {
            Self::Refuse => Work::Cast(Overflow::Refuse),
            Self::Saturate if to.is_float() && !holds_all(from, to) => Work::Saturate,
            Self::Saturate => Work::Cast(Overflow::Saturate),
            Self::Wrap => Work::Cast(Overflow::Wrap),
            Self::MinMax if from.is_float() && to.is_integer() => Work::Stretch,
            Self::MinMax => Work::Cast(Overflow::Wrap),
            Self::Range { low, high } => Work::Spread { low, high },
        }
    }
}

/// Whether no finite number of `from` is too large for the float type `to`, where that is known at once.
fn holds_all(from: DataType, to: DataType) -> bool {
    let is_whole = from.is_integer() || from == DataType::BOOL;
    match to {
        DataType::F64 => true,
        DataType::F32 => is_whole || from.bits() <= 32,
        DataType::BF16 => is_whole || from.bits() <= 16,
        DataType::F16 => is_whole && from.bits() <= 8,
        _ => from == to,
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
/// from one type to the other, out of memory, and where a budget that is registered for the program has no room.
pub fn rescaled(
    registry: &Registry,
    tensor: &ManagedTensor,
    to: DataType,
    rescale: Rescale,
) -> Result<ManagedTensor> {
    rescaled_with(registry, tensor, to, rescale, Options::default())
}

/// As [`rescaled`], with the budget, the pool and the interrupt of `options`, of which nothing else counts.
///
/// The budget, or where none is named the one that is registered for the program, is asked before anything is
/// computed, for the most that is taken at any time, until it is done. The result, and what lies between two steps, is
/// in memory of the pool, which has it back as after a [conversion](Options::pool). The interrupt is asked, while it
/// goes on on the host, after every 64 MiB or so.
///
/// ```
/// # use bridge_host as _;
/// use bridge_core::{DataType, ManagedTensor, Options, Registry};
/// use bridge_memory::budget::Budget;
/// use bridge_memory::call::{Rescale, rescaled_with};
///
/// let (registry, budget) = (Registry::global()?, Budget::new("images", 3)?);
/// let options = Options::default().within(&budget);
/// let image = ManagedTensor::from_vec(vec![-1.0_f32, 0.5, 300.0], &[3])?;
/// let bytes = rescaled_with(registry, &image, DataType::U8, Rescale::Saturate, options)?;
/// assert_eq!(bytes.as_slice::<u8>()?, [0, 0, 255]);
/// assert!(rescaled_with(registry, &image, DataType::U16, Rescale::Saturate, options).is_err());
/// # Ok::<(), bridge_core::Error>(())
/// ```
///
/// # Errors
///
/// As [`rescaled`], what the interrupt says, and where the budget has no room.
pub fn rescaled_with(
    registry: &Registry,
    tensor: &ManagedTensor,
    to: DataType,
    rescale: Rescale,
    options: Options<'_>,
) -> Result<ManagedTensor> {
    rescaled_held(registry, tensor, to, rescale, &options).map(|(made, _)| made)
}

/// As [`rescaled_with`]; also the room for the result, where anybody counts it.
pub(super) fn rescaled_held(
    registry: &Registry,
    tensor: &ManagedTensor,
    to: DataType,
    rescale: Rescale,
    options: &Options<'_>,
) -> Result<(ManagedTensor, Option<Permit>)> {
    let admission = options.admission().or(registry.admission().map(|one| one as _));
    let permits = match admission {
        Some(admission) => {
            let peaks = Peaks::of(registry, tensor, to, rescale, options)?;
            Some(admission.admit_apart(&[peaks.kept], &peaks.passing)?)
        }
        None => None,
    };
    let mut attempt = 1;
    let made = loop {
        match (attempted(registry, tensor, to, rescale, options), admission) {
            (Err(error), Some(admission)) if makes_room(admission, &error, attempt) => attempt += 1,
            (done, _) => break done?,
        }
    };
    // From here on there is only the result.
    Ok((made, permits.map(|[kept, _]| kept)))
}

fn makes_room(admission: &dyn Admission, error: &Error, attempt: u32) -> bool {
    error.out_of_memory().is_some() && admission.recover(Device::CPU, error, attempt)
}

fn attempted(
    registry: &Registry,
    tensor: &ManagedTensor,
    to: DataType,
    rescale: Rescale,
    options: &Options<'_>,
) -> Result<ManagedTensor> {
    if tensor.device().kind().is_host_accessible() {
        return rescaled_on_host(tensor, to, rescale, options);
    }
    let runtime = registry.runtime(tensor.device())?;
    let (pool, alignment) = (options.memory_source(), tensor.data_type().alignment());
    let downloaded = runtime.transfer_into(pool, alignment, tensor, Device::CPU)?;
    rescaled_on_host(&downloaded, to, rescale, options)
}

fn rescaled_on_host(
    tensor: &ManagedTensor,
    to: DataType,
    rescale: Rescale,
    options: &Options<'_>,
) -> Result<ManagedTensor> {
    let (made, must_be) = match rescale.work(tensor.data_type(), to) {
        Work::Cast(overflow) => {
            return bridge_host::to_data_type_with(tensor, to, overflow, options);
        }
        Work::Saturate => return bridge_host::saturate(tensor, to, options),
        Work::Spread { low, high } => {
            require_range(low, high)?;
            (bridge_host::spread(tensor, to, (low, high), options)?, "a number")
        }
        Work::Stretch => (bridge_host::stretch(tensor, to, options)?, "a finite number"),
    };
    match made {
        Rescaled::Made(made) => Ok(made),
        Rescaled::Level => bridge_host::to_data_type_with(tensor, to, Overflow::Wrap, options),
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
