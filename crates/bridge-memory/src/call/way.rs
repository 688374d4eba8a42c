//! How each array of a call is converted.

use std::any::type_name;
use std::fmt;

use bridge_convert::{Convert, ConvertByName};
use bridge_core::{
    Admission, Array, Backend, DataType, Description, Device, Dlpack, Error, ManagedTensor,
    MemorySource, NativeArray, Options, Overflow, Permit, Refused, Registry, Result,
};

use super::recovery::{OomRecovery, recovering};
use super::rescale::{Rescale, Work, rescaled_held};
use crate::arguments::invalid;

/// How each array of a call is converted, in one direction.
#[derive(Clone, Copy)]
pub struct Way<'a> {
    pub(super) registry: &'a Registry,
    /// What this is about, in errors.
    pub(super) what: &'static str,
    pub(super) function: &'a str,
    /// The backend that arrays go to. Without one, an [`Array`] stays in its own.
    pub(super) backend: Option<&'a str>,
    pub(super) device: Option<Device>,
    pub(super) data_type: Option<DataType>,
    pub(super) rescale: Rescale,
    pub(super) recovery: Option<OomRecovery>,
    /// Who is asked before memory is taken.
    pub(super) within: Option<&'a dyn Admission>,
    /// Where memory is taken from.
    pub(super) pool: Option<&'a dyn MemorySource>,
}

/// An array that is as far as rescaling brings it.
struct Ready<'o> {
    array: Array,
    /// What is left to do.
    options: Options<'o>,
    /// Room for what was made so far.
    _permit: Option<Permit>,
}

impl Way<'_> {
    /// Converts to the array type `T`.
    pub(super) fn typed<T: NativeArray<B>, B: 'static>(
        &self,
        array: Array,
    ) -> Result<T, Refused<Array>> {
        let belongs_to = T::descriptor();
        if let Some(backend) = self.backend
            && !belongs_to.answers_to(backend)
        {
            let (found, function) = (belongs_to.name, self.function);
            let error = invalid(
                self.what,
                &format!("a {} of \"{found}\"", type_name::<T>()),
                &format!("`{function}` asks for \"{backend}\": write its array type, or `Array`"),
            );
            return Err(Refused::new(array, error));
        }
        let is_on = |device: Device| T::accepts().is_on(device.kind());
        let owns_vectors = |_, _: &[usize]| T::accepts().takes_only_vectors();
        self.carried_out(array, is_on, owns_vectors, Convert::convert_to::<T>)
    }

    /// Converts to the backend that was asked for.
    pub(super) fn by_name(&self, array: Array) -> Result<Array, Refused<Array>> {
        let Some(backend) = self.backend else {
            let own = array.descriptor();
            return self.in_backend(array, own.name);
        };
        self.in_backend(array, backend)
    }

    fn in_backend(&self, array: Array, backend: &str) -> Result<Array, Refused<Array>> {
        // The tensor's own is not among the registry's.
        if Dlpack.descriptor().answers_to(backend) {
            let convert = |array: Array, options: Options<'_>| {
                array.convert_to::<ManagedTensor>(options).map(Array::new)
            };
            return self.carried_out(array, |_| true, |_, _| false, convert);
        }
        let backend = match self.registry.backend(backend) {
            Ok(backend) => backend,
            Err(error) => return Err(Refused::new(array, error)),
        };
        let is_on = |device: Device| {
            backend.native_types().iter().any(|native| native.accepts().is_on(device.kind()))
        };
        let owns_vectors = |data_type, shape: &[usize]| {
            let native = backend.native_type_for(data_type, shape);
            native.is_ok_and(|native| native.accepts().takes_only_vectors())
        };
        self.carried_out(array, is_on, owns_vectors, |array, options| {
            self.registry.convert(array, backend.name(), options)
        })
    }

    /// Rescales where that is more than a cast, then converts, as often as recovery says. `is_on`: whether
    /// the target can be on a device; `owns_vectors`: whether it owns vectors only, where it has elements of a type and
    /// a shape. Where it fails, the array comes back, rescaled where it was that far.
    fn carried_out<T>(
        &self,
        array: Array,
        is_on: impl Fn(Device) -> bool,
        owns_vectors: impl Fn(DataType, &[usize]) -> bool,
        convert: impl Fn(Array, Options<'_>) -> Result<T, Refused<Array>>,
    ) -> Result<T, Refused<Array>> {
        let found = match array.describe() {
            Ok(found) => found,
            Err(error) => return Err(Refused::new(array, error)),
        };
        // What is rescaled on the host goes back to where it was, if the target can be there.
        let stays =
            || Some(found.device).filter(|&device| self.data_type.is_some() && is_on(device));
        let mut options = Options::default();
        if let Some(on) = self.device.or_else(stays) {
            options = options.on(on);
        }
        if let Some(admission) = self.within {
            options = options.within(admission);
        }
        let mut making = options;
        if let Some(source) = self.pool {
            options = options.pool(source);
            // To a type that owns vectors, what lies in a pool's memory would be copied.
            let is_copied = |to| owns_vectors(to, found.layout.shape());
            if !self.data_type.is_some_and(is_copied) {
                making = options;
            }
        }
        let devices: Vec<_> = self.device.into_iter().chain([found.device]).collect();
        let mut waiting = Some(array);
        let done = recovering(self.recovery, self.registry, &devices, || {
            // It comes back where a conversion fails, and only then is there another.
            let Some(array) = waiting.take() else {
                unreachable!("a failed conversion gives it back")
            };
            let rescale = |array| {
                self.rescaled(array, options, &making).and_then(|ready| {
                    let Ready { array, options, _permit } = ready;
                    convert(array, options)
                })
            };
            let done = match self.cast_that_saves_it(&found) {
                None => rescale(array),
                Some(cast) => convert(array, options.cast(cast).overflow(Overflow::Refuse))
                    .or_else(|refused| match refused.error() {
                        Error::ValueOutOfRange { .. } => rescale(refused.into_value()),
                        _ => Err(refused),
                    }),
            };
            done.map_err(|refused| {
                let (array, error) = refused.into_parts();
                waiting = Some(array);
                error
            })
        });
        done.map_err(|error| match waiting {
            Some(array) => Refused::new(array, error),
            None => unreachable!("a failed conversion gives it back"),
        })
    }

    /// The type that a device casts to itself, so that nothing comes to the host, where none of the values is too large
    /// for it, as is usual: only what is has to be rescaled.
    fn cast_that_saves_it(&self, found: &Description) -> Option<DataType> {
        let to = self.data_type.filter(|_| !found.device.kind().is_host_accessible())?;
        let saturates = matches!(self.rescale.work(found.data_type, to), Work::Saturate);
        (saturates && to != found.data_type).then_some(to)
    }

    /// The array, and the options that cast it; or the array rescaled already, as `making` says.
    fn rescaled<'o>(
        &self,
        array: Array,
        options: Options<'o>,
        making: &Options<'_>,
    ) -> Result<Ready<'o>, Refused<Array>> {
        let from = match array.describe() {
            Ok(found) => found.data_type,
            Err(error) => return Err(Refused::new(array, error)),
        };
        let Some(to) = self.data_type.filter(|&to| to != from) else {
            return Ok(Ready { array, options, _permit: None });
        };
        if let Work::Cast(overflow) = self.rescale.work(from, to) {
            let options = options.cast(to).overflow(overflow);
            return Ok(Ready { array, options, _permit: None });
        }
        let native = array.native_type();
        let tensor = array.export()?;
        match rescaled_held(self.registry, &tensor, to, self.rescale, making) {
            Ok((rescaled, _permit)) => Ok(Ready { array: Array::new(rescaled), options, _permit }),
            Err(error) => Err(Refused::new(Array::restored(tensor, native), error)),
        }
    }
}

impl fmt::Debug for Way<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Way");
        debug.field("backend", &self.backend).field("device", &self.device);
        debug.field("data_type", &self.data_type).field("rescale", &self.rescale);
        debug.finish_non_exhaustive()
    }
}
