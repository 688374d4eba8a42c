//! Pools of memory of the fake accelerator.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bridge_core::{
    Access, Allocator, Array, Backend, DataType, Device, DeviceMemory, Error, ManagedTensor, Owner,
    Refused, Registration, Registry, Result, Runtime, TensorSpec,
};
use bridge_memory::budget::Budget;
use bridge_memory::pool::{DevicePool, Exact, PoolOptions, Released};
use bridge_memory::recovery::release_caches;
use bridge_testkit::fake_accelerator::{DEVICES, FakeAccelerator, Faults, REGISTRATIONS};

use crate::runtime::Telling;

/// Bytes in use of a device are counted for all threads: one test at a time.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) const DEVICE: Device = DEVICES[1];

pub(crate) fn registry() -> Registry {
    Registry::new(REGISTRATIONS.iter().copied())
}

pub(crate) fn live_bytes() -> u64 {
    let DeviceMemory { total, free } = FakeAccelerator.usage(DEVICE).unwrap();
    total - free
}

#[test]
fn device_memory_is_used_again_and_freed_when_it_is_evicted() {
    let _alone = alone();
    let pool = PoolOptions::new()
        .max_bytes(5000)
        .size_classes(Exact)
        .build_on(&registry(), DEVICE)
        .unwrap();
    assert_eq!((pool.device(), pool.allocator().backend().name()), (DEVICE, "fake-accelerator"));
    let buffer = pool.acquire(3000).unwrap();
    let address = buffer.tensor().data().addr();
    assert_eq!((buffer.bytes(), live_bytes()), (3000, 3000));
    drop(buffer);
    assert_eq!(live_bytes(), 3000);
    let again = pool.acquire(3000).unwrap();
    let other = pool.acquire(3000).unwrap();
    assert_eq!(again.tensor().data().addr(), address);
    assert_ne!(other.tensor().data().addr(), address);
    drop((again, other));
    assert_eq!((live_bytes(), pool.stats().evictions), (3000, 1), "5000 bytes may be kept");
    assert_eq!(pool.clear(), Released { count: 1, bytes: 3000 });
    assert_eq!(live_bytes(), 0);
}

#[test]
fn a_tensor_of_a_buffer_gives_it_back_when_it_is_dropped() {
    let _alone = alone();
    let registry = registry();
    let pool = DevicePool::new(&registry, DEVICE).unwrap();
    let spec = |shape: &[usize]| TensorSpec::row_major(DataType::F32, shape).unwrap();
    let refused = pool.acquire(23).unwrap().into_tensor(spec(&[2, 3])).unwrap_err();
    assert!(refused.to_string().contains("outside the 23 bytes"), "{refused}");
    drop(refused);
    let tensor = pool.acquire(24).unwrap().into_tensor(spec(&[2, 3])).unwrap();
    assert_eq!((tensor.device(), tensor.shape()), (DEVICE, &[2, 3][..]));
    let on_host = FakeAccelerator.transfer(&tensor, Device::CPU).unwrap();
    assert_eq!(on_host.as_slice::<f32>().unwrap(), [0.0; 6]);
    let native = &FakeAccelerator.native_types()[0];
    let array = Array::import(tensor, native).unwrap();
    assert_eq!(pool.stats().buffers_in_use, 1);
    drop(array);
    assert_eq!((pool.stats().buffers_in_use, pool.stats().pool_arrays), (0, 1));
    drop(pool);
    assert_eq!(live_bytes(), 0);
}

#[test]
fn an_allocation_that_fails_leaks_nothing_and_the_next_call_works() {
    let _alone = alone();
    let registry = registry();
    for nth in 0..4 {
        let pool = DevicePool::new(&registry, DEVICE).unwrap();
        let failing = Faults::out_of_memory_at(nth).install();
        let held: Vec<_> = (1..4).map(|size| pool.acquire(size * 1000)).collect();
        drop(failing);
        for (index, acquired) in (0..).zip(&held) {
            assert_eq!(acquired.is_err(), index == nth);
        }
        let failed = held.iter().find_map(|acquired| acquired.as_ref().err());
        assert!(failed.is_none_or(|error| error.out_of_memory().is_some()));
        assert_eq!(pool.stats().buffers_in_use, 3 - u64::from(nth < 3));
        drop(held);
        // With something kept, it is freed and the allocation tried once more.
        let failing = Faults::out_of_memory_at(0).install();
        assert!(pool.acquire(50_000).is_ok());
        drop(failing);
        assert_eq!(pool.stats().pool_arrays, 1, "all else was freed");
        pool.clear();
        assert_eq!(live_bytes(), 0);
    }
}

#[test]
fn a_device_without_an_allocator_is_an_error() {
    let error = DevicePool::new(&registry(), Device::cuda(0)).unwrap_err().to_string();
    assert!(error.contains("cuda:0"), "{error}");
    let options = PoolOptions::new();
    let error = options.build_of(&registry(), Device::cuda(0), "fake").unwrap_err().to_string();
    assert!(error.contains("fake-accelerator allocates there"), "{error}");
    assert!(PoolOptions::new().build_of(&registry(), DEVICE, "torch").is_err());
}

static SYNCHRONIZED: AtomicU64 = AtomicU64::new(0);

/// The fake accelerator, of which the waits are counted.
static COUNTED: Telling = Telling {
    moves: || {},
    waits: || {
        SYNCHRONIZED.fetch_add(1, Ordering::SeqCst);
    },
    staged: 0,
};

/// The fake accelerator's allocator, as one that keeps what is freed.
#[derive(Debug)]
struct Keeping;

impl Allocator for Keeping {
    fn backend(&self) -> &'static dyn Backend {
        &FakeAccelerator
    }

    fn holds(&self, device: Device) -> bool {
        FakeAccelerator.holds(device)
    }

    /// On device 0 too few bytes.
    fn allocate(&self, spec: &TensorSpec, device: Device) -> Result<ManagedTensor> {
        let fewer = TensorSpec::row_major(spec.data_type, &[1])?;
        FakeAccelerator.allocate(if device == DEVICES[0] { &fewer } else { spec }, device)
    }

    fn usage(&self, device: Device) -> Result<DeviceMemory> {
        FakeAccelerator.usage(device)
    }

    fn trim(&self, device: Device) -> Result<u64> {
        FakeAccelerator.trim(device)
    }

    fn caches(&self, _: Device) -> bool {
        true
    }
}

#[test]
fn a_block_is_handed_out_again_once_the_device_has_finished_with_it() {
    let _alone = alone();
    let backend = Registration::backend(&FakeAccelerator);
    let allocator = Registration::allocator(&FakeAccelerator);
    let registry = Registry::new([backend, Registration::runtime(&COUNTED), allocator]);
    let pool = DevicePool::new(&registry, DEVICE).unwrap();
    let waits = || SYNCHRONIZED.swap(0, Ordering::SeqCst);
    waits();
    drop([pool.acquire(100).unwrap(), pool.acquire(100).unwrap()]);
    assert_eq!(waits(), 0, "fresh memory is not waited for");
    let both = [pool.acquire(100).unwrap(), pool.acquire(100).unwrap()];
    assert_eq!((pool.stats().hits, waits()), (2, 1), "one wait is for all that came back before");
    drop(both);
    drop(pool.acquire(100).unwrap());
    assert_eq!(waits(), 1);
}

#[test]
fn where_the_allocator_keeps_memory_the_pool_does_not() {
    let _alone = alone();
    let backend = Registration::backend(&FakeAccelerator);
    let (runtime, allocator) = (Registration::runtime(&COUNTED), Registration::allocator(&Keeping));
    let registry = Registry::new([backend, runtime, allocator]);
    let pool = DevicePool::new(&registry, DEVICE).unwrap();
    drop(pool.acquire(1001).unwrap());
    let buffer = pool.acquire(1001).unwrap();
    assert_eq!((live_bytes(), pool.stats().bytes_cached, pool.stats().hits), (1001, 0, 0));
    drop(buffer);
    assert_eq!(live_bytes(), 0);
    // An allocator that gives less than it was asked for is caught.
    let pool = DevicePool::new(&registry, DEVICES[0]).unwrap();
    let error = pool.acquire(10).unwrap_err();
    assert!(matches!(error, Error::Framework { operation: "allocate", .. }), "{error}");
    assert_eq!(pool.stats().buffers_in_use, 0);
}

/// The fake accelerator's allocator, as one that gives memory eight bytes further than aligned.
#[derive(Debug)]
struct Shifted;

impl Allocator for Shifted {
    fn backend(&self) -> &'static dyn Backend {
        &FakeAccelerator
    }

    fn holds(&self, device: Device) -> bool {
        FakeAccelerator.holds(device)
    }

    fn allocate(&self, spec: &TensorSpec, device: Device) -> Result<ManagedTensor> {
        let bytes = spec.layout.element_count();
        let more = TensorSpec::row_major(spec.data_type, &[bytes + 8])?;
        let kept = FakeAccelerator.allocate(&more, device)?;
        let (data, spec) = (kept.data().wrapping_byte_add(8), spec.clone());
        // SAFETY: the bytes are those of `kept` but for the first eight; the owner keeps it, and nobody
        // else reaches it.
        let shifted = unsafe {
            ManagedTensor::from_parts(data, spec, device, Access::Exclusive, Owner::keep(kept))
        };
        Ok(shifted.map_err(Refused::into_error)?)
    }

    fn usage(&self, device: Device) -> Result<DeviceMemory> {
        FakeAccelerator.usage(device)
    }

    fn trim(&self, device: Device) -> Result<u64> {
        FakeAccelerator.trim(device)
    }
}

#[test]
fn an_allocator_whose_memory_is_not_aligned_is_refused_by_its_name() {
    let _alone = alone();
    let registry = Registry::new([
        Registration::backend(&FakeAccelerator),
        Registration::runtime(&FakeAccelerator),
        Registration::allocator(&Shifted),
    ]);
    let budget = Budget::of_device("shifted", 10_000, DEVICE).unwrap();
    let options = PoolOptions::new().within(&budget, "pool");
    let pool = options.build_on(&registry, DEVICE).unwrap();
    let error = pool.acquire(1000).unwrap_err().to_string();
    for told in ["fake-accelerator", "allocate", "1024 bytes of extension:1", "aligned to 8 bytes"]
    {
        assert!(error.contains(told), "{told}: {error}");
    }
    let stats = pool.stats();
    assert_eq!((stats.buffers_in_use, stats.bytes_cached, stats.misses), (0, 0, 0));
    assert_eq!((live_bytes(), budget.reserved()), (0, 0), "it is freed, and its room given back");
}

#[test]
fn what_a_pool_keeps_is_released_with_the_caches_of_its_device() {
    let (_alone, registry) = (alone(), registry());
    let pool = PoolOptions::new().size_classes(Exact).build_on(&registry, DEVICE).unwrap();
    let used = pool.acquire(100).unwrap();
    drop(pool.acquire(3000).unwrap());
    release_caches(&registry, DEVICES[0]);
    assert_eq!((pool.stats().bytes_cached, live_bytes()), (3000, 3100), "another device's");
    let released = release_caches(&registry, DEVICE);
    assert_eq!((pool.stats().bytes_cached, live_bytes()), (0, 100), "{released}");
    assert!(released.holders.iter().any(|one| one.holder == "pool" && one.bytes == 3000));
    drop(used);
}
