//! The registry: everything that is linked into the program.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

use bridge_tensor::{Device, DeviceKind};

use crate::absent::{Absent, slips};
use crate::admission::Admission;
use crate::allocator::Allocator;
use crate::array::Array;
use crate::backend::Backend;
use crate::capability::Capability;
use crate::converter::Converter;
use crate::dlpack_backend::Dlpack;
use crate::error::{Error, Result};
use crate::host_tools::HostTools;
use crate::registration::{self, Identity, Registered, Registration};
use crate::runtime::Runtime;

/// Every backend, and everything that was registered for one, in a fixed order: backends by
/// priority, then by name. The conversion matrix is read off it.
pub struct Registry {
    backends: Vec<&'static dyn Backend>,
    runtimes: Vec<&'static dyn Runtime>,
    allocators: Vec<&'static dyn Allocator>,
    converters: Vec<&'static dyn Converter>,
    host_tools: Option<&'static dyn HostTools>,
    admission: Option<&'static dyn Admission>,
    capabilities: Vec<&'static (dyn Any + Sync)>,
    absent: Vec<&'static Absent>,
    registered: Vec<(Identity, &'static str)>,
    disabled: Vec<Disabled>,
}

/// Something that was registered and cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disabled {
    /// Its Rust type.
    pub type_name: &'static str,
    /// Why not, and what to do.
    pub reason: String,
}

static GLOBAL: OnceLock<Registry> = OnceLock::new();

thread_local! {
    /// Whether this thread is making the global registry, and so asks backends what they are.
    static MAKING: Cell<bool> = const { Cell::new(false) };
}

/// Registers by hand what link-time registration cannot: in a Rust static library that a C program
/// links, the linker drops it. Call it, or a backend crate's `register_all()`, before the first use
/// of [`Registry::global`]. Registering a thing twice is harmless.
///
/// # Errors
///
/// [`Error::Unsupported`] where the global registry is already in use and lacks it.
pub fn register(registrations: &[Registration]) -> Result<()> {
    registration::add_by_hand(registrations, || {
        let Some(registry) = GLOBAL.get() else { return Ok(true) };
        match registrations.iter().find(|new| !registry.knows(new)) {
            None => Ok(false),
            Some(late) => Err(Error::Unsupported {
                what: format!("registering {} after the registry was used", (late.type_name)()),
                remedy: "call register() first thing in the program".to_owned(),
            }),
        }
    })
}

impl Registry {
    /// The registry of this program: what is linked, and what was registered by hand before its
    /// first use.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] where a backend's `descriptor` asks for it, as it is asked while the
    /// registry is made.
    pub fn global() -> Result<&'static Self> {
        if let Some(made) = GLOBAL.get() {
            return Ok(made);
        }
        if MAKING.replace(true) {
            return Err(Error::Unsupported {
                what: "asking for the registry while it is made".to_owned(),
                remedy: "a backend's descriptor() must answer without it".to_owned(),
            });
        }
        // No lock is held while backends are asked. Where another thread was faster, or something
        // was registered meanwhile, what was made here is dropped.
        let made = loop {
            let registrations = registration::all();
            let count = registrations.len();
            let registry = Self::new(registrations);
            let mut made = None;
            let publish = || made = Some(GLOBAL.get_or_init(|| registry));
            if registration::while_unchanged(count, publish)
                && let Some(made) = made
            {
                break made;
            }
        };
        MAKING.set(false);
        Ok(made)
    }

    /// A registry of these registrations. One that comes twice counts once. Where two claim one
    /// place, the later one is [disabled](Self::disabled).
    pub fn new(registrations: impl IntoIterator<Item = Registration>) -> Self {
        let mut registry = Self {
            backends: Vec::new(),
            runtimes: Vec::new(),
            allocators: Vec::new(),
            converters: Vec::new(),
            host_tools: None,
            admission: None,
            capabilities: Vec::new(),
            absent: Vec::new(),
            registered: Vec::new(),
            disabled: Vec::new(),
        };
        for registration in registrations {
            let identity = registration.identity();
            if registry.registered.iter().any(|(known, _)| *known == identity) {
                continue;
            }
            let type_name = (registration.type_name)();
            // A backend that panics when it is asked what it is takes nobody else down with it.
            let added = catch_unwind(AssertUnwindSafe(|| registry.add(registration.what)));
            let added = added.unwrap_or_else(|_| {
                Err("it panicked when it was asked what it is: report it to its authors".to_owned())
            });
            if let Err(reason) = added {
                registry.disabled.push(Disabled { type_name, reason });
            }
            registry.registered.push((identity, type_name));
        }
        let order = |backend: &'static dyn Backend| {
            let descriptor = backend.descriptor();
            (std::cmp::Reverse(descriptor.priority), descriptor.name)
        };
        registry.backends.sort_by_key(|&backend| order(backend));
        registry.converters.sort_by_key(|converter| (converter.source(), converter.target()));
        registry.runtimes.sort_by_key(|runtime| order(runtime.backend()));
        registry.allocators.sort_by_key(|allocator| order(allocator.backend()));
        registry
    }

    /// Adds one thing; the error says why it cannot be used.
    fn add(&mut self, what: Registered) -> Result<(), String> {
        match what {
            Registered::Backend(backend) => {
                for name in backend.descriptor().names() {
                    if let Some(first) = self.backends.iter().find(|one| one.answers_to(name)) {
                        return Err(format!(
                            "it answers to \"{name}\", as \"{}\" does, which came first: link one \
                             of them, or rename one",
                            first.name()
                        ));
                    }
                }
                self.backends.push(backend);
            }
            Registered::Converter(converter) => {
                let (source, target) = (converter.source(), converter.target());
                if self.converter(source, target).is_some() {
                    return Err(format!(
                        "another converter goes from \"{source}\" to \"{target}\", and came first: \
                         link one of them"
                    ));
                }
                self.converters.push(converter);
            }
            Registered::HostTools(tools) => {
                if self.host_tools.is_some() {
                    return Err("other host tools came first: link one of them".to_owned());
                }
                self.host_tools = Some(tools);
            }
            Registered::Admission(admission) => {
                if self.admission.is_some() {
                    return Err("another admission came first: link one of them".to_owned());
                }
                self.admission = Some(admission);
            }
            // What a runtime or an allocator is asked when it is sorted and looked up is asked
            // here once, so that a panic disables it.
            Registered::Runtime(runtime) => {
                let _ = (runtime.backend().descriptor(), runtime.device_kinds());
                self.runtimes.push(runtime);
            }
            Registered::Allocator(allocator) => {
                let _ = allocator.backend().descriptor();
                self.allocators.push(allocator);
            }
            Registered::Capability(capability) => self.capabilities.push(capability),
            Registered::Absent(absent) => self.absent.push(absent),
        }
        Ok(())
    }

    /// Every backend, in the fixed order.
    pub fn backends(&self) -> &[&'static dyn Backend] {
        &self.backends
    }

    /// The backends that can run on this machine, in the fixed order.
    pub fn available(&self) -> impl Iterator<Item = &'static dyn Backend> + '_ {
        self.backends.iter().copied().filter(|backend| backend.checked_availability().is_ready())
    }

    /// What was registered and cannot be used, with the reasons.
    pub fn disabled(&self) -> &[Disabled] {
        &self.disabled
    }

    /// The backend of this name or alias, without regard to case.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownBackend`], listing what is linked, with the one that was meant where that can be
    /// told.
    pub fn backend(&self, name: &str) -> Result<&'static dyn Backend> {
        let linked = self.backends.iter().copied().find(|backend| backend.answers_to(name));
        linked.ok_or_else(|| self.unknown(name))
    }

    /// The backends that are said not to be in the program, and are not.
    pub fn absent(&self) -> impl Iterator<Item = &'static Absent> + '_ {
        let is_linked =
            |one: &Absent| self.backends.iter().any(|backend| backend.answers_to(one.name()));
        self.absent.iter().copied().filter(move |one| !is_linked(one))
    }

    #[cold]
    fn unknown(&self, asked: &str) -> Error {
        let absent = self.absent().find(|one| one.answers_to(asked));
        let nearest = || {
            let linked = self.backends.iter().flat_map(|backend| {
                backend.descriptor().names().map(|name| (name, Ok(backend.name())))
            });
            let absent =
                self.absent().flat_map(|one| one.names.iter().map(move |&name| (name, Err(one))));
            let slips =
                linked.chain(absent).filter_map(|(name, what)| Some((slips(asked, name)?, what)));
            slips.min_by_key(|(letters, _)| *letters).map(|(_, what)| what)
        };
        let meant = match absent {
            Some(absent) => Some(Err(absent)),
            None => nearest(),
        };
        let (meant, remedy) = match meant {
            Some(Ok(name)) => (Some(name), None),
            Some(Err(absent)) => (Some(absent.name()), Some(absent.remedy)),
            None => (None, None),
        };
        Error::UnknownBackend { asked: asked.to_owned(), available: self.names(), meant, remedy }
    }

    /// The backend that an array belongs to.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownBackend`] where this registry does not have it.
    pub fn backend_of(&self, array: &Array) -> Result<&'static dyn Backend> {
        let descriptor = array.descriptor();
        if std::ptr::eq(descriptor, Dlpack.descriptor()) {
            return Ok(&Dlpack);
        }
        self.backend(descriptor.name)
    }

    /// The runtime that serves `device`: of several the native one, and of equals the first in the
    /// order of their backends.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] where none is linked for this kind of device; else what their backends say
    /// of its absence: [`Error::Unavailable`] or [`Error::DeviceUnavailable`].
    pub fn runtime(&self, device: Device) -> Result<&'static dyn Runtime> {
        let mut best = None;
        for &runtime in &self.runtimes {
            // The first of the highest rank: a later one must be higher.
            match (runtime.serves(device), best) {
                (Some(rank), Some((highest, _))) if rank <= highest => {}
                (Some(rank), _) => best = Some((rank, runtime)),
                (None, _) => {}
            }
        }
        if let Some((_, runtime)) = best {
            return Ok(runtime);
        }
        let kind = device.kind();
        let backends: Vec<_> = self.runtimes_for(kind).map(Runtime::backend).collect();
        // A backend that cannot run at all tells more than one that runs on other devices.
        if let Some(error) = backends.iter().find_map(|backend| backend.devices().err()) {
            return Err(error);
        }
        Err(match backends.first() {
            Some(backend) => backend.lacks(device),
            None => Error::Unsupported {
                what: format!("memory of {device}"),
                remedy: format!(
                    "link a backend for {kind} (arraybridge has Cargo features for it)"
                ),
            },
        })
    }

    /// The runtimes for a kind of device, whether or not they serve one here, in the fixed order.
    pub fn runtimes_for(
        &self,
        kind: DeviceKind,
    ) -> impl Iterator<Item = &'static dyn Runtime> + '_ {
        let is_for = move |runtime: &&dyn Runtime| runtime.device_kinds().contains(&kind);
        self.runtimes.iter().copied().filter(is_for)
    }

    /// Every runtime, whether or not it serves a device here, in the fixed order.
    pub fn runtimes(&self) -> &[&'static dyn Runtime] {
        &self.runtimes
    }

    /// Every allocator, whether or not it holds memory here, in the fixed order.
    pub fn every_allocator(&self) -> &[&'static dyn Allocator] {
        &self.allocators
    }

    /// Everybody who holds memory of `device`, in the fixed order.
    pub fn allocators(&self, device: Device) -> impl Iterator<Item = &'static dyn Allocator> + '_ {
        self.allocators.iter().copied().filter(move |allocator| allocator.holds(device))
    }

    /// Something else that the backend of this name can do, where it has been registered.
    pub fn capability<C: ?Sized + Sync + 'static>(&self, backend: &str) -> Option<&'static C> {
        // By an alias too, where the backend is linked.
        let name = match self.backend(backend) {
            Ok(linked) => linked.name(),
            Err(_) => backend,
        };
        let found = self.capabilities.iter().find_map(|one| {
            let one: &'static dyn Any = *one;
            one.downcast_ref::<Capability<C>>().filter(|one| one.backend() == name)
        });
        found.map(Capability::get)
    }

    /// Who is asked before conversions take memory, where somebody is.
    #[inline]
    pub fn admission(&self) -> Option<&'static dyn Admission> {
        self.admission
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

    /// Whether this very thing was registered.
    pub(crate) fn knows(&self, registration: &Registration) -> bool {
        let identity = registration.identity();
        self.registered.iter().any(|(known, _)| *known == identity)
    }

    fn names(&self) -> Vec<&'static str> {
        self.backends.iter().map(|backend| backend.name()).collect()
    }
}
