//! Array types: how a framework's own type becomes a tensor and back.

use std::any::{Any, TypeId, type_name};
use std::fmt;

use bridge_tensor::{Description, ManagedTensor};

use crate::accepts::Accepts;
use crate::descriptor::Descriptor;
use crate::error::{Error, Refused, Result};

/// A framework's own array type. `B` is the backend that implements it.
///
/// The parameter lets a backend crate implement the trait for types of the framework, which is a
/// third crate. Callers never write it.
///
/// Three laws, which the conformance suite checks:
///
/// - `describe` says of an array what `export` then gives.
/// - `import(export(a))` gives `a` back without copying.
/// - A tensor that keeps [`accepts`](Self::accepts) is imported without copying; any other is
///   refused and comes back. `import` never copies and never casts: that is the planner's work.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an array type of a backend that is linked here",
    label = "no backend knows this type",
    note = "enable the Cargo feature of arraybridge that adds its framework, or depend on the crate \
            that implements `NativeArray` for it and name it once: `use that_crate as _;`",
    note = "if it is an array type of a backend, two versions of its framework, or of bridge-core, \
            may be in the program: `cargo tree --duplicates` shows them"
)]
pub trait NativeArray<B: 'static>: Sized + Send + 'static {
    /// Which tensors `import` takes, where that is known when the crate is compiled.
    const ACCEPTS: Accepts;

    /// Which tensors `import` takes. Only an array type that learns it at run time (from the version
    /// of a framework that is installed, say) answers anything else than [`ACCEPTS`](Self::ACCEPTS),
    /// and always the same.
    #[inline]
    fn accepts() -> &'static Accepts {
        const { &Self::ACCEPTS }
    }

    /// The descriptor of the backend the type belongs to.
    fn descriptor() -> &'static Descriptor;

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
    /// Where the tensor does not keep [`accepts`](Self::accepts); the tensor comes back.
    fn import(tensor: ManagedTensor) -> Result<Self, Refused<ManagedTensor>>;
}

/// A value whose type is only known to its [`NativeType`].
pub(crate) type Erased = Box<dyn Any + Send>;

/// An array type without its type: what a [`Backend`](crate::Backend) lists.
pub struct NativeType {
    id: fn() -> TypeId,
    name: fn() -> &'static str,
    descriptor: fn() -> &'static Descriptor,
    accepts: fn() -> &'static Accepts,
    describe: fn(&dyn Any) -> Result<Description>,
    export: fn(Erased) -> Result<ManagedTensor, Refused<Erased>>,
    import: fn(ManagedTensor) -> Result<Erased, Refused<ManagedTensor>>,
}

impl NativeType {
    /// The array type `T` of backend `B`.
    pub const fn of<T: NativeArray<B>, B: 'static>() -> Self {
        Self {
            id: TypeId::of::<T>,
            name: type_name::<T>,
            descriptor: T::descriptor,
            accepts: T::accepts,
            describe: |value| match value.downcast_ref::<T>() {
                Some(array) => array.describe(),
                None => Err(other_type::<T>()),
            },
            export: |value| match value.downcast::<T>() {
                Ok(array) => {
                    array.export().map_err(|refused| refused.map(|array| Box::new(array) as _))
                }
                Err(other) => Err(Refused::new(other, other_type::<T>())),
            },
            import: |tensor| T::import(tensor).map(|array| Box::new(array) as _),
        }
    }

    /// The Rust name of the type.
    pub fn name(&self) -> &'static str {
        (self.name)()
    }

    /// The descriptor of the backend it belongs to.
    pub fn descriptor(&self) -> &'static Descriptor {
        (self.descriptor)()
    }

    /// Which tensors it takes.
    pub fn accepts(&self) -> &'static Accepts {
        (self.accepts)()
    }

    /// The Rust type, as `TypeId::of`.
    pub fn type_id(&self) -> TypeId {
        (self.id)()
    }

    /// Whether `value` is of this type.
    pub fn is_type_of(&self, value: &dyn Any) -> bool {
        (self.id)() == value.type_id()
    }

    pub(crate) fn describe(&self, value: &dyn Any) -> Result<Description> {
        (self.describe)(value)
    }

    pub(crate) fn export(&self, value: Erased) -> Result<ManagedTensor, Refused<Erased>> {
        (self.export)(value)
    }

    pub(crate) fn import_erased(
        &self,
        tensor: ManagedTensor,
    ) -> Result<Erased, Refused<ManagedTensor>> {
        (self.import)(tensor)
    }
}

fn other_type<T>() -> Error {
    Error::WrongArrayType { asked: type_name::<T>(), found: "other type" }
}

impl fmt::Debug for NativeType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NativeType({} of {})", self.name(), self.descriptor().name)
    }
}
