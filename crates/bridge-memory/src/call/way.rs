//! How each array of a call is converted.

use std::any::type_name;
use std::fmt;

use bridge_convert::{Convert, ConvertByName};
use bridge_core::{
    Array, Backend, DataType, Device, Dlpack, ManagedTensor, NativeArray, Options, Refused,
    Registry, Result,
};

use super::recovery::{OomRecovery, recovering};
use super::rescale::{Rescale, rescaled};
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
}

impl Way<'_> {
    /// Converts to the array type `T`.
    pub(super) fn typed<T: NativeArray<B>, B: 'static>(&self, array: Array) -> Result<T> {
        let belongs_to = T::descriptor();
        if let Some(backend) = self.backend
            && !belongs_to.answers_to(backend)
        {
            let (found, function) = (belongs_to.name, self.function);
            return Err(invalid(
                self.what,
                &format!("a {} of \"{found}\"", type_name::<T>()),
                &format!("`{function}` asks for \"{backend}\": write its array type, or `Array`"),
            ));
        }
        let is_on = |device: Device| T::accepts().is_on(device.kind());
        self.carried_out(array, is_on, Convert::convert_to::<T>)
    }

    /// Converts to the backend that was asked for.
    pub(super) fn by_name(&self, array: Array) -> Result<Array> {
        let Some(backend) = self.backend else {
            let own = array.descriptor();
            return self.in_backend(array, own.name);
        };
        self.in_backend(array, backend)
    }

    fn in_backend(&self, array: Array, backend: &str) -> Result<Array> {
        // The tensor's own is not among the registry's.
        if Dlpack.descriptor().answers_to(backend) {
            let convert = |array: Array, options: Options<'_>| {
                array.convert_to::<ManagedTensor>(options).map(Array::new)
            };
            return self.carried_out(array, |_| true, convert);
        }
        let backend = self.registry.backend(backend)?;
        let is_on = |device: Device| {
            backend.native_types().iter().any(|native| native.accepts().is_on(device.kind()))
        };
        self.carried_out(array, is_on, |array, options| {
            self.registry.convert(array, backend.name(), options)
        })
    }

    /// Rescales where that is more than a cast, then converts, as often as recovery says. `is_on`: whether
    /// the target can be on a device.
    fn carried_out<T>(
        &self,
        array: Array,
        is_on: impl Fn(Device) -> bool,
        convert: impl Fn(Array, Options<'_>) -> Result<T, Refused<Array>>,
    ) -> Result<T> {
        let found = array.describe()?;
        // What is rescaled on the host goes back to where it was, if the target can be there.
        let stays =
            || Some(found.device).filter(|&device| self.data_type.is_some() && is_on(device));
        let options = self
            .device
            .or_else(stays)
            .map_or_else(Options::default, |on| Options::default().on(on));
        let devices: Vec<_> = self.device.into_iter().chain([found.device]).collect();
        let mut waiting = Some(array);
        recovering(self.recovery, self.registry, &devices, || {
            // It comes back where a conversion fails, and only then is there another.
            let Some(array) = waiting.take() else {
                unreachable!("a failed conversion gives it back")
            };
            let done = self.rescaled(array, options);
            done.and_then(|(array, options)| convert(array, options)).map_err(|refused| {
                let (array, error) = refused.into_parts();
                waiting = Some(array);
                error
            })
        })
    }

    /// The array, and the options that cast it; or the array cast already.
    fn rescaled<'o>(
        &self,
        array: Array,
        options: Options<'o>,
    ) -> Result<(Array, Options<'o>), Refused<Array>> {
        let from = match array.describe() {
            Ok(found) => found.data_type,
            Err(error) => return Err(Refused::new(array, error)),
        };
        let Some(to) = self.data_type.filter(|&to| to != from) else { return Ok((array, options)) };
        if let Some(overflow) = self.rescale.as_cast(from, to) {
            return Ok((array, options.cast(to).overflow(overflow)));
        }
        let native = array.native_type();
        let tensor = array.export()?;
        match rescaled(self.registry, &tensor, to, self.rescale) {
            Ok(rescaled) => Ok((Array::new(rescaled), options)),
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
