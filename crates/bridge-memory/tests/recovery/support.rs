//! A framework that keeps freed memory, another that fails, and errors of theirs.

use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use bridge_core::{
    Allocator, Availability, Backend, Descriptor, Device, DeviceKind, DeviceMemory, Error,
    Holdings, ManagedTensor, NativeType, Registration, Registry, Result, TensorError, TensorSpec,
};
use bridge_testkit::fake_accelerator;

/// What the test frameworks report; a code tells what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameworkError(pub(crate) u32);

/// The code for out of memory; others are near misses.
pub(crate) const NO_MEMORY: FrameworkError = FrameworkError(2);
/// An illegal access.
pub(crate) const ILLEGAL_ACCESS: FrameworkError = FrameworkError(700);

impl fmt::Display for FrameworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the framework says {}, out of memory or not", self.0)
    }
}

impl std::error::Error for FrameworkError {}

/// An error of arraybridge for so many bytes of a device.
pub(crate) fn no_memory_on(device: Device) -> Error {
    TensorError::OutOfMemory { device, requested: 64 }.into()
}

/// How a test framework's allocator behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// It counts what it keeps, and gives it back.
    Counts,
    /// It gives back without counting.
    GivesBack,
    /// It fails.
    Fails,
    /// It panics.
    Panics,
}

/// A test framework: its devices are its own.
#[derive(Debug)]
pub(crate) struct Keeper {
    descriptor: Descriptor,
    device: Device,
    manner: Manner,
    kept: AtomicU64,
    /// Times that it was asked for what loads it.
    loaded: AtomicU64,
}

impl Keeper {
    pub(crate) const fn new(name: &'static str, ordinal: u32, manner: Manner) -> Self {
        let descriptor = Descriptor { name, aliases: &[], framework: "a test", priority: 0 };
        let device = Device::new(DeviceKind::Extension, ordinal);
        let (kept, loaded) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { descriptor, device, manner, kept, loaded }
    }

    /// It keeps so many bytes more.
    pub(crate) fn keep(&self, bytes: u64) {
        self.kept.fetch_add(bytes, Ordering::SeqCst);
    }

    pub(crate) fn kept(&self) -> u64 {
        self.kept.load(Ordering::SeqCst)
    }

    pub(crate) fn times_loaded(&self) -> u64 {
        self.loaded.load(Ordering::SeqCst)
    }
}

/// What stands for a [`Keeper`] in a registry, which wants types of its own for each.
#[derive(Debug)]
pub(crate) struct As<const N: usize>(pub(crate) Keeper);

macro_rules! framework {
    ($number:literal, $instance:path) => {
        impl Backend for As<$number> {
            fn descriptor(&self) -> &'static Descriptor {
                &$instance.0.descriptor
            }

            fn availability(&self) -> Availability {
                Availability::Ready { devices: Cow::Owned(vec![$instance.0.device]) }
            }

            fn native_types(&self) -> &'static [NativeType] {
                &[]
            }

            fn is_out_of_memory(&self, error: &(dyn std::error::Error + 'static)) -> bool {
                assert!(self.0.manner != Manner::Panics, "a backend's mistake");
                self.0.manner == Manner::Counts && error.downcast_ref() == Some(&NO_MEMORY)
            }
        }

        impl Allocator for As<$number> {
            fn backend(&self) -> &'static dyn Backend {
                &$instance
            }

            fn holds(&self, device: Device) -> bool {
                self.0.loaded.fetch_add(1, Ordering::SeqCst);
                device == self.0.device
            }

            fn allocate(&self, _: &TensorSpec, device: Device) -> Result<ManagedTensor> {
                Err(no_memory_on(device))
            }

            fn usage(&self, _: Device) -> Result<DeviceMemory> {
                Ok(DeviceMemory { total: 1 << 20, free: 0 })
            }

            fn trim(&self, device: Device) -> Result<u64> {
                match self.0.manner {
                    Manner::Fails => {
                        let (backend, operation) = (self.0.descriptor.name, "trim");
                        let message = format!("{device} is lost");
                        Err(Error::Framework { backend, operation, message })
                    }
                    Manner::Panics => panic!("an allocator's mistake"),
                    Manner::Counts | Manner::GivesBack => Ok(self.0.kept.swap(0, Ordering::SeqCst)),
                }
            }

            fn holdings(&self, device: Device) -> Result<Option<Holdings>> {
                let counts = self.0.manner == Manner::Counts && device == self.0.device;
                Ok(counts.then(|| Holdings { in_use: 0, cached: self.0.kept() }))
            }
        }
    };
}

/// Keeps memory of [`SHARED`] and counts it.
pub(crate) static COUNTING: As<0> = As(Keeper::new("counting", 40, Manner::Counts));
/// Keeps memory of [`SHARED`] and counts nothing.
pub(crate) static GIVING: As<1> = As(Keeper::new("giving", 40, Manner::GivesBack));
/// Fails when it is trimmed.
pub(crate) static FAILING: As<2> = As(Keeper::new("failing", 41, Manner::Fails));
/// Panics when it is trimmed.
pub(crate) static PANICKING: As<3> = As(Keeper::new("panicking", 41, Manner::Panics));
/// Counts, and keeps nothing.
pub(crate) static IDLE: As<4> = As(Keeper::new("idle", 42, Manner::Counts));

framework!(0, COUNTING);
framework!(1, GIVING);
framework!(2, FAILING);
framework!(3, PANICKING);
framework!(4, IDLE);

/// The device of [`COUNTING`] and [`GIVING`].
pub(crate) const SHARED: Device = Device::new(DeviceKind::Extension, 40);
/// The device of [`FAILING`] and [`PANICKING`].
pub(crate) const BROKEN: Device = Device::new(DeviceKind::Extension, 41);
/// The device of [`IDLE`].
pub(crate) const UNUSED: Device = Device::new(DeviceKind::Extension, 42);

/// All the test frameworks and the fake accelerator.
pub(crate) fn registry() -> Registry {
    let frameworks = [
        Registration::backend(&COUNTING),
        Registration::allocator(&COUNTING),
        Registration::backend(&GIVING),
        Registration::allocator(&GIVING),
        Registration::backend(&FAILING),
        Registration::allocator(&FAILING),
        Registration::backend(&PANICKING),
        Registration::allocator(&PANICKING),
        Registration::backend(&IDLE),
        Registration::allocator(&IDLE),
        Registration::host_tools(&bridge_host::HostKernels),
    ];
    Registry::new(fake_accelerator::REGISTRATIONS.iter().copied().chain(frameworks))
}
