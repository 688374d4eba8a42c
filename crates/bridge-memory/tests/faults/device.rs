//! Allocations of the fake accelerator that fail.

use bridge_convert::{ConvertByName as _, stack};
use bridge_core::{Array, CopyPolicy, DataType, Device, Options, Refused};
use bridge_memory::chunk::{ChunkMap, ChunkPlan};
use bridge_memory::pool::{DevicePool, PoolOptions};
use bridge_testkit::fake_accelerator::{FakeArray, Faults};

use crate::support::{FAKE, HostArray, fake, numbers, registry};
use crate::{alone, budget, fail_each};

/// Lets an allocation on a device fail. Whether it did is not told.
fn fail_at(nth: u64) -> Box<dyn FnOnce() -> bool> {
    let failing = Faults::out_of_memory_at(nth).install();
    Box::new(move || {
        drop(failing);
        false
    })
}

/// The elements, wherever the array is.
fn intact(array: &Array) {
    let registry = registry();
    let tensor = array.downcast_ref::<FakeArray>().map(FakeArray::tensor);
    let here = tensor.map(|there| {
        registry.runtime(there.device()).unwrap().transfer(there, Device::CPU).unwrap()
    });
    let host = || &array.downcast_ref::<HostArray>().unwrap().0;
    let values = here.as_ref().unwrap_or_else(host).as_slice::<f32>().unwrap();
    assert_eq!(values, (0..9).map(|n| n as f32).collect::<Vec<_>>());
}

#[test]
fn conversions() {
    let (_alone, registry) = (alone(), registry());
    let there = || registry.convert(numbers(9), FAKE, Options::default().on(fake(0))).unwrap();
    let count = |make: &dyn Fn() -> Array, options: Options| {
        let call = |array| registry.convert(array, FAKE, options).map_err(Refused::into_parts);
        fail_each(make, call, intact, fail_at)
    };
    let on = |ordinal| Options::default().on(fake(ordinal));
    assert_eq!(count(&|| numbers(9), on(0)), 1, "an upload");
    assert_eq!(count(&there, on(0).copy(CopyPolicy::Always)), 1, "a copy");
    assert_eq!(count(&there, on(0).cast(DataType::F64)), 1, "a cast");
    assert_eq!(count(&there, on(1)), 1, "a copy to another device");
    assert_eq!(count(&|| numbers(9), on(0).cast(DataType::F64)), 2, "an upload, and a cast there");
    assert_eq!(count(&there, on(1).cast(DataType::F64)), 2, "a copy to another device, and a cast");
}

/// What the backend writes comes from a pool, which fails as the device does.
#[test]
fn conversions_into_pools() {
    let (_alone, registry) = (alone(), registry());
    let call = |array| {
        let pool = DevicePool::new(&registry, fake(0)).unwrap();
        let options = Options::default().on(fake(0)).copy(CopyPolicy::Always).pool(&pool);
        let converted = registry.convert(array, FAKE, options).map_err(Refused::into_parts);
        assert_eq!(pool.stats().buffers_in_use, u64::from(converted.is_ok()));
        converted
    };
    let there = || registry.convert(numbers(9), FAKE, Options::default().on(fake(0))).unwrap();
    assert_eq!(fail_each(|| numbers(9), call, intact, fail_at), 1, "an upload");
    assert_eq!(fail_each(there, call, intact, fail_at), 1, "a copy");
}

#[test]
fn stacks() {
    let (_alone, registry) = (alone(), registry());
    let there = || registry.convert(numbers(9), FAKE, Options::default().on(fake(0))).unwrap();
    let call = |arrays| {
        let options = Options::default().on(fake(0));
        stack(&registry, arrays, 0, FAKE, options).map_err(Refused::into_parts)
    };
    let all_intact = |arrays: &Vec<Array>| {
        assert_eq!(arrays.len(), 3);
        arrays.iter().for_each(intact);
    };
    assert_eq!(fail_each(|| vec![there(), there(), there()], call, all_intact, fail_at), 1);
}

#[test]
fn chunk_maps() {
    let (_alone, registry) = (alone(), registry());
    let plan = ChunkPlan::of_size(9, 3).unwrap();
    let call = |array| {
        let run = ChunkMap::new(&registry, &plan).to(FAKE).one_at_a_time();
        let copied = |chunk| {
            let options = Options::default().copy(CopyPolicy::Always);
            registry.convert(chunk, FAKE, options).map_err(Refused::into_error)
        };
        run.options(Options::default().on(fake(0))).run(array, copied).map_err(Refused::into_parts)
    };
    let count = fail_each(|| numbers(9), call, intact, fail_at);
    assert_eq!(count, 6, "three chunks and three copies");
}

#[test]
fn device_pools() {
    let (_alone, registry, budget) = (alone(), registry(), budget());
    let make = || PoolOptions::new().within(&budget, "pool").build_on(&registry, fake(0)).unwrap();
    let call = |pool: DevicePool| pool.acquire(5000).map_err(|error| (pool, error));
    let intact = |pool: &DevicePool| {
        let stats = pool.stats();
        assert_eq!((stats.buffers_in_use, stats.bytes_cached, stats.allocations), (0, 0, 0));
        assert_eq!(budget.reserved(), 0);
    };
    assert_eq!(fail_each(make, call, intact, fail_at), 1);
}
