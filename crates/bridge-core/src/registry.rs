//! The registry: every backend and converter linked into the program.

use std::any::{Any, TypeId, type_name};
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::backend::Backend;
use crate::converter::Converter;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::host_tools::HostTools;

/// One thing a crate adds to the registry when it is linked.
///
/// ```ignore
/// inventory::submit! { Registration::backend(&NDARRAY) }
/// ```
#[derive(Clone, Copy)]
pub struct Registration {
    what: Registered,
    id: fn() -> TypeId,
    type_name: fn() -> &'static str,
}

#[derive(Clone, Copy)]
enum Registered {
    Backend(&'static dyn Backend),
    Converter(&'static dyn Converter),
    HostTools(&'static dyn HostTools),
}

inventory::collect!(Registration);

impl Registration {
    /// Adds a backend.
    pub const fn backend<B: Backend>(backend: &'static B) -> Self {
        Self { what: Registered::Backend(backend), id: TypeId::of::<B>, type_name: type_name::<B> }
    }

    /// Adds a shortcut between two backends.
    pub const fn converter<C: Converter>(converter: &'static C) -> Self {
        Self {
            what: Registered::Converter(converter),
            id: TypeId::of::<C>,
            type_name: type_name::<C>,
        }
    }

    /// Adds the tools that copy and cast on the host. `bridge-host` does.
    pub const fn host_tools<H: HostTools>(tools: &'static H) -> Self {
        Self { what: Registered::HostTools(tools), id: TypeId::of::<H>, type_name: type_name::<H> }
    }
}

impl Registration {
    fn identity(&self) -> Identity {
        let (source, target) = match self.what {
            Registered::Backend(backend) => (backend.descriptor().name, ""),
            Registered::Converter(converter) => (converter.source(), converter.target()),
            Registered::HostTools(_) => ("", ""),
        };
        ((self.id)(), source, target)
    }
}

/// What crates registered by hand, where link-time registration does not work.
static BY_HAND: Mutex<Vec<Registration>> = Mutex::new(Vec::new());

/// Registers by hand what link-time registration cannot: in a Rust static library that a C program
/// links, the linker drops it. Call it, or a backend crate's `register_all()`, before the first use
/// of [`Registry::global`]. Registering a thing twice is harmless.
///
/// # Errors
///
/// [`Error::Unsupported`] where the global registry is already in use and lacks it.
pub fn register(registrations: &[Registration]) -> Result<()> {
    let mut by_hand = BY_HAND.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(Ok(registry)) = GLOBAL.get() {
        return match registrations.iter().find(|new| !registry.ids.contains(&new.identity())) {
            None => Ok(()),
            Some(late) => Err(Error::Unsupported {
                what: format!("registering {} after the registry was used", (late.type_name)()),
                remedy: "call register() first thing in the program".to_owned(),
            }),
        };
    }
    by_hand.extend_from_slice(registrations);
    Ok(())
}

static GLOBAL: OnceLock<Result<Registry>> = OnceLock::new();

/// Every backend and converter linked into the program, in a fixed order: by priority, then by
/// name. The conversion matrix is read off it.
pub struct Registry {
    backends: Vec<&'static dyn Backend>,
    converters: Vec<&'static dyn Converter>,
    host_tools: Option<&'static dyn HostTools>,
    ids: Vec<Identity>,
    host_tools_type: Option<&'static str>,
}

/// What makes two registrations the same: the type, and what it is registered as.
type Identity = (TypeId, &'static str, &'static str);

impl Registry {
    /// The registry of this program: what is linked, and what was registered by hand.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), at every call.
    pub fn global() -> Result<&'static Self> {
        if let Some(made) = GLOBAL.get() {
            return made.as_ref().map_err(Clone::clone);
        }
        // Held until the registry stands, so that nothing is registered by hand in between.
        let by_hand = BY_HAND.lock().unwrap_or_else(PoisonError::into_inner);
        let linked = || {
            let linked = inventory::iter::<Registration>.into_iter().copied();
            Self::new(linked.chain(by_hand.iter().copied()))
        };
        GLOBAL.get_or_init(linked).as_ref().map_err(Clone::clone)
    }

    /// A registry of these registrations. One that comes twice counts once.
    ///
    /// # Errors
    ///
    /// [`Error::DuplicateBackend`] and [`Error::DuplicateConverter`] where two different ones claim
    /// one place.
    pub fn new(registrations: impl IntoIterator<Item = Registration>) -> Result<Self> {
        let mut registry = Self {
            backends: Vec::new(),
            converters: Vec::new(),
            host_tools: None,
            ids: Vec::new(),
            host_tools_type: None,
        };
        let mut type_names: Vec<(&'static dyn Backend, &'static str)> = Vec::new();
        for registration in registrations {
            let identity = registration.identity();
            if registry.ids.contains(&identity) {
                continue;
            }
            registry.ids.push(identity);
            let Registration { what, type_name, .. } = registration;
            match what {
                Registered::Backend(backend) => {
                    let names = std::iter::once(&backend.descriptor().name)
                        .chain(backend.descriptor().aliases);
                    for name in names {
                        let clash = type_names.iter().find(|(other, _)| other.answers_to(name));
                        if let Some(&(_, first)) = clash {
                            let second = type_name();
                            return Err(Error::DuplicateBackend { name, first, second });
                        }
                    }
                    type_names.push((backend, type_name()));
                    registry.backends.push(backend);
                }
                Registered::Converter(converter) => {
                    let (source_name, target_name) = (converter.source(), converter.target());
                    if registry.converter(source_name, target_name).is_some() {
                        return Err(Error::DuplicateConverter { source_name, target_name });
                    }
                    registry.converters.push(converter);
                }
                Registered::HostTools(tools) => {
                    if let Some(first) = registry.host_tools_type.replace(type_name()) {
                        let second = type_name();
                        return Err(Error::DuplicateHostTools { first, second });
                    }
                    registry.host_tools = Some(tools);
                }
            }
        }
        registry.backends.sort_by_key(|backend| {
            let descriptor = backend.descriptor();
            (std::cmp::Reverse(descriptor.priority), descriptor.name)
        });
        registry.converters.sort_by_key(|converter| (converter.source(), converter.target()));
        Ok(registry)
    }

    /// Every backend, in the fixed order.
    pub fn backends(&self) -> &[&'static dyn Backend] {
        &self.backends
    }

    /// The backends that can run on this machine, in the fixed order.
    pub fn available(&self) -> impl Iterator<Item = &'static dyn Backend> + '_ {
        self.backends.iter().copied().filter(|backend| backend.availability().is_ready())
    }

    /// The backend of this name or alias, without regard to case.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownBackend`], listing what is linked.
    pub fn backend(&self, name: &str) -> Result<&'static dyn Backend> {
        self.backends.iter().copied().find(|backend| backend.answers_to(name)).ok_or_else(|| {
            Error::UnknownBackend { asked: name.to_owned(), available: self.names() }
        })
    }

    /// The first backend that manages memory of this kind of device.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] where none does, [`Error::Unavailable`] where it cannot run here.
    pub fn backend_of(&self, device: Device) -> Result<&'static dyn Backend> {
        let manages =
            |backend: &&dyn Backend| backend.descriptor().device_kinds.contains(&device.kind());
        let mut found = self.backends.iter().copied().filter(manages).peekable();
        let Some(&first) = found.peek() else {
            return Err(Error::Unsupported {
                what: format!("memory of {device}"),
                remedy: format!("link a backend for {}", device.kind()),
            });
        };
        match found.find(|backend| backend.availability().is_ready()) {
            Some(ready) => Ok(ready),
            None => first.devices().map(|_| first),
        }
    }

    /// Every shortcut, ordered by source and target.
    pub fn converters(&self) -> &[&'static dyn Converter] {
        &self.converters
    }

    /// The shortcut from one backend to another.
    pub fn converter(&self, source: &str, target: &str) -> Option<&'static dyn Converter> {
        let serves = |one: &&dyn Converter| one.source() == source && one.target() == target;
        self.converters.iter().copied().find(serves)
    }

    /// The tools that copy and cast on the host.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] where `bridge-host` is not linked.
    pub fn host_tools(&self) -> Result<&'static dyn HostTools> {
        self.host_tools.ok_or_else(|| Error::Unsupported {
            what: "copying in host memory".to_owned(),
            remedy: "link bridge-host, as the package arraybridge does (`use bridge_host as _;`)"
                .to_owned(),
        })
    }

    /// The backend that knows the type of `value`, if one does.
    pub fn detect(&self, value: &dyn Any) -> Option<&'static dyn Backend> {
        let knows = |backend: &&dyn Backend| backend.native_type_of(value).is_some();
        self.backends.iter().copied().find(knows)
    }

    fn names(&self) -> Vec<&'static str> {
        self.backends.iter().map(|backend| backend.name()).collect()
    }
}
