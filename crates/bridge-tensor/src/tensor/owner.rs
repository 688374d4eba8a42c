//! What keeps a tensor's memory alive.

use std::any::{Any, TypeId};
use std::fmt;

use dlpark::AllocationDeleter;
use smallbox::space::S1;
use smallbox::{SmallBox, smallbox};

use super::{ManagedTensor, SharedTensor};
use crate::host_memory::HostMemory;

/// What keeps a tensor's memory alive; dropping it frees the memory once.
#[derive(Debug, Default)]
pub struct Owner(pub(super) Kept);

#[derive(Default)]
pub(super) enum Kept {
    /// Memory that lives as long as the program, or none.
    #[default]
    Nothing,
    Host(HostMemory),
    Any(Value),
    /// As `Any`, taken back by an array type of this id.
    AnyFor(Value, TypeId),
    /// As `Any`, of device memory that is a vector's once it is mapped back to the host.
    Vector(Value),
    Foreign(#[expect(dead_code, reason = "held for its drop")] AllocationDeleter),
    Shared(#[expect(dead_code, reason = "held for its drop")] SharedTensor),
}

/// A Rust value of any type.
#[derive(Debug)]
pub(super) enum Value {
    /// A handle of one pointer, in place: most frameworks' arrays are.
    InPlace(SmallBox<dyn Any + Send, S1>),
    /// `SmallBox` would take these too, but leak the box where a value's `drop` panics.
    Boxed(Box<dyn Any + Send>),
}

impl Value {
    #[inline]
    fn new<T: Any + Send>(value: T) -> Self {
        if size_of::<T>() <= size_of::<S1>() && align_of::<T>() <= align_of::<S1>() {
            Self::InPlace(smallbox!(value))
        } else {
            Self::Boxed(Box::new(value))
        }
    }

    #[inline]
    fn get(&self) -> &(dyn Any + Send) {
        match self {
            Self::InPlace(value) => &**value,
            Self::Boxed(value) => &**value,
        }
    }

    #[inline]
    fn downcast<T: Any>(self) -> Result<T, Self> {
        match self {
            Self::InPlace(value) => {
                value.downcast().map(SmallBox::into_inner).map_err(Self::InPlace)
            }
            Self::Boxed(value) => value.downcast().map(|value| *value).map_err(Self::Boxed),
        }
    }
}

impl Owner {
    /// No owner: the memory is static, or the tensor is empty.
    pub fn nothing() -> Self {
        Self(Kept::Nothing)
    }

    /// A Rust value that keeps the memory alive until it is dropped, on whichever thread.
    /// [`ManagedTensor::into_owner`] gives it back to who knows its type.
    #[inline]
    pub fn keep<T: Any + Send>(value: T) -> Self {
        Self(Kept::Any(Value::new(value)))
    }

    /// As [`keep`](Self::keep), for a value that is not an `A` itself and that the array type `A` takes
    /// back: plans know that `A` gets it without a copy.
    #[inline]
    pub fn keep_for<A: Any, T: Any + Send>(value: T) -> Self {
        Self(Kept::AnyFor(Value::new(value), TypeId::of::<A>()))
    }

    /// As [`keep`](Self::keep), for memory of the host that a device uses in place: mapped back, it
    /// is [`Movable`](crate::Ownership::Movable) again, so that targets that own vectors can take it.
    pub fn keep_vector<T: Any + Send>(value: T) -> Self {
        Self(Kept::Vector(Value::new(value)))
    }

    /// The value that [`keep`](Self::keep) or [`keep_vector`](Self::keep_vector) was given.
    ///
    /// # Errors
    ///
    /// The owner itself, where it is not a `T`.
    #[inline]
    pub fn into_kept<T: Any>(self) -> Result<T, Self> {
        match self.0 {
            Kept::Any(value) => value.downcast().map_err(|value| Self(Kept::Any(value))),
            Kept::AnyFor(value, id) => {
                value.downcast().map_err(|value| Self(Kept::AnyFor(value, id)))
            }
            Kept::Vector(value) => value.downcast().map_err(|value| Self(Kept::Vector(value))),
            other => Err(Self(other)),
        }
    }

    pub(crate) fn foreign(deleter: AllocationDeleter) -> Self {
        Self(Kept::Foreign(deleter))
    }
}

impl From<HostMemory> for Owner {
    fn from(memory: HostMemory) -> Self {
        Self(Kept::Host(memory))
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "nothing",
            Self::Host(_) => "host memory",
            Self::Any(_) | Self::AnyFor(..) | Self::Vector(_) => "a Rust value",
            Self::Foreign(_) => "a DLPack deleter",
            Self::Shared(_) => "a shared tensor",
        })
    }
}

impl Owner {
    pub(super) fn into_host_memory(self) -> HostMemory {
        match self.0 {
            Kept::Host(memory) => memory,
            _ => unreachable!("every caller has seen host memory here"),
        }
    }
}

impl ManagedTensor {
    /// Whether [`into_owner`](Self::into_owner) would give out a `T`.
    #[inline]
    pub fn is_kept_by<T: Any>(&self) -> bool {
        self.parts.pristine && self.kept().is_some_and(<dyn Any + Send>::is::<T>)
    }

    /// The value that [`Owner::keep`] was given, to be looked at, where it is a `T` and the tensor
    /// is as it was made. `T` must be `Sync`, as tensors are.
    #[inline]
    pub fn owner_ref<T: Any + Sync>(&self) -> Option<&T> {
        self.kept().filter(|_| self.parts.pristine).and_then(<dyn Any + Send>::downcast_ref)
    }

    /// The value that [`Owner::keep`] was given, where it is a `T` and the tensor is as it was
    /// made: no view of it, and not made read-only since.
    ///
    /// # Errors
    ///
    /// The tensor itself otherwise.
    #[inline]
    pub fn into_owner<T: Any>(self) -> Result<T, Self> {
        if !self.is_kept_by::<T>() {
            return Err(self);
        }
        let Ok(value) = self.into_owner_only().into_kept() else {
            unreachable!("is_kept_by was asked")
        };
        Ok(value)
    }

    /// The Rust value that keeps the memory.
    #[inline]
    pub(super) fn kept(&self) -> Option<&(dyn Any + Send)> {
        match &self.parts.owner.0 {
            Kept::Any(value) | Kept::AnyFor(value, _) | Kept::Vector(value) => Some(value.get()),
            _ => None,
        }
    }

    /// The array type that takes the memory back.
    pub(super) fn taken_back_by(&self) -> Option<TypeId> {
        match &self.parts.owner.0 {
            Kept::AnyFor(_, id) => Some(*id),
            _ => self.kept().map(Any::type_id),
        }
    }

    /// Takes the owner out; the rest of the tensor must not outlive it.
    pub(crate) fn into_owner_only(self) -> Owner {
        self.into_parts().owner
    }
}
