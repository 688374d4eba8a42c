//! The chain of backends that every array of a file passes through.

use arraybridge::ConvertByName;
use arraybridge::memory::budget::Reservation;
use arraybridge::{
    Array, Backend, Convert, DataType, Device, Error, ManagedTensor, Options, Overflow, Plan,
    Registry, Report, Shape,
};

use super::casts::Casts;
use super::exactness::{Exactness, Inexact, check_booleans};
use crate::args::{ConversionArgs, CopyArg, InexactArg};
use crate::failure::{Failure, Outcome};
use crate::formats::{Array as FileArray, Format, Outgoing};
use crate::room::Room;

/// The backends of `--via`, and the tensor that is written in the end.
#[derive(Debug)]
pub(crate) struct Chain {
    hops: Vec<Hop>,
    last: Options<'static>,
    /// The hop that casts; behind the last one it is the way to the file.
    cast_at: usize,
    copies_never: bool,
    casts: Casts,
    overflow: Overflow,
    inexact: InexactArg,
}

/// What came out of the backends.
pub(crate) struct Passed {
    pub(crate) tensor: ManagedTensor,
    pub(crate) reports: Vec<Report>,
    /// How many elements the cast changed, but for the rounding of floats.
    pub(crate) inexact: u64,
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
        let hops = backends.into_iter().map(|backend| Hop { backend, options: asked }).collect();
        Ok(Self {
            hops,
            last: last.on(Device::CPU),
            cast_at,
            copies_never: matches!(args.copy, CopyArg::Never),
            casts: Casts::new(args),
            overflow: args.overflow.into(),
            inexact: args.inexact,
        })
    }

    /// The same, for so many arrays of one file.
    pub(crate) fn for_arrays(mut self, count: usize) -> Self {
        self.casts = self.casts.among(count);
        self
    }

    /// Which arrays are cast.
    pub(crate) fn casts(&self) -> Casts {
        self.casts
    }

    /// What a file of this format holds of the array, which is called so there.
    pub(crate) fn outgoing(&self, array: &FileArray, name: &str, format: Format) -> Outgoing {
        let FileArray { spec, .. } = array;
        Outgoing {
            name: name.to_owned(),
            data_type: self.casts.of(spec.data_type).unwrap_or(spec.data_type),
            shape: Shape::from_slice(spec.layout.shape()),
            order: format.order_for(&spec.layout),
        }
    }

    /// Fails where the array cannot be read without a copy, and none is allowed.
    pub(crate) fn allow_reading(&self, array: &FileArray) -> Outcome<()> {
        if self.copies_never && array.is_read_by_copy() {
            let why = if array.is_scattered() {
                "it is a field of records, and its values lie among others".to_owned()
            } else if let Some(blocks) = array.quantized_as() {
                format!("it is quantised as {blocks}, and its numbers are computed")
            } else {
                "its numbers lie in the other byte order than this machine's, and are swapped"
                    .to_owned()
            };
            return Err(Failure::new(
                "copies are forbidden, and the array is copied when it is read",
            )
            .why(why)
            .remedy("allow copies: leave out --copy never"));
        }
        Ok(())
    }

    /// The options of the hop at this place for elements that are cast to `cast`, if at all.
    fn options_at<'a>(
        &self,
        place: usize,
        options: Options<'a>,
        cast: Option<DataType>,
    ) -> Options<'a> {
        match cast {
            Some(data_type) if place == self.cast_at => options.cast(data_type),
            _ => options,
        }
    }

    /// Passes a tensor through the backends; each conversion asks for room first.
    pub(crate) fn pass(&self, tensor: ManagedTensor, room: &Room) -> Outcome<Passed> {
        let registry = Registry::global()?;
        let cast = self.casts.of(tensor.data_type());
        let (tensor, inexact) = self.count_inexact(tensor, cast, room)?;
        let mut array = Array::new(tensor);
        let mut reports = Vec::with_capacity(self.hops.len() + 1);
        let mut held = None;
        for (place, Hop { backend, options }) in self.hops.iter().enumerate() {
            let asked = room.asked();
            let options = self.options_at(place, asked.options(*options), cast);
            let (next, report) = registry
                .convert_reported(array, backend.name(), options)
                .map_err(|refused| failure(refused.into()))?;
            array = next;
            // What it was made of is gone, where it has memory of its own.
            held = asked.kept(&report).or(held);
            reports.push(report);
        }
        let asked = room.asked();
        let options = self.options_at(self.hops.len(), asked.options(self.last), cast);
        let (tensor, report) = array
            .convert_reported::<ManagedTensor>(options)
            .map_err(|refused| failure(refused.into()))?;
        let held = asked.kept(&report).or(held);
        reports.push(report);
        // A value out of range has been refused before: it is the worse loss.
        match inexact.first {
            Some(first) if self.inexact == InexactArg::Refuse => Err(first),
            _ => Ok(Passed { tensor, reports, inexact: inexact.count, held }),
        }
    }

    /// Counts the elements that the cast would change, and hands the tensor back as it was.
    fn count_inexact(
        &self,
        tensor: ManagedTensor,
        cast: Option<DataType>,
        room: &Room,
    ) -> Outcome<(ManagedTensor, Inexact)> {
        let from = tensor.data_type();
        if from == DataType::BOOL && cast.is_some() {
            return Ok((check_booleans(tensor, room)?, Inexact::default()));
        }
        match cast.and_then(|to| Exactness::of(from, to, self.overflow)) {
            Some(exactness) => exactness.count(tensor, room),
            None => Ok((tensor, Inexact::default())),
        }
    }

    /// What [`pass`](Self::pass) would do with a tensor like `stand_in`: each plan, and the element
    /// type it starts from. What a backend makes of the one before it is found out by passing the
    /// stand-in through.
    pub(crate) fn plans(&self, stand_in: ManagedTensor) -> Outcome<Vec<(Plan, DataType)>> {
        let registry = Registry::global()?;
        let cast = self.casts.of(stand_in.data_type());
        let mut array = Array::new(stand_in);
        let mut plans = Vec::with_capacity(self.hops.len() + 1);
        for (place, Hop { backend, options }) in self.hops.iter().enumerate() {
            let options = self.options_at(place, *options, cast);
            let plan = registry.plan(&array, backend.name(), &options).map_err(failure)?;
            plans.push((plan, array.describe()?.data_type));
            array = registry
                .convert(array, backend.name(), options)
                .map_err(|refused| failure(refused.into()))?;
        }
        let last = self.options_at(self.hops.len(), self.last, cast);
        let plan = array.plan_to::<ManagedTensor>(&last).map_err(failure)?;
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
            "cast to another type with --dtype, or allow it with --overflow saturate, which takes \
             the nearest value, or wrap"
                .to_owned(),
        ),
        Error::NoCast { .. } => Some("pick another --dtype".to_owned()),
        _ => None,
    };
    let failure = match &error {
        // The library's text names its own options.
        Error::ValueOutOfRange { index, value, from, to } => {
            Failure::new(format!("element {index} is {value}, which {to} cannot hold"))
                .why(format!("it is out of the range of {to}; the cast is from {from}"))
        }
        _ => Failure::from(error),
    };
    match remedy {
        Some(remedy) => failure.remedy(remedy),
        None => failure,
    }
}
