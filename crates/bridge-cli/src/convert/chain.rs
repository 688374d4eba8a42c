//! The chain of backends that every array of a file passes through.

use arraybridge::{
    Array, Backend, Convert, Copy, DataType, Device, Error, ManagedTensor, Options, Plan, Registry,
    Report,
};

use crate::args::ConversionArgs;
use crate::failure::{Failure, Outcome};

/// The backends of `--via`, and the tensor that is written in the end.
#[derive(Debug)]
pub(crate) struct Chain {
    hops: Vec<Hop>,
    last: Options,
}

#[derive(Debug)]
struct Hop {
    backend: &'static dyn Backend,
    options: Options,
}

impl Chain {
    /// Looks the backends up, and says where the cast happens: in the first backend that has the
    /// element type, else behind the last one.
    pub(crate) fn new(args: &ConversionArgs) -> Outcome<Self> {
        let registry = Registry::global()?;
        if let Some(device) = args.device {
            check_device(registry, device)?;
        }
        let mut cast = args.dtype;
        let common = Options::default().overflow(args.overflow.into());
        let policy = Copy::from(args.copy);
        let asked = |mut options: Options, cast: &mut Option<DataType>| {
            options = options.copy(policy);
            if let Some(device) = args.device {
                options = options.on(device);
            }
            if let Some(data_type) = cast.take() {
                options = options.cast(data_type);
            }
            options
        };
        let mut hops = Vec::new();
        for name in &args.via {
            let backend = registry.backend(name.trim())?;
            backend.devices()?;
            let has = |data_type: DataType| backend.native_type_for(data_type).is_ok();
            let mut here = cast.filter(|&data_type| has(data_type));
            if here.is_some() {
                cast = None;
            }
            hops.push(Hop { backend, options: asked(common, &mut here) });
        }
        let mut last = match (hops.is_empty(), policy) {
            (true, _) => asked(common, &mut cast),
            // What the backends were copied into is not copied once more for the file.
            (false, Copy::Always) => common,
            (false, policy) => common.copy(policy),
        };
        if let Some(data_type) = cast {
            last = last.cast(data_type);
        }
        Ok(Self { hops, last: last.on(Device::CPU) })
    }

    /// Passes a tensor through the backends.
    pub(crate) fn pass(&self, tensor: ManagedTensor) -> Outcome<(ManagedTensor, Vec<Report>)> {
        let registry = Registry::global()?;
        let mut array = Array::new(tensor);
        let mut reports = Vec::with_capacity(self.hops.len() + 1);
        for Hop { backend, options } in &self.hops {
            let (next, report) = registry
                .convert_reported(array, backend.name(), *options)
                .map_err(|refused| failure(refused.into()))?;
            array = next;
            reports.push(report);
        }
        let (tensor, report) = array
            .convert_reported::<ManagedTensor>(self.last)
            .map_err(|refused| failure(refused.into()))?;
        reports.push(report);
        Ok((tensor, reports))
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
    Err(Failure::usage(format!("there is no device {device} here"))
        .why(format!("the linked backends have {}", listed.join(", ")))
        .remedy("name one of them; `arraybridge doctor` says what is missing for others"))
}

/// The library's error, with advice that names this program's options.
fn failure(error: Error) -> Failure {
    let remedy = match &error {
        Error::WouldCopy { .. } => Some("leave --copy never out".to_owned()),
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
