//! What a crate adds to the registry when it is linked, or by hand.

use std::any::{Any, TypeId, type_name};
use std::sync::{Mutex, PoisonError};

use crate::absent::Absent;
use crate::admission::Admission;
use crate::allocator::Allocator;
use crate::backend::Backend;
use crate::capability::Capability;
use crate::converter::Converter;
use crate::error::Result;
use crate::host_tools::HostTools;
use crate::runtime::Runtime;

/// One thing a crate adds to the registry when it is linked.
///
/// ```ignore
/// inventory::submit! { Registration::backend(&NDARRAY) }
/// ```
#[derive(Clone, Copy)]
pub struct Registration {
    pub(crate) what: Registered,
    id: fn() -> TypeId,
    pub(crate) type_name: fn() -> &'static str,
}

#[derive(Clone, Copy)]
pub(crate) enum Registered {
    Backend(&'static dyn Backend),
    Runtime(&'static dyn Runtime),
    Allocator(&'static dyn Allocator),
    Converter(&'static dyn Converter),
    HostTools(&'static dyn HostTools),
    Admission(&'static dyn Admission),
    Capability(&'static (dyn Any + Sync)),
    Absent(&'static Absent),
}

inventory::collect!(Registration);

impl Registration {
    const fn of<T: 'static>(what: Registered) -> Self {
        Self { what, id: TypeId::of::<T>, type_name: type_name::<T> }
    }

    /// Adds a backend.
    pub const fn backend<B: Backend>(backend: &'static B) -> Self {
        Self::of::<B>(Registered::Backend(backend))
    }

    /// Adds who moves, copies and casts on the devices of a backend.
    pub const fn runtime<R: Runtime>(runtime: &'static R) -> Self {
        Self::of::<R>(Registered::Runtime(runtime))
    }

    /// Adds who holds memory of the devices of a backend.
    pub const fn allocator<A: Allocator>(allocator: &'static A) -> Self {
        Self::of::<A>(Registered::Allocator(allocator))
    }

    /// Adds a shortcut between two backends.
    pub const fn converter<C: Converter>(converter: &'static C) -> Self {
        Self::of::<C>(Registered::Converter(converter))
    }

    /// Adds the tools that copy and cast on the host. `bridge-host` does.
    pub const fn host_tools<H: HostTools>(tools: &'static H) -> Self {
        Self::of::<H>(Registered::HostTools(tools))
    }

    /// Adds who is asked before conversions take memory.
    pub const fn admission<A: Admission + 'static>(admission: &'static A) -> Self {
        Self::of::<A>(Registered::Admission(admission))
    }

    /// Adds something else that a backend can do.
    pub const fn capability<C: ?Sized + Sync + 'static>(
        capability: &'static Capability<C>,
    ) -> Self {
        Self::of::<Capability<C>>(Registered::Capability(capability))
    }

    /// Says of a backend that it is not in the program, and what would bring it.
    pub const fn absent(absent: &'static Absent) -> Self {
        Self::of::<Absent>(Registered::Absent(absent))
    }

    /// The name of the backend that it is, or that it does something for on devices; `None` for
    /// everything else.
    pub fn backend_name(&self) -> Option<&'static str> {
        match self.what {
            Registered::Backend(backend) => Some(backend.name()),
            Registered::Runtime(runtime) => Some(runtime.backend().name()),
            Registered::Allocator(allocator) => Some(allocator.backend().name()),
            _ => None,
        }
    }

    /// What makes two registrations the same one: the type, and where it lies; types without a size
    /// may share their place with others.
    pub(crate) fn identity(&self) -> Identity {
        let (kind, place) = match self.what {
            Registered::Backend(one) => (0, place(one)),
            Registered::Runtime(one) => (1, place(one)),
            Registered::Allocator(one) => (2, place(one)),
            Registered::Converter(one) => (3, place(one)),
            Registered::HostTools(one) => (4, place(one)),
            Registered::Admission(one) => (5, place(one)),
            Registered::Capability(one) => (6, place(one)),
            Registered::Absent(one) => (7, place(one)),
        };
        ((self.id)(), kind, place)
    }
}

/// The address of what has a size; without one, all of a type are the same.
fn place<T: ?Sized>(one: &T) -> usize {
    if size_of_val(one) == 0 { 0 } else { std::ptr::from_ref(one).cast::<u8>().addr() }
}

/// What makes two registrations the same: the type, what it is registered as, and where it lies.
pub(crate) type Identity = (TypeId, u8, usize);

/// What crates registered by hand, where link-time registration does not work.
static BY_HAND: Mutex<Vec<Registration>> = Mutex::new(Vec::new());

/// Adds these by hand, if `may` allows it while nothing else can be added.
pub(crate) fn add_by_hand(
    registrations: &[Registration],
    may: impl FnOnce() -> Result<bool>,
) -> Result<()> {
    let mut by_hand = BY_HAND.lock().unwrap_or_else(PoisonError::into_inner);
    if may()? {
        by_hand.extend_from_slice(registrations);
    }
    Ok(())
}

/// Everything that is linked, then everything registered by hand so far.
pub(crate) fn all() -> Vec<Registration> {
    let linked = inventory::iter::<Registration>.into_iter().copied();
    let by_hand = BY_HAND.lock().unwrap_or_else(PoisonError::into_inner);
    linked.chain(by_hand.iter().copied()).collect()
}

/// Does `publish` while nothing can be registered, if nothing was since there were `count`.
pub(crate) fn while_unchanged(count: usize, publish: impl FnOnce()) -> bool {
    let by_hand = BY_HAND.lock().unwrap_or_else(PoisonError::into_inner);
    let unchanged = inventory::iter::<Registration>.into_iter().count() + by_hand.len() == count;
    if unchanged {
        publish();
    }
    unchanged
}
