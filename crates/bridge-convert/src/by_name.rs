//! Conversion by name: the target is found at run time.

use bridge_core::{
    Array, Backend, Description, ManagedTensor, NativeType, Options, Refused, Registry, Result,
};

use crate::plan::Plan;
use crate::report::Report;
use crate::route::{Ends, Lookup, Route, stays};

/// Converts arrays to a backend that is found by its name, when the program runs.
///
/// ```
/// use bridge_convert::ConvertByName;
/// use bridge_core::{Array, ManagedTensor, Options, Registry};
///
/// let registry = Registry::global()?;
/// let array = Array::new(ManagedTensor::from_vec(vec![1_u8, 2], &[2])?);
/// let refused = registry.convert(array, "torch", Options::default()).unwrap_err();
/// assert!(refused.to_string().contains("no backend \"torch\""));
/// let array = refused.into_value(); // unharmed
/// # Ok::<(), bridge_core::Error>(())
/// ```
pub trait ConvertByName {
    /// Converts an array to the backend of this name, copying only where `options` allow and there
    /// is no way without.
    ///
    /// # Errors
    ///
    /// [`UnknownBackend`](bridge_core::Error::UnknownBackend),
    /// [`Unavailable`](bridge_core::Error::Unavailable),
    /// [`DeviceUnavailable`](bridge_core::Error::DeviceUnavailable), as [`Plan::new`], out of memory,
    /// or what the frameworks report. The array comes back.
    fn convert(
        &self,
        array: Array,
        target: &str,
        options: Options,
    ) -> Result<Array, Refused<Array>>;

    /// Converts as [`convert`](Self::convert) and says what was done.
    ///
    /// # Errors
    ///
    /// As [`convert`](Self::convert).
    fn convert_reported(
        &self,
        array: Array,
        target: &str,
        options: Options,
    ) -> Result<(Array, Report), Refused<Array>>;

    /// What [`convert`](Self::convert) would do. No device is touched and no byte moves.
    ///
    /// # Errors
    ///
    /// As [`convert`](Self::convert), but for what only carrying it out shows.
    fn plan(&self, array: &Array, target: &str, options: &Options) -> Result<Plan>;

    /// As [`plan`](Self::plan), of an array of type `source` that is `found` so: for those who only look at a tensor.
    ///
    /// # Errors
    ///
    /// As [`plan`](Self::plan).
    fn plan_for(
        &self,
        source: &'static NativeType,
        found: &Description,
        target: &str,
        options: &Options,
    ) -> Result<Plan>;
}

impl ConvertByName for Registry {
    fn convert(
        &self,
        array: Array,
        target: &str,
        options: Options,
    ) -> Result<Array, Refused<Array>> {
        match self.backend(target) {
            Ok(backend) => convert_into(self, array, backend, options),
            Err(error) => Err(Refused::new(array, error)),
        }
    }

    fn convert_reported(
        &self,
        array: Array,
        target: &str,
        options: Options,
    ) -> Result<(Array, Report), Refused<Array>> {
        let met = self.backend(target).and_then(|backend| {
            let found = array.describe()?;
            Ok((backend, ends(array.native_type(), &found, backend, &options)?, found))
        });
        match met {
            Ok((_, Some(ends), _)) => ends.route(self, &options).run_reported(&ends, array),
            Ok((backend, None, found)) => {
                let plan = Plan::stay(backend.name());
                let report = Report::of(plan, found.data_type, found.layout.shape());
                Ok((array, report))
            }
            Err(error) => Err(Refused::new(array, error)),
        }
    }

    fn plan(&self, array: &Array, target: &str, options: &Options) -> Result<Plan> {
        self.plan_for(array.native_type(), &array.describe()?, target, options)
    }

    fn plan_for(
        &self,
        source: &'static NativeType,
        found: &Description,
        target: &str,
        options: &Options,
    ) -> Result<Plan> {
        let backend = self.backend(target)?;
        match ends(source, found, backend, options)? {
            Some(ends) => ends.route(self, options).plan(found),
            None => Ok(Plan::stay(backend.name())),
        }
    }
}

/// Converts to a backend that need not be in the registry.
pub(crate) fn convert_into(
    registry: &Registry,
    array: Array,
    target: &'static dyn Backend,
    options: Options,
) -> Result<Array, Refused<Array>> {
    let source = array.native_type();
    if source.descriptor().name == target.name() {
        return match array.describe().and_then(|found| ends(source, &found, target, &options)) {
            Ok(Some(ends)) => ends.route(registry, &options).run(&ends, array),
            Ok(None) => Ok(array),
            Err(error) => Err(Refused::new(array, error)),
        };
    }
    if let Err(error) = check_device(target, &options) {
        return Err(Refused::new(array, error));
    }
    // The tensor tells all that a description would.
    let tensor = array.export()?;
    let data_type = options.data_type().unwrap_or(tensor.data_type());
    match target.native_type_for(data_type, tensor.shape()) {
        Ok(target) => {
            let ends = ByName { source, target };
            ends.route(registry, &options).run_on(&ends, tensor)
        }
        Err(error) => Err(Refused::new(Array::restored(tensor, source), error)),
    }
}

/// The ends of the way that brings an array of this type and description to a backend; `None` where the array
/// is there already, as it is asked for.
fn ends(
    source: &'static NativeType,
    found: &Description,
    backend: &'static dyn Backend,
    options: &Options,
) -> Result<Option<ByName>> {
    check_device(backend, options)?;
    if source.descriptor().name == backend.name() && stays(found, options) {
        return Ok(None);
    }
    let data_type = options.data_type().unwrap_or(found.data_type);
    let target = backend.native_type_for(data_type, found.layout.shape())?;
    Ok(Some(ByName { source, target }))
}

/// Checks that a backend can run, and has the device that is asked for.
fn check_device(backend: &'static dyn Backend, options: &Options) -> Result<()> {
    let devices = backend.devices()?;
    match options.device().filter(|asked| !devices.contains(asked)) {
        Some(asked) => Err(backend.lacks(asked)),
        None => Ok(()),
    }
}

struct ByName {
    source: &'static NativeType,
    target: &'static NativeType,
}

impl ByName {
    fn route<'a>(&self, registry: &'a Registry, options: &'a Options) -> Route<'a> {
        Route {
            source: self.source.descriptor().name,
            target: self.target.descriptor().name,
            accepts: self.target.accepts(),
            target_type: self.target.type_id(),
            // The type has been chosen for the array: where it cannot be, the backend cannot.
            type_name: || "the array type",
            options,
            lookup: Lookup::In(registry),
        }
    }
}

impl Ends for ByName {
    type Source = Array;
    type Target = Array;

    fn export(&self, source: Array) -> Result<ManagedTensor, Refused<Array>> {
        source.export()
    }

    fn restore(&self, tensor: ManagedTensor) -> Array {
        Array::restored(tensor, self.source)
    }

    fn import(&self, tensor: ManagedTensor) -> Result<Array, Refused<ManagedTensor>> {
        Array::import(tensor, self.target)
    }

    fn erase(&self, source: Array) -> Array {
        source
    }

    fn target_of(&self, array: Array) -> Result<Array, Refused<Array>> {
        Ok(array)
    }

    fn source_of(&self, array: Array) -> Result<Array, Refused<Array>> {
        Ok(array)
    }
}
