//! One call, step by step: what the attribute `on` is made of.

use std::error::Error as StdError;
use std::fmt::{self, Display};

use bridge_core::{Array, DataType, Device, Error, Refused, Registry, Result};

use super::options::CallOptions;
use super::parts::Arrays;
use super::recovery::{makes_room, recovering};
use super::slices::Slices;
use super::way::Way;
use crate::arguments::invalid;

/// One call of a function: looks at its arguments, converts them, runs it and converts what it gives.
///
/// [`call`](super::call) goes all the way, for functions on [`Array`]s. This is for functions on a
/// framework's own types:
///
/// ```
/// # use bridge_host as _;
/// use bridge_core::{ManagedTensor, Registry};
/// use bridge_memory::call::{Call, CallOptions};
///
/// let argument = ManagedTensor::from_vec(vec![1_u8, 2], &[2])?;
/// let mut call = Call::new(Registry::global()?, CallOptions::new("first").on("dlpack"));
/// call.look_at::<_, ManagedTensor, _>("argument", &argument)?;
/// call.check_devices()?;
/// let argument: ManagedTensor = call.argument(argument)?;
/// let result: (ManagedTensor, usize) = call.result((argument, 3))?;
/// # assert_eq!((result.0.shape(), result.1), (&[2][..], 3));
/// # Ok::<(), bridge_core::Error>(())
/// ```
pub struct Call<'a> {
    registry: &'a Registry,
    options: CallOptions<'a>,
    /// Each array's argument, and where it is.
    devices: Vec<(String, Device)>,
    /// The first array's.
    data_type: Option<DataType>,
}

impl<'a> Call<'a> {
    /// A call that nothing has been looked at for.
    pub fn new(registry: &'a Registry, options: CallOptions<'a>) -> Self {
        Self { registry, options, devices: Vec::new(), data_type: None }
    }

    /// Looks at the arrays of an argument that will be a `T`: notes where they are, and checks that they
    /// are of the backend that arguments must be of.
    ///
    /// # Errors
    ///
    /// Where one is of another backend, or cannot be exported.
    pub fn look_at<S: Arrays<T, M>, T, M>(&mut self, argument: &str, arrays: &S) -> Result<()> {
        let Self { options, devices, data_type, .. } = self;
        arrays.look_at(&mut |backend, found| {
            if let Some(input) = options.input
                && !backend.answers_to(input)
            {
                let function = options.function;
                let found = format!("`{argument}` of `{function}`, of \"{}\"", backend.name);
                let expected = format!("arrays of \"{input}\" are asked for: convert it first");
                return Err(invalid("an argument", &found, &expected));
            }
            data_type.get_or_insert(found.data_type);
            devices.push((argument.to_owned(), found.device));
            Ok(())
        })
    }

    /// Checks that all arrays that were looked at are on one device, where none was asked for. All host
    /// memory counts as one.
    ///
    /// # Errors
    ///
    /// Names each array's argument and device, where they differ.
    pub fn check_devices(&self) -> Result<()> {
        let alike = |one: Device, other: Device| {
            one == other || one.kind().is_host_accessible() && other.kind().is_host_accessible()
        };
        let mixed = self.devices.windows(2).any(|pair| !alike(pair[0].1, pair[1].1));
        if self.options.device.is_some() || !mixed {
            return Ok(());
        }
        let each =
            self.devices.iter().map(|(argument, device)| format!("{device} for `{argument}`"));
        let found = each.collect::<Vec<_>>().join(", ");
        let expected = format!(
            "the arrays of one call of `{}` must be on one device: say on which, and they are brought there",
            self.options.function
        );
        Err(invalid("the device of each array", &found, &expected))
    }

    /// Converts the arrays of an argument to what the function works with. To a framework's own type,
    /// it goes by the program's registry; to an [`Array`], by the call's.
    ///
    /// # Errors
    ///
    /// As [`Convert::convert_to`](bridge_convert::Convert::convert_to). The arrays are gone then; those
    /// given to [`call`](super::call) come back.
    pub fn argument<S: Arrays<T, M>, T, M>(&self, arrays: S) -> Result<T> {
        arrays.convert(&self.inward())
    }

    /// Converts arrays to what the function works with; where one fails, all come back, those before it
    /// converted.
    pub(super) fn arguments(&self, arrays: Vec<Array>) -> Result<Vec<Array>, Refused<Vec<Array>>> {
        let way = self.inward();
        let mut converted = Vec::with_capacity(arrays.len());
        let mut waiting = arrays.into_iter();
        while let Some(array) = waiting.next() {
            match way.by_name(array) {
                Ok(array) => converted.push(array),
                Err(refused) => {
                    let (array, error) = refused.into_parts();
                    converted.push(array);
                    converted.extend(waiting);
                    return Err(Refused::new(converted, error));
                }
            }
        }
        Ok(converted)
    }

    /// Converts the arrays of a result to what the caller gets, as [`argument`](Self::argument) does.
    ///
    /// # Errors
    ///
    /// As [`Convert::convert_to`](bridge_convert::Convert::convert_to), and as
    /// [`rescaled`](super::rescaled).
    pub fn result<S: Arrays<T, M>, T, M>(&self, arrays: S) -> Result<T> {
        arrays.convert(&self.outward())
    }

    /// Does the work, and again where it runs out of memory, as the options say.
    ///
    /// # Errors
    ///
    /// As [`with_oom_recovery`](crate::recovery::with_oom_recovery).
    pub fn recovering<T, E: StdError + 'static>(
        &self,
        work: impl FnMut() -> Result<T, E>,
    ) -> Result<T, E> {
        recovering(self.options.recovery, self.registry, &self.every_device(), work)
    }

    /// Whether work that the caller runs itself, as an `async fn` must, is to be tried again, after
    /// `attempts` that failed, the last one with this error. Caches are released then, as the options say;
    /// it does not wait, as [`recovering`](Self::recovering) does.
    pub fn makes_room<E: StdError + 'static>(&self, error: &E, attempts: u32) -> bool {
        let devices = self.every_device();
        makes_room(self.options.recovery, self.registry, &devices, error, attempts)
    }

    fn every_device(&self) -> Vec<Device> {
        let devices = self.devices.iter().map(|(_, device)| *device);
        devices.chain(self.options.device).collect()
    }

    /// Cuts an array along its first axis, to work on slice after slice.
    ///
    /// # Errors
    ///
    /// As [`SliceMap::new`](bridge_convert::SliceMap::new). The array comes back.
    pub fn slices(&self, array: Array) -> Result<Slices<'a>, Refused<Array>> {
        Slices::new(self.registry, self.inward(), array)
    }

    fn inward(&self) -> Way<'a> {
        Way {
            registry: self.registry,
            what: "an argument's array type",
            function: self.options.function,
            backend: self.options.on,
            device: self.options.device,
            data_type: None,
            rescale: self.options.rescale,
            recovery: self.options.recovery,
            within: self.options.within,
            pool: self.options.pool,
        }
    }

    fn outward(&self) -> Way<'a> {
        let options = &self.options;
        Way {
            what: "a result's array type",
            backend: options.output,
            device: None,
            data_type: options.dtype.for_input(self.data_type),
            ..self.inward()
        }
    }
}

impl fmt::Debug for Call<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Call");
        debug
            .field("options", &self.options)
            .field("devices", &self.devices)
            .finish_non_exhaustive()
    }
}

/// What a contract answers: whether a result keeps it, or why it does not.
pub trait ContractAnswer {
    /// The answer as a result.
    ///
    /// # Errors
    ///
    /// Why the contract is not kept.
    fn kept(self) -> Result<(), String>;
}

impl ContractAnswer for bool {
    fn kept(self) -> Result<(), String> {
        if self { Ok(()) } else { Err("it is not so".to_owned()) }
    }
}

impl<E: Display> ContractAnswer for Result<(), E> {
    fn kept(self) -> Result<(), String> {
        self.map_err(|why| why.to_string())
    }
}

/// Checks a function's result against its contract, which answers `bool` or a `Result`.
///
/// ```
/// use bridge_memory::call::check_contract;
///
/// let error = check_contract("mean", &f64::NAN, |mean| mean.is_finite()).unwrap_err();
/// assert!(error.to_string().contains("`mean` violates its contract"));
/// ```
///
/// # Errors
///
/// Names the function, and says what the contract does, where it is not kept.
pub fn check_contract<R: ?Sized, A: ContractAnswer>(
    function: &str,
    result: &R,
    contract: impl FnOnce(&R) -> A,
) -> Result<()> {
    contract(result).kept().map_err(|why| Error::Unsupported {
        what: format!("a result with which `{function}` violates its contract"),
        remedy: why,
    })
}
