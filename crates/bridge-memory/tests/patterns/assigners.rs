//! Devices given out to threads.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use bridge_core::{
    Allocator, Backend, Device, DeviceMemory, Error, ManagedTensor, Registration, Registry, Result,
    TensorSpec,
};
use bridge_memory::patterns::DeviceAssigner;
use bridge_testkit::fake_accelerator::FakeAccelerator;

use crate::support::fake;

fn cuda(count: u32) -> Vec<Device> {
    (0..count).map(Device::cuda).collect()
}

#[test]
fn in_turn_every_device_gets_as_many_calls() {
    let assigner = DeviceAssigner::round_robin(cuda(3)).unwrap();
    let given: Vec<_> = (0..4).map(|_| assigner.assign().unwrap()).collect();
    assert_eq!(given, [Device::cuda(0), Device::cuda(1), Device::cuda(2), Device::cuda(0)]);
    let mut counts = BTreeMap::new();
    let threads = thread::scope(|scope| {
        let ask = || (0..50).map(|_| assigner.assign().unwrap()).collect::<Vec<_>>();
        let threads: Vec<_> = (0..6).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    for device in threads {
        *counts.entry(device).or_insert(0) += 1;
    }
    assert_eq!(counts.into_values().collect::<Vec<_>>(), [100, 100, 100]);
}

#[test]
fn a_thread_keeps_its_device_and_threads_share_them_evenly() {
    // The seed takes the thread's number modulo the devices, by which all threads may get one.
    let assigner = DeviceAssigner::per_thread(cuda(4)).unwrap();
    let other = DeviceAssigner::per_thread([Device::opencl(0)]).unwrap();
    let mut given = thread::scope(|scope| {
        let ask = || {
            let first = assigner.assign().unwrap();
            assert_eq!(other.assign().unwrap(), Device::opencl(0));
            assert!((0..10).all(|_| assigner.assign().unwrap() == first));
            first
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    given.sort();
    let twice: Vec<_> = cuda(4).into_iter().flat_map(|device| [device, device]).collect();
    assert_eq!(given, twice);
}

#[test]
fn a_new_assigner_knows_nothing_of_an_earlier_one() {
    for device in cuda(3) {
        let assigner = DeviceAssigner::per_thread([device]).unwrap();
        assert_eq!(assigner.assign().unwrap(), device);
    }
}

/// Says that so much is free on each of the first two devices.
struct Loaded;

static FREE: [AtomicU64; 2] = [const { AtomicU64::new(100) }; 2];

impl Allocator for Loaded {
    fn backend(&self) -> &'static dyn Backend {
        &FakeAccelerator
    }

    fn holds(&self, device: Device) -> bool {
        FakeAccelerator.holds(device)
    }

    fn allocate(&self, spec: &TensorSpec, device: Device) -> Result<ManagedTensor> {
        FakeAccelerator.allocate(spec, device)
    }

    fn usage(&self, device: Device) -> Result<DeviceMemory> {
        match FREE.get(device.ordinal() as usize) {
            Some(free) => Ok(DeviceMemory { total: 1000, free: free.load(Ordering::SeqCst) }),
            None => Err(Error::Unsupported { what: "this".to_owned(), remedy: "that".to_owned() }),
        }
    }

    fn trim(&self, _: Device) -> Result<u64> {
        Ok(0)
    }
}

#[test]
fn the_device_with_the_most_free_memory_is_taken() {
    let registry = Registry::new([Registration::allocator(&Loaded)]);
    // One that cannot be measured and one that nobody holds memory of are passed over.
    let devices = [Device::cuda(7), fake(2), fake(0), fake(1)];
    let assigner = DeviceAssigner::least_loaded(&registry, devices).unwrap();
    assert_eq!(assigner.assign().unwrap(), fake(0), "the first of equals");
    FREE[0].store(99, Ordering::SeqCst);
    assert_eq!(assigner.assign().unwrap(), fake(1));
    FREE[1].store(0, Ordering::SeqCst);
    assert_eq!(assigner.assign().unwrap(), fake(0));
    let assigner = DeviceAssigner::least_loaded(&registry, &devices[..2]).unwrap();
    let error = assigner.assign().unwrap_err().to_string();
    for told in ["cuda:7: no allocator", "extension:2: this is not supported", "in turn"] {
        assert!(error.contains(told), "{error}");
    }
}

#[test]
fn without_devices_there_is_no_assigner() {
    for refused in [DeviceAssigner::round_robin([]), DeviceAssigner::per_thread([])] {
        assert!(refused.unwrap_err().to_string().contains("at least one device"));
    }
}
