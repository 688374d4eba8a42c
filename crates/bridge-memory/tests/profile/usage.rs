//! Usage of the process and of devices, and how it changes.

use std::sync::atomic::{AtomicU64, Ordering};

use bridge_core::{
    Allocator, Backend, DataType, Device, DeviceMemory, Error, Holdings, ManagedTensor,
    Registration, Registry, Result, TensorSpec,
};
use bridge_memory::profile::{MemoryDelta, Profiler, Usage, profile, readings};
use bridge_testkit::fake_accelerator::{self, FakeAccelerator};

static CACHED: AtomicU64 = AtomicU64::new(0);

/// A second holder of the fake devices, which counts; of the last device it cannot.
struct Counting;

impl Allocator for Counting {
    fn backend(&self) -> &'static dyn Backend {
        &FakeAccelerator
    }

    fn holds(&self, device: Device) -> bool {
        FakeAccelerator.holds(device)
    }

    fn allocate(&self, spec: &TensorSpec, device: Device) -> Result<ManagedTensor> {
        FakeAccelerator.allocate(spec, device)
    }

    fn usage(&self, _: Device) -> Result<DeviceMemory> {
        Ok(DeviceMemory { total: 1000, free: 400 })
    }

    fn trim(&self, _: Device) -> Result<u64> {
        Ok(CACHED.swap(0, Ordering::SeqCst))
    }

    fn holdings(&self, device: Device) -> Result<Option<Holdings>> {
        if device == fake_accelerator::UNIFIED {
            let (what, remedy) = ("counting".to_owned(), "ask another".to_owned());
            return Err(Error::Unsupported { what, remedy });
        }
        if device == fake_accelerator::DEVICES[1] {
            return Ok(Some(Holdings { in_use: 150, cached: 50 }));
        }
        Ok(Some(Holdings { in_use: 0, cached: CACHED.load(Ordering::SeqCst) }))
    }
}

fn registry() -> Registry {
    let counting = Registration::allocator(&Counting);
    let backend = Registration::backend(&FakeAccelerator);
    Registry::new([backend, counting])
}

#[test]
fn usage_tells_who_holds_what_and_what_could_not_be_measured() {
    let usage = Usage::of(&registry());
    assert!(usage.resident > Some(1 << 20), "{usage:?}");
    let devices: Vec<_> = usage.devices.iter().map(|one| one.device).collect();
    assert_eq!(devices, fake_accelerator::DEVICES);
    let first = usage.device(devices[0]).unwrap();
    assert_eq!((first.total, first.free, first.used()), (Some(1000), Some(400), Some(600)));
    assert_eq!(usage.devices[1].unaccounted(), Some(400));
    let last = usage.device(fake_accelerator::UNIFIED).unwrap();
    assert_eq!((last.holders[0].in_use, last.unaccounted()), (None, Some(600)));
    assert_eq!(usage.problems.len(), 1);
    let problem = &usage.problems[0];
    assert!(problem.contains("extension:2") && problem.contains("ask another"), "{problem}");
    let labels: Vec<_> = readings(&usage).into_iter().map(|(label, _)| label).collect();
    let held = "fake-accelerator on extension";
    let expected = [
        "process".to_owned(),
        format!("{held}:0"),
        format!("{held}:1"),
        "used on extension:2".into(),
    ];
    assert_eq!(labels, expected);
}

#[test]
fn usage_becomes_json() {
    let json = serde_json::to_value(Usage::of(&registry())).unwrap();
    assert_eq!(json["devices"][1]["device"], "extension:1");
    assert_eq!(json["devices"][1]["total"], 1000);
    assert_eq!(json["devices"][1]["holders"][0]["backend"], "fake-accelerator");
}

#[test]
fn a_profiler_measures_what_a_piece_of_code_leaves_on_a_device() {
    // The fake accelerator's own count of bytes, by which `free` falls.
    let registry = Registry::new(fake_accelerator::REGISTRATIONS.iter().copied());
    let device = fake_accelerator::DEVICES[1];
    let profiler = Profiler::of(&registry);
    let spec = TensorSpec::row_major(DataType::F32, &[1 << 20]).unwrap();
    let (tensor, delta) =
        profiler.measure("weights", || FakeAccelerator.allocate(&spec, device).unwrap());
    assert_eq!(delta.device(device).unwrap().used, Some(4 << 20));
    assert!(delta.to_string().contains("extension:1 +4.00 MiB"), "{delta}");
    let ((), delta) = profiler.measure("free", || drop(tensor));
    assert_eq!(delta.device(device).unwrap().used, Some(-(4 << 20)));
    assert_eq!(profiler.since_baseline().device(device).unwrap().used, Some(0));
}

#[test]
fn a_profiler_can_empty_caches_first() {
    // Only this test uses the cache's count.
    let registry = registry();
    CACHED.store(70, Ordering::SeqCst);
    let profiler = Profiler::of(&registry);
    let device = fake_accelerator::DEVICES[0];
    let ((), kept) = profiler.measure("as it is", || ());
    assert_eq!(kept.device(device).unwrap().holders[0].cached, Some(0));
    assert_eq!(CACHED.load(Ordering::SeqCst), 70);
    let profiler = profiler.trimming_first();
    let ((), refilled) = profiler.measure("refill", || CACHED.store(50, Ordering::SeqCst));
    assert_eq!(refilled.device(device).unwrap().holders[0].cached, Some(50));
    let since = profiler.since_baseline();
    assert_eq!(since.device(device).unwrap().holders[0].cached, Some(-20));
}

#[test]
fn profile_measures_the_process() {
    let (kept, delta) = profile("a block", || vec![1_u8; 64 << 20]);
    assert_eq!(kept.len(), 64 << 20);
    assert!(delta.resident > Some(48 << 20), "{delta}");
    // This program does not count its allocations.
    assert_eq!(delta.peak, None);
}

#[test]
fn what_is_in_only_one_of_two_usages_is_unknown() {
    let (before, after) = (Usage::default(), Usage::of(&registry()));
    let delta = MemoryDelta::between("first", &before, &after);
    assert_eq!((delta.resident, delta.devices[0].used), (None, None));
    assert_eq!(delta.devices[0].holders[0].in_use, None);
}
