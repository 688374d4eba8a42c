//! A framework's own array with its type erased.

use std::any::{Any, type_name};
use std::fmt;

use bridge_tensor::{Description, ManagedTensor};

use crate::descriptor::Descriptor;
use crate::error::{Error, Refused, Result};
use crate::native::{Erased, NativeArray, NativeType};

/// An array of any linked framework.
///
/// ```ignore
/// let array = Array::new(ndarray::arr2(&[[1.0, 2.0]]).into_dyn());
/// let tensor: candle_core::Tensor = registry.convert(array, "candle", Options::default())?.downcast()?;
/// ```
pub struct Array {
    value: Erased,
    native: &'static NativeType,
}

impl Array {
    /// Erases the type of an array.
    pub fn new<T: NativeArray<B>, B: 'static>(array: T) -> Self {
        Self { value: Box::new(array), native: const { &NativeType::of::<T, B>() } }
    }

    /// Makes an array of type `native` of a tensor, without copying.
    ///
    /// # Errors
    ///
    /// As [`NativeArray::import`]; the tensor comes back.
    pub fn import(
        tensor: ManagedTensor,
        native: &'static NativeType,
    ) -> Result<Self, Refused<ManagedTensor>> {
        Ok(Self { value: native.import_erased(tensor)?, native })
    }

    /// The array that a tensor was exported of, made of it again.
    ///
    /// # Panics
    ///
    /// Where its type refuses its own export, which breaks a law that backends must keep: a failed
    /// conversion relies on it to give its input back.
    pub fn restored(tensor: ManagedTensor, native: &'static NativeType) -> Self {
        Self::import(tensor, native)
            .unwrap_or_else(|refused| broken_law(native.name(), refused.error()))
    }

    /// The descriptor of the backend the array belongs to.
    pub fn descriptor(&self) -> &'static Descriptor {
        self.native.descriptor()
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
}

/// Ends a conversion whose input cannot be given back, because a backend or converter broke the law
/// that it takes its own array back.
///
/// # Panics
///
/// Always.
pub fn broken_law(name: &str, error: &Error) -> ! {
    panic!("{name} refused its own export, which a backend must not: {error}")
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
