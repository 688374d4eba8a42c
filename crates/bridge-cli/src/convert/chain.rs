//! The chain of backends that every array of a file passes through.

use arraybridge::ConvertByName;
use arraybridge::memory::budget::Reservation;
use arraybridge::{
    Array, Backend, Convert, DataType, Device, Error, ManagedTensor, Options, Plan, Registry,
    Report,
};

use crate::args::{ConversionArgs, CopyArg};
use crate::failure::{Failure, Outcome};
use crate::room::Room;

/// The backends of `--via`, and the tensor that is written in the end.
#[derive(Debug)]
pub(crate) struct Chain {
    hops: Vec<Hop>,
    last: Options<'static>,
}

/// What came out of the backends.
pub(crate) struct Passed {
    pub(crate) tensor: ManagedTensor,
    pub(crate) reports: Vec<Report>,
    /// The room that the tensor has, where it is not in the memory that it was read into.
    pub(crate) held: Option<Reservation>,
}

#[derive(Debug)]
struct Hop {
    backend: &'static dyn Backend,
    options: Options<'static>,
}

impl Chain {
    /// Looks the backends up, and says where the cast happens: as early as all backends from there on
    /// have the element type, else behind the last one.
    pub(crate) fn new(args: &ConversionArgs) -> Outcome<Self> {
        let registry = Registry::global()?;
        if let Some(device) = args.device {
            check_device(registry, device)?;
        }
        let backends: Outcome<Vec<_>> = args
            .via
            .iter()
            .map(|name| {
                let backend = registry.backend(name.trim())?;
                backend.devices()?;
                Ok(backend)
            })
            .collect();
        let backends = backends?;
        let has_target_type = |backend: &&'static dyn Backend| {
            args.dtype.is_none_or(|data_type| backend.data_types().contains(&data_type))
        };
        let behind = backends.iter().rev().take_while(|backend| has_target_type(backend)).count();
        let cast_at = backends.len() - behind;

        let common = Options::default().overflow(args.overflow.into());
        let options_at = |place: usize, options: Options<'static>| match args.dtype {
            Some(data_type) if place == cast_at => options.cast(data_type),
            _ => options,
        };
        let asked = match args.device {
            Some(device) => common.on(device).copy(args.copy.into()),
            None => common.copy(args.copy.into()),
        };
        let last = match (backends.len(), args.copy) {
            (0, _) => asked,
            // What the backends were copied into is not copied once more for the file.
            (_, CopyArg::Always) => common,
            (_, policy) => common.copy(policy.into()),
        };
        let last = options_at(backends.len(), last).on(Device::CPU);
        let hop = |(place, backend)| Hop { backend, options: options_at(place, asked) };
        let hops = backends.into_iter().enumerate().map(hop).collect();
        Ok(Self { hops, last })
    }

    /// Passes a tensor through the backends; each conversion asks for room first.
    pub(crate) fn pass(&self, tensor: ManagedTensor, room: &Room) -> Outcome<Passed> {
        let registry = Registry::global()?;
        let mut array = Array::new(tensor);
        let mut reports = Vec::with_capacity(self.hops.len() + 1);
        let mut held = None;
        for Hop { backend, options } in &self.hops {
            let asked = room.asked();
            let (next, report) = registry
                .convert_reported(array, backend.name(), asked.options(*options))
                .map_err(|refused| failure(refused.into()))?;
            array = next;
            // What it was made of is gone, where it has memory of its own.
            held = asked.kept(&report).or(held);
            reports.push(report);
        }
        let asked = room.asked();
        let (tensor, report) = array
            .convert_reported::<ManagedTensor>(asked.options(self.last))
            .map_err(|refused| failure(refused.into()))?;
        let held = asked.kept(&report).or(held);
        reports.push(report);
        Ok(Passed { tensor, reports, held })
    }

    /// What [`pass`](Self::pass) would do with a tensor like `stand_in`: each plan, and the element
    /// type it starts from. What a backend makes of the one before it is found out by passing the
    /// stand-in through.
    pub(crate) fn plans(&self, stand_in: ManagedTensor) -> Outcome<Vec<(Plan, DataType)>> {
        let registry = Registry::global()?;
        let mut array = Array::new(stand_in);
        let mut plans = Vec::with_capacity(self.hops.len() + 1);
        for Hop { backend, options } in &self.hops {
            let plan = registry.plan(&array, backend.name(), options).map_err(failure)?;
            plans.push((plan, array.describe()?.data_type));
            array = registry
                .convert(array, backend.name(), *options)
                .map_err(|refused| failure(refused.into()))?;
        }
        let plan = array.plan_to::<ManagedTensor>(&self.last).map_err(failure)?;
        plans.push((plan, array.describe()?.data_type));
        Ok(plans)
    }
}

/// Fails where no linked backend can use the device here.
fn check_device(registry: &Registry, device: Device) -> Outcome<()> {
    let mut available = vec![Device::CPU];
    for backend in registry.available() {
        for &found in backend.devices()?.iter() {
            if !available.contains(&found) {
                available.push(found);
            }
        }
    }
    if available.contains(&device) {
        return Ok(());
    }
    let listed: Vec<String> = available.iter().map(ToString::to_string).collect();
    let mut why = format!("the linked backends have {}", listed.join(", "));
    for backend in registry.backends() {
        let runtimes = registry.runtimes_for(device.kind());
        let serves_the_kind =
            runtimes.into_iter().any(|one| one.backend().name() == backend.name());
        let lacks = || backend.devices().err().unwrap_or_else(|| backend.lacks(device));
        if serves_the_kind && let Error::Unavailable { backend, why: lack } = lacks() {
            why = format!("{why}; {backend}: {}", lack.reason);
        }
    }
    Err(Failure::usage(format!("there is no device {device} here"))
        .why(why)
        .remedy("name one of these; the command `doctor` says what others need"))
}

/// The library's error, with advice that names this program's options.
fn failure(error: Error) -> Failure {
    let remedy = match &error {
        Error::WouldCopy { .. } => Some("allow copies: leave out --copy never".to_owned()),
        Error::UnsupportedDataType { remedy, .. } => Some(match remedy {
            Some(wider) => format!("cast with --dtype {wider}, or leave that backend out of --via"),
            None => "cast with --dtype, or leave that backend out of --via".to_owned(),
        }),
        Error::ValueOutOfRange { .. } => Some(
            "cast to another type with --dtype, or allow --overflow saturate or wrap".to_owned(),
        ),
        Error::NoCast { .. } => Some("pick another --dtype".to_owned()),
        _ => None,
    };
    let failure = Failure::from(error);
    match remedy {
        Some(remedy) => failure.remedy(remedy),
        None => failure,
    }
}
