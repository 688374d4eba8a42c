//! Who answers for a device.

use bridge_core::{
    Allocator, Availability, Backend, Capability, DataType, Device, DeviceKind, DeviceMemory,
    Error, ManagedTensor, Mapping, Overflow, Rank, Registration, Registry, Result, Runtime,
    TensorSpec, Unavailable,
};

use crate::asked::{Asked, FIRST, HIGH};
use crate::tables::Tables;

const GPU: Device = Device::new(DeviceKind::Extension, 0);

/// The runtime of a backend, which leaves to the trait all that it may.
struct Terse(&'static Asked);

// SAFETY: there is no work to wait for.
unsafe impl Runtime for Terse {
    fn backend(&self) -> &'static dyn Backend {
        self.0
    }

    fn device_kinds(&self) -> &'static [DeviceKind] {
        &[DeviceKind::Cpu]
    }

    fn transfer(&self, _: &ManagedTensor, to: Device) -> Result<ManagedTensor> {
        Err(self.0.lacks(to))
    }

    fn copy(&self, tensor: &ManagedTensor) -> Result<ManagedTensor> {
        Err(self.0.lacks(tensor.device()))
    }

    fn cast(&self, tensor: &ManagedTensor, _: DataType, _: Overflow) -> Result<ManagedTensor> {
        Err(self.0.lacks(tensor.device()))
    }

    fn synchronize(&self, _: Device) -> Result<()> {
        Ok(())
    }
}

/// The runtime of a backend, of one rank for one device.
struct Serving {
    backend: &'static Asked,
    rank: Rank,
    serves: Option<Device>,
}

// SAFETY: there is no work to wait for.
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

/// Holds memory of one device, and none of it is free.
struct Holding {
    backend: &'static Asked,
    device: Device,
}

impl Allocator for Holding {
    fn backend(&self) -> &'static dyn Backend {
        self.backend
    }

    fn holds(&self, device: Device) -> bool {
        self.device == device
    }

    fn allocate(&self, _: &TensorSpec, device: Device) -> Result<ManagedTensor> {
        Err(self.backend.lacks(device))
    }

    fn usage(&self, _: Device) -> Result<DeviceMemory> {
        Ok(DeviceMemory { total: 0, free: 0 })
    }

    fn trim(&self, _: Device) -> Result<u64> {
        Ok(0)
    }
}

static OF_FIRST: Serving = Serving { backend: &FIRST, rank: Rank::Native, serves: Some(GPU) };
static OF_HIGH: Serving = Serving { backend: &HIGH, rank: Rank::Native, serves: None };
static HELD_BY_FIRST: Holding = Holding { backend: &FIRST, device: GPU };
static HELD_BY_HIGH: Holding = Holding { backend: &HIGH, device: Device::CPU };

#[test]
fn a_runtime_that_says_no_more_serves_the_devices_of_its_backend_casts_and_maps_nothing() {
    static TERSE: Terse = Terse(&FIRST);
    let runtime: &dyn Runtime = &TERSE;
    let elsewhere = Device::cuda(0);
    assert_eq!(runtime.serves(Device::CPU), Some(Rank::Native));
    assert_eq!(runtime.serves(elsewhere), None);
    assert!(runtime.casts(DataType::F32, DataType::I8, Overflow::Refuse));
    let tensor = ManagedTensor::from_vec(vec![1_u8, 2], &[2]).unwrap();
    assert_eq!(runtime.mapping(&tensor.describe(), elsewhere), Mapping::Never);
    let refused = runtime.map(tensor, elsewhere).unwrap_err();
    let text = refused.error().to_string();
    assert!(text.contains("using memory of cpu on cuda:0 is not supported: \"first\""), "{text}");
    assert_eq!(refused.into_value().as_slice::<u8>().unwrap(), [1, 2]);
    let lacks = FIRST.lacks(elsewhere).to_string();
    assert_eq!(lacks, "\"first\" has no device cuda:0; it has cpu");
}

#[test]
fn the_native_runtime_of_a_device_comes_before_guests_of_higher_priority() {
    static GUEST: Serving = Serving { backend: &HIGH, rank: Rank::Guest, serves: Some(GPU) };
    static NATIVE: Serving = Serving { backend: &FIRST, rank: Rank::Native, serves: Some(GPU) };
    static ELSEWHERE: Serving = Serving { backend: &FIRST, rank: Rank::Native, serves: None };
    static EQUAL: Serving = Serving { backend: &FIRST, rank: Rank::Guest, serves: Some(GPU) };
    let both = [Registration::runtime(&GUEST), Registration::runtime(&NATIVE)];
    let runtime = |all: &[Registration]| {
        Registry::new(all.iter().copied()).runtime(GPU).unwrap().backend().name()
    };
    assert_eq!(runtime(&both), "first");
    assert_eq!(runtime(&[both[1], both[0]]), "first");
    assert_eq!(runtime(&[Registration::runtime(&EQUAL), both[0]]), "high", "by priority");
    assert_eq!(runtime(&[both[0], Registration::runtime(&ELSEWHERE)]), "high");
}

fn absent() -> Availability {
    Availability::Unavailable(Unavailable::new("there is no driver", "install one"))
}

#[test]
fn a_device_that_nobody_serves_is_an_error_that_says_why() {
    static ABSENT: Asked = Asked { descriptor: named!("absent", &[], 0), availability: absent };
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

#[test]
fn who_works_on_devices_and_who_holds_their_memory_is_listed_by_priority() {
    let registry = Registry::new([
        Registration::runtime(&OF_FIRST),
        Registration::runtime(&OF_HIGH),
        Registration::allocator(&HELD_BY_FIRST),
        Registration::allocator(&HELD_BY_HIGH),
    ]);
    assert_eq!(format!("{:?}", registry.runtimes()), "[Runtime(high), Runtime(first)]");
    let of_kind = |kind| format!("{:?}", registry.runtimes_for(kind).collect::<Vec<_>>());
    assert_eq!(of_kind(DeviceKind::Extension), "[Runtime(high), Runtime(first)]");
    assert_eq!(of_kind(DeviceKind::Cuda), "[]");
    let all = registry.every_allocator();
    assert_eq!(format!("{all:?}"), "[Allocator(high), Allocator(first)]");
    let holds = |device| format!("{:?}", registry.allocators(device).collect::<Vec<_>>());
    assert_eq!(holds(GPU), "[Allocator(first)]");
    assert_eq!(holds(Device::CPU), "[Allocator(high)]");
    assert_eq!(holds(Device::cuda(0)), "[]");
    let backends = Registry::new([Registration::backend(&Tables)]);
    assert_eq!(format!("{:?}", backends.backends()), "[Backend(tables)]");
    let types = format!("{:?}", Tables.native_types());
    assert!(types.contains("Held<1> of tables") && types.contains("Held<2> of tables"), "{types}");
}

#[test]
fn a_registration_names_the_backend_that_it_is_or_works_for_on_devices() {
    static OTHER: Capability<str> = Capability::new("tables", "something else");
    for (registration, expected) in [
        (Registration::backend(&Tables), Some("tables")),
        (Registration::runtime(&OF_HIGH), Some("high")),
        (Registration::allocator(&HELD_BY_FIRST), Some("first")),
        (Registration::capability(&OTHER), None),
    ] {
        assert_eq!(registration.backend_name(), expected);
    }
}
