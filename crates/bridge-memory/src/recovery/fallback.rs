//! Another backend, or the host, where one does not do.

use std::error::Error as StdError;
use std::fmt;

use bridge_convert::ConvertByName;
use bridge_core::{Array, Backend, Device, Dlpack, Error, Options, Refused, Registry, Result};

use super::classify::out_of_memory;
use super::counts;
use crate::arguments::invalid;

/// An error of anybody's.
type AnyError = Box<dyn StdError + Send + Sync>;

/// Backends that are tried one after the other, until one does the work.
///
/// ```
/// use bridge_core::{Array, Device, ManagedTensor, Registry};
/// use bridge_memory::recovery::FallbackChain;
///
/// let chain = FallbackChain::new(["torch", "ndarray"])?.on(0, Device::cuda(0))?;
/// let array = Array::new(ManagedTensor::from_vec(vec![1_f32], &[1])?);
/// let refused = chain.run(Registry::global()?, array, |one| one.describe().map(drop)).unwrap_err();
/// assert_eq!(refused.error().attempts().len(), 2); // neither is linked here
/// let array = refused.into_value(); // unharmed
/// # drop(array);
/// # Ok::<(), bridge_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct FallbackChain {
    places: Vec<(String, Option<Device>)>,
    only_memory: bool,
}

impl FallbackChain {
    /// The backends of these names, in this order.
    ///
    /// # Errors
    ///
    /// Where there is none.
    pub fn new<N: Into<String>>(backends: impl IntoIterator<Item = N>) -> Result<Self> {
        let places: Vec<_> = backends.into_iter().map(|name| (name.into(), None)).collect();
        if places.is_empty() {
            return Err(invalid("the list of backends", &"empty", "name the backends to try"));
        }
        Ok(Self { places, only_memory: false })
    }

    /// The device for one of the backends, which are counted from 0. The others take arrays where
    /// they lie, or on their own device.
    ///
    /// # Errors
    ///
    /// Where there are not so many backends.
    pub fn on(mut self, place: usize, device: Device) -> Result<Self> {
        let count = self.places.len();
        let Some((_, on)) = self.places.get_mut(place) else {
            let expected = format!("there are {count} backends, counted from 0");
            return Err(invalid("the backend's place", &place, &expected));
        };
        *on = Some(device);
        Ok(self)
    }

    /// Goes on to the next backend only where one ran out of memory; any other failure is the last.
    #[must_use]
    pub fn only_out_of_memory(mut self) -> Self {
        self.only_memory = true;
        self
    }

    /// Converts the array to the first backend and does `work` on it; where either fails, goes on to
    /// the next backend from where the array is.
    ///
    /// # Errors
    ///
    /// [`AllFailed`] where no backend did it, with what each of them said. The array comes back, where
    /// it was; or where it is, where that fails too.
    pub fn run<T, E: Into<AnyError>>(
        &self,
        registry: &Registry,
        array: Array,
        mut work: impl FnMut(&Array) -> Result<T, E>,
    ) -> Result<Tried<T>, Refused<Array, AllFailed>> {
        let home = Place::of(&array);
        let mut array = array;
        let mut failed = AllFailed(Vec::new());
        for (number, (backend, device)) in self.places.iter().enumerate() {
            if let Some((_, left)) = number.checked_sub(1).and_then(|one| self.places.get(one)) {
                counts::count(left.as_slice(), |counts| counts.fallbacks += 1);
            }
            let options = device.map_or_else(Options::default, |one| Options::default().on(one));
            let error: AnyError = match registry.convert(array, backend, options) {
                Ok(there) => {
                    let tried = work(&there);
                    array = there;
                    match tried {
                        Ok(value) => {
                            let (backend, failed) = (backend.clone(), failed.0);
                            return Ok(Tried { value, array, backend, failed });
                        }
                        Err(error) => error.into(),
                    }
                }
                Err(refused) => {
                    let (back, error) = refused.into_parts();
                    array = back;
                    error.into()
                }
            };
            let goes_on = !self.only_memory || out_of_memory(Some(registry), &*error).is_some();
            failed.0.push(Attempt { backend: backend.clone(), device: *device, error });
            if !goes_on {
                break;
            }
        }
        let array = match home {
            Ok(home) => home.bring(registry, array).unwrap_or_else(Refused::into_value),
            Err(_) => array,
        };
        Err(Refused::new(array, failed))
    }

    /// As [`run`](Self::run), where `work` makes an array: it comes back to the backend and the device
    /// of the one that was given. A result that cannot come back is that backend's failure.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub fn map<E: Into<AnyError>>(
        &self,
        registry: &Registry,
        array: Array,
        mut work: impl FnMut(&Array) -> Result<Array, E>,
    ) -> Result<Tried<Array>, Refused<Array, AllFailed>> {
        let home = Place::of(&array);
        self.run(registry, array, |array| {
            let made = work(array).map_err(Into::into)?;
            let home = home.as_ref().map_err(|error| AnyError::from(error.clone()))?;
            home.bring(registry, made).map_err(|refused| AnyError::from(refused.into_error()))
        })
    }
}

/// What a chain did.
#[derive(Debug)]
pub struct Tried<T> {
    /// What the work gave.
    pub value: T,
    /// The array that it worked on, as it is on that backend.
    pub array: Array,
    /// The backend that did it.
    pub backend: String,
    /// Those before it that failed, and why.
    pub failed: Vec<Attempt>,
}

/// One backend that failed.
#[derive(Debug)]
pub struct Attempt {
    /// Its name, as it was asked for.
    pub backend: String,
    /// The device, where one was asked for.
    pub device: Option<Device>,
    /// What it said: the conversion's error, or the work's.
    pub error: AnyError,
}

/// No backend of a chain did the work; what each of them said, in order.
#[derive(Debug)]
pub struct AllFailed(pub Vec<Attempt>);

impl AllFailed {
    /// What each backend said, in order.
    pub fn attempts(&self) -> &[Attempt] {
        &self.0
    }
}

impl fmt::Display for AllFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no backend of the chain did it: ")?;
        for (number, Attempt { backend, device, error }) in self.0.iter().enumerate() {
            let separator = if number == 0 { "" } else { "; " };
            match device {
                Some(device) => write!(f, "{separator}{backend} on {device}: {error}")?,
                None => write!(f, "{separator}{backend}: {error}")?,
            }
        }
        Ok(())
    }
}

impl StdError for AllFailed {
    /// What the last backend said.
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.last().map(|last| &*last.error as _)
    }
}

/// An array where it was asked for, or on the host.
#[derive(Debug)]
pub struct OrHost {
    /// The array.
    pub array: Array,
    /// Why it is on the host, where it is there for want of another place.
    pub refused: Option<Error>,
}

/// Converts an array to a backend as `options` say; where that fails, to the same backend on the
/// host, and where it has no arrays there, to a tensor in host memory.
///
/// # Errors
///
/// Why the conversion failed, where the host does not take the array either, which comes back.
pub fn convert_or_host(
    registry: &Registry,
    array: Array,
    target: &str,
    options: Options<'_>,
) -> Result<OrHost, Refused<Array>> {
    let refused = match registry.convert(array, target, options) {
        Ok(array) => return Ok(OrHost { array, refused: None }),
        Err(refused) => refused,
    };
    counts::count(options.device().as_slice(), |counts| counts.fallbacks += 1);
    let (array, error) = refused.into_parts();
    let on_host = registry.convert(array, target, options.on(Device::CPU));
    let on_host = on_host.or_else(|refused| {
        let tensor = Place { backend: Dlpack.descriptor().name, device: Device::CPU };
        tensor.bring(registry, refused.into_value())
    });
    match on_host {
        Ok(array) => Ok(OrHost { array, refused: Some(error) }),
        Err(refused) => Err(Refused::new(refused.into_value(), error)),
    }
}

/// Where an array is.
struct Place {
    backend: &'static str,
    device: Device,
}

impl Place {
    fn of(array: &Array) -> Result<Self> {
        Ok(Self { backend: array.descriptor().name, device: array.describe()?.device })
    }

    /// Brings an array there. The tensor itself is no backend that a registry knows by its name.
    fn bring(&self, registry: &Registry, array: Array) -> Result<Array, Refused<Array>> {
        if self.backend != Dlpack.descriptor().name {
            return registry.convert(array, self.backend, Options::default().on(self.device));
        }
        let native = array.native_type();
        let tensor = array.export()?;
        if tensor.device() == self.device {
            return Ok(Array::new(tensor));
        }
        let off_host = if tensor.device() == Device::CPU { self.device } else { tensor.device() };
        let moved =
            registry.runtime(off_host).and_then(|runtime| runtime.transfer(&tensor, self.device));
        match moved {
            Ok(moved) => Ok(Array::new(moved)),
            Err(error) => Err(Refused::new(Array::restored(tensor, native), error)),
        }
    }
}
