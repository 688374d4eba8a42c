//! One cell of the matrix: a conversion that is really done, verified and timed.

use arraybridge::ConvertByName;
use std::time::{Duration, Instant};

use arraybridge::{
    Array, Backend, Convert, DataType, Device, Error, ManagedTensor, Mapping, Options, Plan,
    Registry, Report, Result, Step, TensorSpec,
};

use crate::failure::{Failure, Outcome};
use crate::formats::{bytes_of, read_tensor};
use crate::room::Room;

/// A conversion is repeated up to this often, and the best time counts.
const REPEATS: u32 = 25;

/// Slow conversions are repeated less often.
const PATIENCE: Duration = Duration::from_millis(200);

/// What is converted in every cell.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    pub(super) data_type: DataType,
    pub(super) size: usize,
}

impl Sample {
    /// A sample of `size` elements.
    pub(super) fn new(data_type: DataType, size: usize) -> Outcome<Self> {
        TensorSpec::row_major(data_type, &[size]).map_err(|error| {
            Failure::usage(format!("--size {size} is too large for {data_type}"))
                .why(error)
                .remedy("give a smaller number of elements")
        })?;
        Ok(Self { data_type, size })
    }
}

/// What was measured.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) zero_copy: bool,
    pub(super) steps: Vec<&'static str>,
    pub(super) nanoseconds: u64,
}

/// Why nothing was measured.
#[derive(Debug)]
pub(super) enum NotMeasured {
    /// No plan can be made, since a backend has no array type for the element type and the rank.
    NotApplicable(Error),
    /// The conversion failed, or came out wrong.
    Failed(Failure),
}

impl<T: Into<Failure>> From<T> for NotMeasured {
    fn from(failure: T) -> Self {
        Self::Failed(failure.into())
    }
}

/// The plan, if the backends have array types for it. What fails later than in a plan has failed.
fn applicable(plan: Result<Plan>) -> std::result::Result<Plan, NotMeasured> {
    plan.map_err(|error| match error {
        Error::UnsupportedDataType { .. }
        | Error::UnsupportedShape { .. }
        | Error::Unsupported { .. } => NotMeasured::NotApplicable(error),
        other => other.into(),
    })
}

/// Converts a sample from one backend to another, several times.
pub(super) fn measure(
    registry: &'static Registry,
    (source, target): (&dyn Backend, &dyn Backend),
    device: Device,
    sample: Sample,
) -> std::result::Result<Measured, NotMeasured> {
    let started = Instant::now();
    let mut best: Option<Measured> = None;
    for _ in 0..REPEATS {
        let now = measure_once(registry, (source, target), device, sample)?;
        if best.as_ref().is_none_or(|best| now.nanoseconds < best.nanoseconds) {
            best = Some(now);
        }
        if started.elapsed() > PATIENCE {
            break;
        }
    }
    Ok(best.ok_or_else(|| Failure::new("nothing was measured"))?)
}

fn measure_once(
    registry: &'static Registry,
    (source, target): (&dyn Backend, &dyn Backend),
    device: Device,
    sample: Sample,
) -> std::result::Result<Measured, NotMeasured> {
    let values = values(sample);
    let array = Array::new(sample_tensor(&values, sample)?);
    applicable(registry.plan(&array, source.name(), &Options::default()))?;
    let array = registry.convert(array, source.name(), Options::default())?;
    let (before, array) = place_of_array(registry, array)?;
    let options = Options::default().on(device);
    applicable(registry.plan(&array, target.name(), &options))?;

    let started = Instant::now();
    let (converted, report) = registry.convert_reported(array, target.name(), options)?;
    let nanoseconds = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);

    let (after, tensor) = place_of(registry, converted.export()?)?;
    // Without elements there is no memory to be the same.
    let zero_copy = if sample.size == 0 { report.is_zero_copy() } else { after == before };
    require_the_same(zero_copy, &report)?;
    let on_host: ManagedTensor = tensor.convert_to(Options::default().on(Device::CPU))?;
    bytes_of(on_host, &Room::new(None)?, |found| compare(&values, found))?;
    Ok(Measured { zero_copy, steps: report.steps.iter().map(Step::name).collect(), nanoseconds })
}

/// Where elements are: an address of the host, or a place on a device that the host cannot see.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    Host(*mut u8),
    Device(Device, *mut u8),
}

/// Where an array's elements are, found out by handing it over and taking it back.
fn place_of_array(registry: &Registry, array: Array) -> Outcome<(Place, Array)> {
    let native = array.native_type();
    let (place, tensor) = place_of(registry, array.export()?)?;
    Ok((place, Array::import(tensor, native)?))
}

/// Where a tensor's elements are. Memory that a device uses in place is the host's.
fn place_of(registry: &Registry, tensor: ManagedTensor) -> Outcome<(Place, ManagedTensor)> {
    let (device, first) = (tensor.device(), tensor.first_element());
    if device.kind().is_host_accessible() {
        return Ok((Place::Host(first), tensor));
    }
    let runtime = registry.runtime(device)?;
    if runtime.mapping(&tensor.describe(), Device::CPU) != Mapping::Possible {
        return Ok((Place::Device(device, first), tensor));
    }
    let on_host = runtime.map(tensor, Device::CPU)?;
    let place = Place::Host(on_host.first_element());
    Ok((place, runtime.map(on_host, device)?))
}

/// Bytes without a pattern that a wrong stride could hide in; for booleans zeros and ones.
fn values(sample: Sample) -> Vec<u8> {
    let bytes = sample.data_type.bytes_for(sample.size).unwrap_or(0);
    let mut state = 0x9e37_79b9_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let [.., byte] = state.to_le_bytes();
        if sample.data_type == DataType::BOOL { byte & 1 } else { byte }
    };
    (0..bytes).map(|_| next()).collect()
}

/// A two-dimensional tensor of these bytes that every framework could take over: a vector's.
fn sample_tensor(values: &[u8], sample: Sample) -> Outcome<ManagedTensor> {
    let rows = (1..=64).rev().find(|rows| sample.size.is_multiple_of(*rows)).unwrap_or(1);
    let shape = [rows, sample.size / rows];
    let spec = TensorSpec::row_major(sample.data_type, &shape)?;
    read_tensor(&mut &*values, spec)
}

fn require_the_same(zero_copy: bool, report: &Report) -> Outcome<()> {
    if zero_copy == report.is_zero_copy() {
        return Ok(());
    }
    let found = if zero_copy { "are" } else { "are not" };
    Err(Failure::new(format!(
        "the report says \"{report}\", but the elements {found} at the same address"
    )))
}

fn compare(wanted: &[u8], found: &[u8]) -> Outcome<()> {
    if wanted == found {
        return Ok(());
    }
    let differs = wanted.iter().zip(found).position(|(one, other)| one != other);
    Err(Failure::new(match differs {
        Some(byte) => format!("byte {byte} of the elements changed on the way"),
        None => format!("{} bytes arrived, not {}", found.len(), wanted.len()),
    }))
}
