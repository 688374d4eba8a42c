//! Conversion by name: the target is found at run time.

use crate::array::Array;
use crate::backend::Backend;
use crate::error::{Refused, Result};
use crate::native::NativeType;
use crate::options::Options;
use crate::plan::{Description, Plan};
use crate::registry::Registry;
use crate::report::Report;
use crate::route::{Ends, Lookup, Route, stays};
use crate::tensor::ManagedTensor;

impl Registry {
    /// Converts an array to the backend of this name, copying only where `options` allow and there
    /// is no way without.
    ///
    /// # Errors
    ///
    /// [`UnknownBackend`](crate::Error::UnknownBackend), [`Unavailable`](crate::Error::Unavailable),
    /// [`DeviceUnavailable`](crate::Error::DeviceUnavailable), as [`Plan::new`], out of memory, or what
    /// the frameworks report. The array comes back.
    pub fn convert(
        &self,
        array: Array,
        target: &str,
        options: Options,
    ) -> Result<Array, Refused<Array>> {
        match self.backend(target) {
            Ok(backend) => self.convert_into(array, backend, options),
            Err(error) => Err(Refused::new(array, error)),
        }
    }

    /// As [`convert`](Self::convert), to a backend that need not be in the registry.
    pub(crate) fn convert_into(
        &self,
        array: Array,
        target: &'static dyn Backend,
        options: Options,
    ) -> Result<Array, Refused<Array>> {
        match ends(&array, target, &options) {
            Ok(Meeting::Same(_)) => Ok(array),
            Ok(Meeting::Apart(ends)) => self.route(&ends, &options).run(&ends, array),
            Err(error) => Err(Refused::new(array, error)),
        }
    }

    /// Converts as [`convert`](Self::convert) and says what was done.
    ///
    /// # Errors
    ///
    /// As [`convert`](Self::convert).
    pub fn convert_reported(
        &self,
        array: Array,
        target: &str,
        options: Options,
    ) -> Result<(Array, Report), Refused<Array>> {
        match self.backend(target).and_then(|backend| ends(&array, backend, &options)) {
            Ok(Meeting::Same(same)) => {
                let (plan, found) = *same;
                let report = Report::of(plan, found.data_type, found.layout.shape());
                Ok((array, report))
            }
            Ok(Meeting::Apart(ends)) => self.route(&ends, &options).run_reported(&ends, array),
            Err(error) => Err(Refused::new(array, error)),
        }
    }

    /// What [`convert`](Self::convert) would do. No device is touched and no byte moves.
    ///
    /// # Errors
    ///
    /// As [`convert`](Self::convert), but for what only carrying it out shows.
    pub fn plan(&self, array: &Array, target: &str, options: &Options) -> Result<Plan> {
        match ends(array, self.backend(target)?, options)? {
            Meeting::Same(same) => Ok(same.0),
            Meeting::Apart(ends) => self.route(&ends, options).plan(&array.describe()?),
        }
    }

    fn route<'a>(&'a self, ends: &ByName, options: &'a Options) -> Route<'a> {
        Route {
            source: ends.source.backend().name(),
            target: ends.target.backend().name(),
            accepts: ends.target.accepts(),
            target_type: ends.target.type_id(),
            options,
            lookup: Lookup::In(self),
        }
    }
}

/// What is to be done to bring an array to a backend.
fn ends(array: &Array, backend: &'static dyn Backend, options: &Options) -> Result<Meeting> {
    let devices = backend.devices()?;
    if let Some(asked) = options.device().filter(|asked| !devices.contains(asked)) {
        return Err(backend.lacks(asked));
    }
    let source = array.native_type();
    let found = array.describe()?;
    if source.backend().name() == backend.name() && stays(&found, options) {
        return Ok(Meeting::Same(Box::new((Plan::stay(backend.name()), found))));
    }
    let data_type = options.data_type().unwrap_or(found.data_type);
    Ok(Meeting::Apart(ByName { source, target: backend.native_type_for(data_type)? }))
}

/// Whether source and target are one backend, and nothing has to be done.
enum Meeting {
    Same(Box<(Plan, Description)>),
    Apart(ByName),
}

struct ByName {
    source: &'static NativeType,
    target: &'static NativeType,
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
        self.target.import(tensor)
    }

    fn erase(&self, source: Array) -> Array {
        source
    }

    fn source_of(&self, array: Array) -> Result<Array, Refused<Array>> {
        Ok(array)
    }

    fn target_of(&self, array: Array) -> Result<Array, Refused<Array>> {
        Ok(array)
    }
}
