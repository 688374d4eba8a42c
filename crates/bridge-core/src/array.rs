//! A framework's own array with its type erased.

use std::any::{Any, type_name};
use std::fmt;

use crate::backend::Backend;
use crate::error::{Error, Refused, Result};
use crate::native::{NativeArray, NativeType};
use crate::plan::Description;
use crate::tensor::ManagedTensor;

/// An array of any linked framework, and the backend that understands it.
///
/// ```ignore
/// let array = Array::new(ndarray::arr2(&[[1.0, 2.0]]).into_dyn());
/// let tensor: candle_core::Tensor = registry.convert(array, "candle", Options::default())?.downcast()?;
/// ```
pub struct Array {
    value: Box<dyn Any + Send>,
    native: &'static NativeType,
}

impl Array {
    /// Erases the type of an array.
    pub fn new<T: NativeArray<B>, B: Backend>(array: T) -> Self {
        Self { value: Box::new(array), native: const { &NativeType::of::<T, B>() } }
    }

    /// The backend that understands the array.
    pub fn backend(&self) -> &'static dyn Backend {
        self.native.backend()
    }

    /// The array type.
    pub fn native_type(&self) -> &'static NativeType {
        self.native
    }

    /// What a plan needs to know of the array.
    ///
    /// # Errors
    ///
    /// Where the array cannot be exported, and why.
    pub fn describe(&self) -> Result<Description> {
        self.native.describe(self.value.as_ref())
    }

    /// The array, where it is a `T`.
    pub fn downcast_ref<T: Any>(&self) -> Option<&T> {
        self.value.downcast_ref()
    }

    /// The array as a `T`.
    ///
    /// # Errors
    ///
    /// [`Error::WrongArrayType`] where it is another type; the array comes back.
    pub fn downcast<T: Any>(self) -> Result<T, Refused<Self>> {
        let native = self.native;
        match self.value.downcast::<T>() {
            Ok(array) => Ok(*array),
            Err(value) => {
                let error = Error::WrongArrayType { asked: type_name::<T>(), found: native.name() };
                Err(Refused::new(Self { value, native }, error))
            }
        }
    }

    /// Hands the array over as a tensor, without copying.
    ///
    /// # Errors
    ///
    /// As [`NativeArray::export`]; the array comes back.
    pub fn export(self) -> Result<ManagedTensor, Refused<Self>> {
        let native = self.native;
        native.export(self.value).map_err(|refused| refused.map(|value| Self { value, native }))
    }

    /// Makes an array of a tensor that came from an array of this type.
    pub(crate) fn restored(tensor: ManagedTensor, native: &'static NativeType) -> Self {
        native.import(tensor).unwrap_or_else(|refused| broken_law(native.name(), refused.error()))
    }
}

/// `import(export(a))` failed: a backend broke the law that a failed conversion relies on.
pub(crate) fn broken_law(type_name: &str, error: &Error) -> ! {
    panic!("{type_name} refused its own export, which a backend must not: {error}")
}

impl fmt::Debug for Array {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Array");
        debug.field("type", &self.native.name());
        match self.describe() {
            Ok(description) => debug
                .field("data_type", &description.data_type)
                .field("device", &description.device)
                .field("shape", &description.layout.shape()),
            Err(error) => debug.field("error", &error.to_string()),
        };
        debug.finish()
    }
}
