//! Array types: how a framework's own type becomes a tensor and back.

use std::any::{Any, TypeId, type_name};
use std::fmt;

use crate::accepts::Accepts;
use crate::array::Array;
use crate::backend::Backend;
use crate::error::{Error, Refused, Result};
use crate::plan::Description;
use crate::tensor::ManagedTensor;

/// A framework's own array type. `B` is the backend that implements it.
///
/// The parameter lets a backend crate implement the trait for types of the framework, which is a
/// third crate. Callers never write it.
///
/// Three laws, which the conformance suite checks:
///
/// - `describe` says of an array what `export` then gives.
/// - `import(export(a))` gives `a` back without copying.
/// - A tensor that keeps `ACCEPTS` is imported without copying; any other is refused and comes
///   back. `import` never copies and never casts: that is the planner's work.
pub trait NativeArray<B: Backend>: Sized + Send + 'static {
    /// Which tensors `import` takes.
    const ACCEPTS: Accepts;

    /// The backend the type belongs to.
    fn backend() -> &'static B;

    /// What a plan needs to know of the array. No element is touched.
    ///
    /// # Errors
    ///
    /// Where the array cannot be exported, and why.
    fn describe(&self) -> Result<Description>;

    /// Hands the array over as a tensor, without copying.
    ///
    /// # Errors
    ///
    /// Where it cannot be; the array comes back.
    fn export(self) -> Result<ManagedTensor, Refused<Self>>;

    /// Makes an array of a tensor, without copying.
    ///
    /// # Errors
    ///
    /// Where the tensor does not keep [`ACCEPTS`](Self::ACCEPTS); the tensor comes back.
    fn import(tensor: ManagedTensor) -> Result<Self, Refused<ManagedTensor>>;
}

/// An array whose type is only known to its [`NativeType`].
pub(crate) type Erased = Box<dyn Any + Send>;

/// An array type without its type: what a [`Backend`] lists.
pub struct NativeType {
    id: fn() -> TypeId,
    name: fn() -> &'static str,
    backend: fn() -> &'static dyn Backend,
    accepts: &'static Accepts,
    describe: fn(&dyn Any) -> Result<Description>,
    export: fn(Erased) -> Result<ManagedTensor, Refused<Erased>>,
    import: fn(ManagedTensor) -> Result<Array, Refused<ManagedTensor>>,
}

impl NativeType {
    /// The array type `T` of backend `B`.
    pub const fn of<T: NativeArray<B>, B: Backend>() -> Self {
        Self {
            id: TypeId::of::<T>,
            name: type_name::<T>,
            backend: || T::backend(),
            accepts: const { &T::ACCEPTS },
            describe: |value| match value.downcast_ref::<T>() {
                Some(array) => array.describe(),
                None => Err(Error::WrongArrayType { asked: type_name::<T>(), found: "other type" }),
            },
            export: |value| match value.downcast::<T>() {
                Ok(array) => {
                    array.export().map_err(|refused| refused.map(|array| Box::new(array) as _))
                }
                Err(other) => {
                    let error =
                        Error::WrongArrayType { asked: type_name::<T>(), found: "other type" };
                    Err(Refused::new(other, error))
                }
            },
            import: |tensor| T::import(tensor).map(Array::new::<T, B>),
        }
    }

    /// The Rust name of the type.
    pub fn name(&self) -> &'static str {
        (self.name)()
    }

    /// The backend it belongs to.
    pub fn backend(&self) -> &'static dyn Backend {
        (self.backend)()
    }

    /// Which tensors it takes.
    pub fn accepts(&self) -> &'static Accepts {
        self.accepts
    }

    /// The Rust type, as `TypeId::of`.
    pub fn type_id(&self) -> TypeId {
        (self.id)()
    }

    /// Whether `value` is of this type.
    pub fn is_type_of(&self, value: &dyn Any) -> bool {
        (self.id)() == value.type_id()
    }

    /// Makes an array of a tensor, without copying.
    ///
    /// # Errors
    ///
    /// As [`NativeArray::import`].
    pub fn import(&self, tensor: ManagedTensor) -> Result<Array, Refused<ManagedTensor>> {
        (self.import)(tensor)
    }

    pub(crate) fn describe(&self, value: &dyn Any) -> Result<Description> {
        (self.describe)(value)
    }

    pub(crate) fn export(&self, value: Erased) -> Result<ManagedTensor, Refused<Erased>> {
        (self.export)(value)
    }
}

impl fmt::Debug for NativeType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NativeType({} of {})", self.name(), self.backend().name())
    }
}
