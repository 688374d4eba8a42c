//! What is registered, what is disabled, and who answers for a device.

use bridge_core::{
    Availability, Backend, DataType, Descriptor, Device, DeviceKind, Error, ManagedTensor,
    NativeType, Overflow, Rank, Registration, Registry, Result, Runtime, Unavailable,
};

/// A backend without array types, which does as it is told when it is asked.
struct Asked {
    descriptor: fn() -> &'static Descriptor,
    availability: fn() -> Availability,
}

impl Backend for Asked {
    fn descriptor(&self) -> &'static Descriptor {
        (self.descriptor)()
    }

    fn availability(&self) -> Availability {
        (self.availability)()
    }

    fn native_types(&self) -> &'static [NativeType] {
        &[]
    }
}

macro_rules! named {
    ($name:literal, $aliases:expr) => {
        || {
            const { &Descriptor { name: $name, aliases: $aliases, framework: "a test", priority: 0 } }
        }
    };
}

fn ready() -> Availability {
    Availability::HOST
}

fn absent() -> Availability {
    Availability::Unavailable(Unavailable::new("there is no driver", "install one"))
}

static FIRST: Asked = Asked { descriptor: named!("first", &["one"]), availability: ready };

fn names(registry: &Registry) -> Vec<&'static str> {
    registry.backends().iter().map(|backend| backend.name()).collect()
}

#[test]
fn a_backend_that_claims_a_taken_name_is_disabled_and_the_others_stay() {
    static CLASHING: Asked = Asked { descriptor: named!("other", &["ONE"]), availability: ready };
    static THIRD: Asked = Asked { descriptor: named!("third", &[]), availability: ready };
    let all = [&FIRST, &CLASHING, &THIRD].map(Registration::backend);
    let registry = Registry::new(all);
    assert_eq!(names(&registry), ["first", "third"]);
    let [disabled] = registry.disabled() else { panic!("{:?}", registry.disabled()) };
    assert!(disabled.reason.contains("\"ONE\"") && disabled.reason.contains("\"first\""));
    assert!(disabled.type_name.contains("Asked"), "{disabled:?}");
}

#[test]
fn the_same_registration_twice_counts_once() {
    let registry = Registry::new([Registration::backend(&FIRST), Registration::backend(&FIRST)]);
    assert_eq!(names(&registry), ["first"]);
    assert!(registry.disabled().is_empty());
}

#[test]
fn a_backend_that_panics_when_asked_what_it_is_is_disabled() {
    static PANICS: Asked = Asked { descriptor: || panic!("not yet"), availability: ready };
    let registry = Registry::new([Registration::backend(&PANICS), Registration::backend(&FIRST)]);
    assert_eq!(names(&registry), ["first"]);
    assert!(registry.disabled()[0].reason.contains("panicked"), "{:?}", registry.disabled());
}

#[test]
fn a_backend_that_panics_when_asked_whether_it_is_here_is_not_available() {
    static PANICS: Asked =
        Asked { descriptor: named!("panics", &[]), availability: || panic!("no driver") };
    let registry = Registry::new([Registration::backend(&PANICS), Registration::backend(&FIRST)]);
    let available: Vec<_> = registry.available().map(<dyn Backend>::name).collect();
    assert_eq!(available, ["first"]);
    let error = registry.backend("panics").unwrap().devices().unwrap_err();
    assert!(matches!(&error, Error::Unavailable { why, .. } if why.reason.contains("panicked")));
}

#[test]
fn a_descriptor_that_asks_for_the_global_registry_is_told_not_to() {
    static ASKS: Asked = Asked {
        descriptor: || {
            let refused = Registry::global().err().expect("the registry is being made");
            assert!(refused.to_string().contains("while it is made"), "{refused}");
            const { &Descriptor { name: "asks", aliases: &[], framework: "a test", priority: 0 } }
        },
        availability: ready,
    };
    bridge_core::register(&[Registration::backend(&ASKS)]).unwrap();
    // Once it has been made, the descriptor is refused nothing, so its assertion would fail.
    let made = std::thread::spawn(|| Registry::global().map(|_| ())).join().unwrap();
    assert!(made.is_ok());
}

/// The runtime of a backend, of one rank for one device.
struct Serving {
    backend: &'static Asked,
    rank: Rank,
    serves: Option<Device>,
}

const GPU: Device = Device::new(DeviceKind::Extension, 0);

// SAFETY: no work is ever pending when `synchronize` returns, or what it works on is a test's own.
unsafe impl Runtime for Serving {
    fn backend(&self) -> &'static dyn Backend {
        self.backend
    }

    fn device_kinds(&self) -> &'static [DeviceKind] {
        &[DeviceKind::Extension]
    }

    fn serves(&self, device: Device) -> Option<Rank> {
        (self.serves == Some(device)).then_some(self.rank)
    }

    fn transfer(&self, _: &ManagedTensor, to: Device) -> Result<ManagedTensor> {
        Err(self.backend.lacks(to))
    }

    fn copy(&self, tensor: &ManagedTensor) -> Result<ManagedTensor> {
        Err(self.backend.lacks(tensor.device()))
    }

    fn cast(&self, tensor: &ManagedTensor, _: DataType, _: Overflow) -> Result<ManagedTensor> {
        Err(self.backend.lacks(tensor.device()))
    }

    fn synchronize(&self, _: Device) -> Result<()> {
        Ok(())
    }
}

static HIGH: Asked = Asked {
    descriptor: || const { &Descriptor { name: "high", aliases: &[], framework: "a test", priority: 9 } },
    availability: ready,
};

#[test]
fn the_native_runtime_of_a_device_comes_before_guests_of_higher_priority() {
    static GUEST: Serving = Serving { backend: &HIGH, rank: Rank::Guest, serves: Some(GPU) };
    static NATIVE: Serving = Serving { backend: &FIRST, rank: Rank::Native, serves: Some(GPU) };
    static ELSEWHERE: Serving = Serving { backend: &FIRST, rank: Rank::Native, serves: None };
    let both = [Registration::runtime(&GUEST), Registration::runtime(&NATIVE)];
    let runtime = |all: &[Registration]| {
        Registry::new(all.iter().copied()).runtime(GPU).unwrap().backend().name()
    };
    assert_eq!(runtime(&both), "first");
    assert_eq!(runtime(&[both[1], both[0]]), "first");
    assert_eq!(runtime(&[both[0], Registration::runtime(&ELSEWHERE)]), "high");
}

#[test]
fn a_device_that_nobody_serves_is_an_error_that_says_why() {
    static ABSENT: Asked = Asked { descriptor: named!("absent", &[]), availability: absent };
    static OF_ABSENT: Serving = Serving { backend: &ABSENT, rank: Rank::Native, serves: None };
    static OF_FIRST: Serving = Serving { backend: &FIRST, rank: Rank::Native, serves: None };
    let error = |all: &[Registration]| {
        Registry::new(all.iter().copied()).runtime(GPU).map(|_| ()).unwrap_err()
    };
    let unavailable = error(&[Registration::runtime(&OF_ABSENT)]);
    assert!(unavailable.to_string().contains("there is no driver; install one"), "{unavailable}");
    let lacking = error(&[Registration::runtime(&OF_FIRST)]);
    assert!(matches!(lacking, Error::DeviceUnavailable { .. }), "{lacking}");
    let unlinked = error(&[]);
    assert!(unlinked.to_string().contains("link a backend for extension"), "{unlinked}");
}
