//! The suite on the fake accelerator, and what its faults and counters show of the planner.

use bridge_convert::ConvertByName;
use bridge_convert::Step;
use bridge_core::{
    Array, CopyPolicy, DataType, Device, DeviceKind, Error, ManagedTensor, NativeArray, Options,
    Registration, Registry, Runtime, TensorError,
};
use bridge_testkit::conformance::Verdict;
use bridge_testkit::fake_accelerator::{
    DEVICES, FakeAccelerator, FakeArray, Faults, REGISTRATIONS, Transfers, UNIFIED, transfers,
};
use bridge_testkit::samples::{Arrangement, Backing};

bridge_testkit::conformance!(FakeAccelerator, REGISTRATIONS);

const NAME: &str = "fake-accelerator";

fn registry() -> Registry {
    Registry::new([
        Registration::backend(&FakeAccelerator),
        Registration::runtime(&FakeAccelerator),
        Registration::allocator(&FakeAccelerator),
        Registration::host_tools(&bridge_host::HostKernels),
    ])
}

fn on_host() -> Array {
    Array::new(ManagedTensor::from_vec(vec![1_f32, 2.0, 3.0, 4.0, 5.0, 6.0], &[2, 3]).unwrap())
}

fn steps(array: Array, options: Options) -> (Array, Vec<&'static str>, Transfers) {
    transfers();
    let (array, report) = registry().convert_reported(array, NAME, options).unwrap();
    let steps = report.steps.iter().map(Step::name).collect();
    (array, steps, transfers())
}

#[test]
fn each_route_is_planned_and_taken_once() {
    let (array, names, counts) = steps(on_host(), Options::default());
    assert_eq!(names, ["upload", "share"]);
    assert_eq!(counts, Transfers { uploads: 1, ..Transfers::default() });

    let (array, names, counts) = steps(array, Options::default().on(DEVICES[1]));
    assert_eq!(names, ["peer-copy", "share"]);
    assert_eq!(counts, Transfers { peer_copies: 1, ..Transfers::default() });

    let (array, names, counts) = steps(array, Options::default().copy(CopyPolicy::Always));
    assert_eq!(names, ["device-copy", "share"]);
    assert_eq!(counts, Transfers { device_copies: 1, ..Transfers::default() });
    assert_eq!(array.describe().unwrap().device, DEVICES[1]);

    let (array, names, counts) = steps(array, Options::default());
    assert_eq!((names, counts), (vec!["stay"], Transfers::default()));

    let (_, names, counts) = steps(array, Options::default().cast(DataType::F64));
    assert_eq!((names, counts), (vec!["cast", "share"], Transfers::default()));

    // A narrowing cast is done before the transfer, a widening one after it.
    let (_, names, _) = steps(on_host(), Options::default().cast(DataType::F16));
    assert_eq!(names, ["cast", "upload", "share"]);
    let (_, names, _) = steps(on_host(), Options::default().cast(DataType::F64));
    assert_eq!(names, ["upload", "cast", "share"]);
}

#[test]
fn the_unified_device_uses_memory_in_place() {
    let tensor = ManagedTensor::from_vec(vec![1_f64; 64], &[64]).unwrap();
    let address = tensor.data().addr();
    let (array, names, counts) = steps(Array::new(tensor), Options::default().on(UNIFIED));
    assert_eq!((names, counts), (vec!["map", "share"], Transfers::default()));
    let there = array.downcast_ref::<FakeArray>().unwrap().tensor();
    assert_eq!((there.device(), there.data().addr()), (UNIFIED, address));

    // Back on the host it is the vector that was given in.
    let tensor = array.downcast::<FakeArray>().unwrap().export().unwrap();
    let back = FakeAccelerator.map(tensor, Device::CPU).unwrap();
    assert_eq!(back.into_vec::<f64>().unwrap().0, vec![1.0; 64]);
}

#[test]
fn memory_that_cannot_be_used_in_place_is_copied_and_the_reason_told() {
    let odd = || {
        let tensor = ManagedTensor::from_vec(vec![1_f64; 64], &[64]).unwrap();
        let start = tensor.data().addr() / 8 % 2; // every other element is aligned to 16
        Array::new(tensor.sliced(0, 1 - start, 8, 1).unwrap())
    };
    let never = Options::default().on(UNIFIED).copy(CopyPolicy::Never);
    let refused = registry().convert(odd(), NAME, never).unwrap_err().to_string();
    assert!(refused.contains("aligned to 8 bytes"), "{refused}");

    let options = Options::default().on(UNIFIED);
    let (_, report) = registry().convert_reported(odd(), NAME, options).unwrap();
    assert_eq!(report.steps.first(), Some(&Step::Upload { to: UNIFIED }), "{report}");
    let told = report.declined.last().unwrap().to_string();
    assert!(told.starts_with("no map: ") && told.contains("aligned to 8 bytes"), "{told}");

    let (_, names, _) = steps(on_host(), Options::default().on(UNIFIED).copy(CopyPolicy::Always));
    assert_eq!(names, ["upload", "share"]);
}

#[test]
#[cfg_attr(miri, ignore = "Miri aligns a vector to no more than its elements")]
fn a_device_that_refuses_in_place_after_all_gets_a_copy() {
    for faults in [Faults::refused_maps(), Faults::default()] {
        let _installed = faults.install();
        let tensor = ManagedTensor::from_vec(vec![1_f64; 64], &[64]).unwrap();
        let (_, names, _) = steps(Array::new(tensor), Options::default().on(UNIFIED));
        let expected = if faults.refuse_maps { "upload" } else { "map" };
        assert_eq!(names, [expected, "share"]);
    }
}

#[test]
fn an_import_refused_after_a_map_gives_the_original_back() {
    let tensor = ManagedTensor::from_vec(vec![1_f64; 64], &[64]).unwrap();
    let _installed = Faults::refused_imports().install();
    let options = Options::default().on(UNIFIED);
    let refused = registry().convert(Array::new(tensor), NAME, options).unwrap_err();
    let tensor: ManagedTensor = refused.into_value().downcast().unwrap();
    assert_eq!(tensor.device(), Device::CPU);
    assert_eq!(tensor.into_vec::<f64>().unwrap().0, vec![1.0; 64]);
}

#[test]
fn a_device_that_copies_what_it_says_it_maps_is_found() {
    let law = "memory_used_in_place_comes_back";
    let _installed = Faults::copied_maps().install();
    let verdict = bridge_testkit::conformance::check(&FakeAccelerator, REGISTRATIONS, law);
    assert!(matches!(verdict, Verdict::Broken { .. }), "{verdict}");
}

/// Every allocation of a conversion fails once; each time the array comes back unharmed, and the
/// conversion succeeds when it is tried again.
#[test]
fn out_of_memory_loses_nothing() {
    let ways = [
        (Device::CPU, Options::default()),
        (Device::CPU, Options::default().cast(DataType::F64)),
        (DEVICES[0], Options::default().on(DEVICES[1])),
        (DEVICES[0], Options::default().copy(CopyPolicy::Always)),
        (DEVICES[0], Options::default().cast(DataType::F64).on(DEVICES[1])),
    ];
    for (from, options) in ways {
        for nth in 0.. {
            let sample = Arrangement::row_major(&[2, 3])
                .sample_with(
                    DataType::F32,
                    Backing::RustOwner,
                    bridge_core::Access::Exclusive,
                    |base| {
                        if from == Device::CPU {
                            return Ok::<_, ()>(base);
                        }
                        Ok(FakeAccelerator.transfer(&base, from).unwrap())
                    },
                )
                .unwrap()
                .unwrap();
            let (before, drops) = (sample.tensor.describe(), sample.drops.unwrap());
            let failing = Faults::out_of_memory_at(nth).install();
            let converted = registry().convert(Array::new(sample.tensor), NAME, options);
            drop(failing);
            let Err(refused) = converted else {
                assert!(nth > 0, "no allocation was made");
                break;
            };
            assert!(
                matches!(refused.error(), Error::Tensor(TensorError::OutOfMemory { .. })),
                "{refused}"
            );
            assert_eq!(drops.drops(), 0);
            let array = refused.into_value();
            let after = array.describe().unwrap();
            assert_eq!((before.layout, before.device), (after.layout, after.device));
            registry().convert(array, NAME, options).unwrap();
            assert_eq!(drops.drops(), 1);
        }
    }
}

#[test]
fn a_refused_import_gives_the_source_back() {
    let array = on_host();
    let refusing = Faults::refused_imports().install();
    let refused = registry().convert(array, NAME, Options::default()).unwrap_err();
    drop(refusing);
    assert!(refused.to_string().contains("told to refuse"), "{refused}");
    let tensor = refused.into_value().export().unwrap();
    assert_eq!(tensor.as_slice::<f32>().unwrap(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    assert_eq!(tensor.access(), bridge_core::Access::Exclusive);
}

#[test]
fn a_device_that_is_not_there_is_named() {
    let absent = Device::new(DeviceKind::Extension, 7);
    let refused = registry().convert(on_host(), NAME, Options::default().on(absent)).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "\"fake-accelerator\" has no device extension:7; it has extension:0, extension:1, extension:2"
    );
}

/// The fake accelerator's runtime, which casts nothing, and gives out memory that it was lent
/// read-only as its own.
struct Odd;

// SAFETY: no work is ever pending when `synchronize` returns, or what it works on is a test's own.
unsafe impl Runtime for Odd {
    fn backend(&self) -> &'static dyn bridge_core::Backend {
        &FakeAccelerator
    }

    fn device_kinds(&self) -> &'static [DeviceKind] {
        FakeAccelerator.device_kinds()
    }

    fn transfer(&self, tensor: &ManagedTensor, to: Device) -> bridge_core::Result<ManagedTensor> {
        FakeAccelerator.transfer(tensor, to)
    }

    fn copy(&self, tensor: &ManagedTensor) -> bridge_core::Result<ManagedTensor> {
        FakeAccelerator.copy(tensor)
    }

    fn cast(
        &self,
        _: &ManagedTensor,
        _: DataType,
        _: bridge_core::Overflow,
    ) -> bridge_core::Result<ManagedTensor> {
        panic!("it said that it does not cast")
    }

    fn casts(&self, _: DataType, _: DataType, _: bridge_core::Overflow) -> bool {
        false
    }

    fn synchronize(&self, device: Device) -> bridge_core::Result<()> {
        FakeAccelerator.synchronize(device)
    }

    fn mapping(&self, found: &bridge_core::Description, to: Device) -> bridge_core::Mapping {
        FakeAccelerator.mapping(found, to)
    }

    fn map(
        &self,
        tensor: ManagedTensor,
        to: Device,
    ) -> bridge_core::Result<ManagedTensor, bridge_core::Refused<ManagedTensor>> {
        let mapped = FakeAccelerator.map(tensor, to)?;
        let (data, spec) = (mapped.data(), mapped.spec());
        let (access, owner) = (bridge_core::Access::Exclusive, bridge_core::Owner::keep(mapped));
        // SAFETY: the access is the lie that is tested, and nobody writes; the owner keeps the memory.
        let lie = unsafe { ManagedTensor::from_parts(data, spec, to, access, owner) };
        Ok(lie.unwrap_or_else(|refused| panic!("{refused}")))
    }
}

#[test]
fn what_a_device_does_not_cast_is_cast_on_the_host_and_reported() {
    let registry = Registry::new([
        Registration::backend(&FakeAccelerator),
        Registration::runtime(&Odd),
        Registration::host_tools(&bridge_host::HostKernels),
    ]);
    let host = ManagedTensor::from_vec(vec![1.0_f32, 2.5], &[2]).unwrap();
    let there = registry.convert(Array::new(host), NAME, Options::default()).unwrap();
    let cast = Options::default().cast(DataType::F64);
    let (array, report) = registry.convert_reported(there, NAME, cast).unwrap();
    let steps: Vec<_> = report.steps.iter().map(Step::name).collect();
    assert_eq!(steps, ["download", "cast", "upload", "share"]);
    assert_eq!(report.bytes_copied, 8 + 16 + 16);
    let back = Odd.transfer(&array.export().unwrap(), Device::CPU).unwrap();
    assert_eq!(back.as_slice::<f64>().unwrap(), [1.0, 2.5]);
}

#[test]
fn memory_that_is_used_in_place_is_no_more_writable_than_it_was() {
    let registry = Registry::new([
        Registration::backend(&FakeAccelerator),
        Registration::runtime(&Odd),
        Registration::host_tools(&bridge_host::HostKernels),
    ]);
    // A large vector, whose start is aligned to more than its elements need.
    let lent = ManagedTensor::from_vec(vec![1_u64; 1 << 16], &[1 << 16]).unwrap().into_read_only();
    let (array, report) =
        registry.convert_reported(Array::new(lent), NAME, Options::default().on(UNIFIED)).unwrap();
    assert!(matches!(report.steps[0], Step::Map { .. }), "{report}");
    assert_eq!(array.export().unwrap().access(), bridge_core::Access::ReadOnly);
}
