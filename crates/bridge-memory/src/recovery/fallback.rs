//! Another backend, or the host, where one does not do.

use std::error::Error as StdError;
use std::fmt;

use bridge_convert::ConvertByName;
use bridge_core::{
    Admission, Array, Backend, Device, Dlpack, Error, Options, Refused, Registry, Result,
};

use super::classify::out_of_memory;
use super::counts;
use super::event::RecoveryEvent;
use super::ladder::with_oom_recovery_of;
use super::policy::{Observer, RecoveryPolicy};
use crate::arguments::invalid;
use crate::budget::Shortage;

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
///
/// By itself it tries each backend once. A [policy](Self::policy) makes each of them climb the first two
/// rungs before the next is gone to, an [observer](Self::observer) is told where it goes, and conversions can
/// be kept [within](Self::within) a budget:
///
/// ```standalone_crate
/// # use {bridge_cpu as _, bridge_host as _};
/// use std::sync::Mutex;
/// use bridge_core::{Array, Device, Error, ManagedTensor, Registry, TensorError};
/// use bridge_memory::budget::Budget;
/// use bridge_memory::recovery::{FallbackChain, RecoveryEvent, RecoveryPolicy};
///
/// let told = Mutex::new(Vec::new());
/// let observer = |event: &RecoveryEvent<'_>| told.lock().unwrap().push(event.to_string());
/// let policy = RecoveryPolicy::new().retries(1).waits(&[]).clear_caches(false).observer(&observer);
/// let budget = Budget::new("fallback", 1 << 20)?;
/// let chain = FallbackChain::new(["torch", "ndarray"])?.policy(&policy).within(&budget);
///
/// let array = Array::new(ManagedTensor::from_vec(vec![1_f32, 2.0], &[2])?);
/// let mut tries = 0;
/// let tried = chain.run(Registry::global()?, array, |_| {
///     tries += 1;
///     match tries {
///         1 => Err(Error::from(TensorError::OutOfMemory { device: Device::CPU, requested: 64 })),
///         _ => Ok("done"),
///     }
/// });
/// assert_eq!(tried.map_err(|refused| refused.into_error().to_string())?.backend, "ndarray");
/// assert_eq!(
///     told.into_inner()?,
///     ["fell back from torch to ndarray", "out of memory on cpu", "waited 0ns, alone now", "try 2 succeeded"]
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct FallbackChain<'a> {
    places: Vec<(String, Option<Device>)>,
    only_memory: bool,
    policy: Option<RecoveryPolicy<'a>>,
    observer: Option<&'a Observer<'a>>,
    admission: Option<&'a dyn Admission>,
}

impl FallbackChain<'static> {
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
        Ok(Self { places, only_memory: false, policy: None, observer: None, admission: None })
    }
}

impl<'a> FallbackChain<'a> {
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

    /// Goes on to the next backend only where one ran out of memory, or a budget will never have so much
    /// of it; any other failure is the last.
    #[must_use]
    pub fn only_out_of_memory(mut self) -> Self {
        self.only_memory = true;
        self
    }

    /// Each backend climbs this policy's rungs, conversion and work together, before the next is gone to;
    /// its observer is told of every step, also of those from one backend to the next. Where it names
    /// no devices, they are the one that is [asked for](Self::on) and the one that the error names.
    ///
    /// Where the policy says that nothing may run [twice](RecoveryPolicy::once), the next backend is
    /// gone to only as long as the work has not begun.
    #[must_use]
    pub fn policy<'b>(self, policy: &RecoveryPolicy<'b>) -> FallbackChain<'b>
    where
        'a: 'b,
    {
        FallbackChain { policy: Some(*policy), ..self }
    }

    /// Who is told of each step, on the thread that takes it, in place of the
    /// [policy's](RecoveryPolicy::observer).
    #[must_use]
    pub fn observer<'b>(
        self,
        observer: &'b (dyn Fn(&RecoveryEvent<'_>) + Sync),
    ) -> FallbackChain<'b>
    where
        'a: 'b,
    {
        FallbackChain { observer: Some(observer), ..self }
    }

    /// Asks `admission`, a [`Budget`](crate::budget::Budget) for one, before a conversion takes memory, as
    /// [`Options::within`] does: a backend for which there is no room is passed over. What the work takes
    /// itself, it reserves itself.
    #[must_use]
    pub fn within<'b>(self, admission: &'b dyn Admission) -> FallbackChain<'b>
    where
        'a: 'b,
    {
        FallbackChain { admission: Some(admission), ..self }
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
        let steps = self.steps(registry);
        let mut array = array;
        let mut failed = AllFailed(Vec::new());
        for (number, (backend, device)) in self.places.iter().enumerate() {
            if let (Some(last), Some((_, left))) =
                (failed.0.last(), number.checked_sub(1).and_then(|one| self.places.get(one)))
            {
                counts::count(left.as_slice(), |counts| counts.fallbacks += 1);
                let (from, to, device) = (&*last.backend, &**backend, *device);
                steps.tell(&RecoveryEvent::FellBack { from, to, device, error: &*last.error });
            }
            let options = self.options(*device);
            let mut began = false;
            let mut attempt = |array| {
                let there = registry.convert(array, backend, options).map_err(|refused| {
                    let (back, error) = refused.into_parts();
                    (back, AnyError::from(error))
                })?;
                began = true;
                match work(&there) {
                    Ok(value) => Ok((there, value)),
                    Err(error) => Err((there, error.into())),
                }
            };
            let done = match self.policy {
                None => attempt(array),
                Some(_) => climb(&about(steps, device), |error| &**error, array, attempt),
            };
            let error = match done {
                Ok((array, value)) => {
                    let (backend, failed) = (backend.clone(), failed.0);
                    return Ok(Tried { value, array, backend, failed });
                }
                Err((back, error)) => {
                    array = back;
                    error
                }
            };
            let goes_on = !self.only_memory || is_for_want_of_memory(registry, &*error);
            failed.0.push(Attempt { backend: backend.clone(), device: *device, error });
            if !goes_on || (began && steps.once) {
                break;
            }
        }
        let array = match home {
            Ok(home) => home.bring(registry, array).unwrap_or_else(Refused::into_value),
            Err(_) => array,
        };
        Err(Refused::new(array, failed))
    }

    /// The policy by which steps are told and rungs are climbed.
    fn steps<'s>(&'s self, registry: &'s Registry) -> RecoveryPolicy<'s> {
        let mut steps: RecoveryPolicy<'s> = self.policy.unwrap_or_default();
        steps.observer = self.observer.or(steps.observer);
        steps.registry = steps.registry.or(Some(registry));
        steps
    }

    fn options(&self, device: Option<Device>) -> Options<'_> {
        let options = device.map_or_else(Options::default, |one| Options::default().on(one));
        self.admission.map_or(options, |admission| options.within(admission))
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

impl fmt::Debug for FallbackChain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FallbackChain")
            .field("places", &self.places)
            .field("only_memory", &self.only_memory)
            .field("policy", &self.policy)
            .field("observer", &self.observer.is_some())
            .field("within", &self.admission.is_some())
            .finish()
    }
}

/// The policy, about the device that is asked for where it names none itself.
fn about<'b>(policy: RecoveryPolicy<'b>, device: &'b Option<Device>) -> RecoveryPolicy<'b> {
    let named = if policy.devices.is_empty() { device.as_slice() } else { policy.devices };
    policy.devices(named)
}

/// As [`with_oom_recovery_of`], for work that an array goes into and, where it fails, comes back from.
fn climb<T, E>(
    policy: &RecoveryPolicy<'_>,
    view: impl Fn(&E) -> &(dyn StdError + 'static),
    array: Array,
    mut attempt: impl FnMut(Array) -> Result<T, (Array, E)>,
) -> Result<T, (Array, E)> {
    let mut held = Some(array);
    let done = with_oom_recovery_of(policy, view, || {
        let Some(array) = held.take() else { unreachable!("each try that fails gives it back") };
        attempt(array).map_err(|(back, error)| {
            held = Some(back);
            error
        })
    });
    done.map_err(|error| {
        let Some(array) = held else { unreachable!("each try that fails gives it back") };
        (array, error)
    })
}

/// Whether memory ran out, or there will never be so much: elsewhere there may be.
fn is_for_want_of_memory(registry: &Registry, error: &(dyn StdError + 'static)) -> bool {
    let is_shortage =
        || error.downcast_ref::<Error>().is_some_and(|one| Shortage::of(one).is_some());
    out_of_memory(Some(registry), error).is_some() || error.is::<Shortage>() || is_shortage()
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
    match registry.convert(array, target, options) {
        Ok(array) => Ok(OrHost { array, refused: None }),
        Err(refused) => on_host(&RecoveryPolicy::new(), registry, refused, target, options),
    }
}

/// As [`convert_or_host`], where the conversion climbs the policy's rungs before the host is gone to, and
/// its observer is told of every step. Where it names no devices, they are that of the options and the one
/// that the error names.
///
/// ```
/// use std::sync::Mutex;
/// use bridge_core::{Array, ManagedTensor, Options, Registry};
/// use bridge_memory::recovery::{RecoveryEvent, RecoveryPolicy, convert_or_host_with};
///
/// let told = Mutex::new(Vec::new());
/// let observer = |event: &RecoveryEvent<'_>| told.lock().unwrap().push(event.to_string());
/// let policy = RecoveryPolicy::new().observer(&observer);
/// let array = Array::new(ManagedTensor::from_vec(vec![1_f32], &[1])?);
/// // torch is not linked here.
/// let registry = Registry::global()?;
/// let there = convert_or_host_with(&policy, registry, array, "torch", Options::default())?;
/// assert!(there.refused.is_some());
/// assert_eq!(
///     told.into_inner().unwrap(),
///     ["fell back from torch to torch on cpu", "fell back from torch to dlpack on cpu"]
/// );
/// # Ok::<(), bridge_core::Error>(())
/// ```
///
/// # Errors
///
/// As [`convert_or_host`].
pub fn convert_or_host_with(
    policy: &RecoveryPolicy<'_>,
    registry: &Registry,
    array: Array,
    target: &str,
    options: Options<'_>,
) -> Result<OrHost, Refused<Array>> {
    let device = options.device();
    let mut steps = about(*policy, &device);
    steps.registry = steps.registry.or(Some(registry));
    let converted = climb(
        &steps,
        |error| error,
        array,
        |array| registry.convert(array, target, options).map_err(Refused::into_parts),
    );
    match converted {
        Ok(array) => Ok(OrHost { array, refused: None }),
        Err((array, error)) => {
            on_host(&steps, registry, Refused::new(array, error), target, options)
        }
    }
}

/// Brings an array that was refused to the host.
fn on_host(
    steps: &RecoveryPolicy<'_>,
    registry: &Registry,
    refused: Refused<Array>,
    target: &str,
    options: Options<'_>,
) -> Result<OrHost, Refused<Array>> {
    let from = target;
    let falls_back = |to, error: &Error| {
        counts::count(options.device().as_slice(), |counts| counts.fallbacks += 1);
        steps.tell(&RecoveryEvent::FellBack { from, to, device: Some(Device::CPU), error });
    };
    let (array, error) = refused.into_parts();
    falls_back(target, &error);
    let on_host = registry.convert(array, target, options.on(Device::CPU));
    let on_host = on_host.or_else(|refused| {
        let tensor = Place { backend: Dlpack.descriptor().name, device: Device::CPU };
        falls_back(tensor.backend, refused.error());
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
