use bridge_core::{
    Allocator, Backend, Device, DeviceKind, DeviceMemory, Error, ManagedTensor, Registration,
    Registry, Result, TensorSpec,
};
use bridge_memory::probe::{DeviceProbe, FixedProbe, MemoryProbe as _, Source, TotalProbe};
use bridge_testkit::fake_accelerator::{self, DEVICES, FakeAccelerator};

/// Holds memory of two devices, and cannot measure it; pinned memory included.
struct Blind(&'static str);

impl Allocator for Blind {
    fn backend(&self) -> &'static dyn Backend {
        &FakeAccelerator
    }

    fn holds(&self, device: Device) -> bool {
        [DEVICES[0], Device::new(DeviceKind::Extension, 9), PINNED].contains(&device)
    }

    fn allocate(&self, spec: &TensorSpec, device: Device) -> Result<ManagedTensor> {
        FakeAccelerator.allocate(spec, device)
    }

    fn usage(&self, _: Device) -> Result<DeviceMemory> {
        Err(Error::Unsupported { what: self.0.to_owned(), remedy: "none".to_owned() })
    }

    fn trim(&self, _: Device) -> Result<u64> {
        Ok(0)
    }
}

const PINNED: Device = Device::new(DeviceKind::CudaHost, 0);
static BLIND: Blind = Blind("looking");
static BLINDER: Blind = Blind("seeing");

fn registry() -> Registry {
    let blind = [Registration::allocator(&BLIND), Registration::allocator(&BLINDER)];
    Registry::new(blind.into_iter().chain(fake_accelerator::REGISTRATIONS.iter().copied()))
}

#[test]
fn the_first_allocator_that_can_measure_does() {
    let registry = registry();
    let device = DEVICES[0];
    let probe = DeviceProbe::of(&registry, device).unwrap();
    assert_eq!(probe.device(), device);
    let before = probe.measure().unwrap();
    let spec = TensorSpec::row_major(bridge_core::DataType::F64, &[1024]).unwrap();
    let kept = FakeAccelerator.allocate(&spec, device).unwrap();
    let with = probe.measure().unwrap();
    assert_eq!(with.total, 1 << 30);
    assert_eq!(with.available_from, Source::Allocator("fake-accelerator"));
    assert_eq!(before.available - with.available, 8192);
    assert_eq!(with.problems.len(), 2, "who could not measure is told: {with}");
    drop(kept);
}

#[test]
fn where_nobody_can_measure_each_ones_reason_is_told() {
    let device = Device::new(DeviceKind::Extension, 9);
    let error = DeviceProbe::of(&registry(), device).unwrap().measure().unwrap_err().to_string();
    for told in ["measuring the memory of extension:9", "looking", "seeing"] {
        assert!(error.contains(told), "{error}: lacks {told}");
    }
}

#[test]
fn host_memory_is_the_hosts() {
    for device in [Device::CPU, PINNED] {
        let measured = DeviceProbe::of(&registry(), device).unwrap().measure().unwrap();
        assert!(!matches!(measured.total_from, Source::Allocator(_)), "{measured}");
    }
}

#[test]
fn an_unknown_device_is_refused_with_those_there_are() {
    for device in
        [Device::cuda(3), Device::new(DeviceKind::RocmHost, 0), Device::new(DeviceKind::Cpu, 1)]
    {
        let error = DeviceProbe::of(&registry(), device).unwrap_err().to_string();
        let told = [&*device.to_string(), "there are cpu, extension:0, extension:1, extension:2"];
        assert!(told.iter().all(|part| error.contains(part)), "{error}");
    }
}

#[test]
fn host_and_devices_add_up_and_what_fails_is_told() {
    let fixed = |total, available| FixedProbe::new(total, available);
    let all = TotalProbe::new().with("the host", fixed(10, 4)).with("fake:0", fixed(7, 5));
    let measured = all.measure().unwrap();
    assert_eq!((measured.total, measured.available, measured.problems.len()), (17, 9, 0));
    let device = Device::new(DeviceKind::Extension, 9);
    let blind = DeviceProbe::of(&registry(), device).unwrap();
    let measured = all.with("the blind one", blind).measure().unwrap();
    assert_eq!((measured.total, measured.available), (17, 9));
    let [problem] = &measured.problems[..] else { panic!("{measured}") };
    assert!(problem.starts_with("the blind one is not counted: "), "{problem}");
    assert_eq!(measured.total_from, Source::Sum);

    let of_all = TotalProbe::of(&registry()).measure().unwrap();
    let host = DeviceProbe::of(&registry(), Device::CPU).unwrap().measure().unwrap();
    let devices = DEVICES.iter().map(|&device| DeviceProbe::of(&registry(), device).unwrap());
    let devices: u64 = devices.map(|probe| probe.measure().unwrap().total).sum();
    assert_eq!(of_all.total, host.total + devices);
}
