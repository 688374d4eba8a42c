//! Allocations of the host that fail. Those of the fake accelerator itself, which stands for a driver,
//! do not: see `device`.

use bridge_convert::{ConvertByName as _, map_slices, stack, unstack};
use bridge_core::{Array, CopyPolicy, DataType, ManagedTensor, Options, Refused};
use bridge_memory::chunk::{ChunkMap, ChunkPlan};
use bridge_memory::manager::MemoryManager;
use bridge_memory::pool::{Pool, PoolOptions};
use bridge_memory::probe::FixedProbe;

use crate::failing_allocator::{fail_at, live_bytes};
use crate::support::{HostArray, numbers, registry};
use crate::{alone, budget, fail_each};

/// Elements of every array here: 12 000 bytes as float32.
const COUNT: usize = 3000;

fn array() -> Array {
    numbers(COUNT)
}

fn intact(array: &Array) {
    let expected: Vec<_> = (0..COUNT).map(|n| n as f32).collect();
    assert_eq!(array.downcast_ref::<HostArray>().unwrap().0.as_slice::<f32>().unwrap(), expected);
}

#[test]
fn conversions() {
    let (_alone, registry) = (alone(), registry());
    let count = |options| {
        let call = |array| registry.convert(array, "host", options).map_err(Refused::into_parts);
        fail_each(array, call, intact, fail_at)
    };
    let options = Options::default();
    assert_eq!(count(options), 0, "the array itself");
    assert_eq!(count(options.copy(CopyPolicy::Always)), 1, "a copy");
    assert_eq!(count(options.cast(DataType::F64)), 2, "a cast, and the memory it works in");
}

/// A budget has caches given back and lets the conversion try again: one failure is none.
#[test]
fn conversions_within_a_budget() {
    let (_alone, registry, budget) = (alone(), registry(), budget());
    for options in
        [Options::default().copy(CopyPolicy::Always), Options::default().cast(DataType::F64)]
    {
        let convert = |source| registry.convert(source, "host", options.within(&budget));
        let fail_once = || {
            let source = array();
            let disarm = fail_at(0);
            let converted = convert(source);
            assert!(disarm(), "an allocation failed");
            assert_eq!(converted.unwrap().describe().unwrap().layout.shape(), [COUNT]);
        };
        fail_once(); // what is made once is no leak
        let before = live_bytes();
        fail_once();
        assert_eq!((live_bytes(), budget.reserved()), (before, 0));
    }
}

#[test]
fn stacks() {
    let (_alone, registry) = (alone(), registry());
    let four = || (0..4).map(|_| array()).collect::<Vec<_>>();
    let call = |arrays| {
        stack(&registry, arrays, 0, "host", Options::default()).map_err(Refused::into_parts)
    };
    let all_intact = |arrays: &Vec<Array>| {
        assert_eq!(arrays.len(), 4);
        arrays.iter().for_each(intact);
    };
    assert_eq!(fail_each(four, call, all_intact, fail_at), 1);

    let call = |array| {
        let copied = |slice| {
            let options = Options::default().copy(CopyPolicy::Always);
            let slice = registry.convert(slice, "host", options).map_err(Refused::into_error)?;
            Ok((slice, ()))
        };
        map_slices(&registry, array, 0, copied).map_err(Refused::into_parts)
    };
    let matrix = || {
        let values = (0..COUNT).map(|n| n as f32).collect();
        Array::new(HostArray(ManagedTensor::from_vec(values, &[2, COUNT / 2]).unwrap()))
    };
    assert!(fail_each(matrix, call, intact, fail_at) >= 3, "two copies, and the result");

    let call = |array| {
        let options = Options::default().copy(CopyPolicy::Always);
        unstack(&registry, array, 0, "host", &options).map_err(Refused::into_parts)
    };
    assert_eq!(fail_each(matrix, call, intact, fail_at), 2, "a copy of each slice");
}

#[test]
fn pools() {
    let (_alone, budget) = (alone(), budget());
    let make = || PoolOptions::new().within(&budget, "pool").build();
    let call = |pool: Pool| pool.zeroed::<f32>(COUNT).map_err(|error| (pool, error));
    let intact = |pool: &Pool| {
        let stats = pool.stats();
        assert_eq!((stats.buffers_in_use, stats.bytes_cached, stats.allocations), (0, 0, 0));
        assert_eq!(budget.reserved(), 0);
    };
    assert_eq!(fail_each(make, call, intact, fail_at), 1);
}

#[test]
fn conversions_into_pools() {
    let (_alone, registry) = (alone(), registry());
    let call = |array| {
        let pool = Pool::new();
        let options = Options::default().copy(CopyPolicy::Always).pool(&pool);
        let converted = registry.convert(array, "host", options).map_err(Refused::into_parts);
        assert_eq!(pool.stats().buffers_in_use, u64::from(converted.is_ok()));
        converted
    };
    assert_eq!(fail_each(array, call, intact, fail_at), 1);
}

#[test]
fn chunk_maps() {
    let (_alone, registry, budget) = (alone(), registry(), budget());
    let consumer = budget.consumer("chunks");
    let plan = ChunkPlan::of_size(COUNT, 1500).unwrap();
    let intact = |array: &Array| {
        intact(array);
        assert_eq!(budget.reserved(), 0);
    };
    // Two copies made by the function, and the result.
    let call = |array| {
        let run = ChunkMap::new(&registry, &plan).to("host").within(&consumer);
        let copied = |chunk| {
            let options = Options::default().copy(CopyPolicy::Always);
            registry.convert(chunk, "host", options).map_err(Refused::into_error)
        };
        run.run(array, copied).map_err(Refused::into_parts)
    };
    assert_eq!(fail_each(array, call, intact, fail_at), 3);
}

#[test]
fn memory_managers() {
    let _alone = alone();
    let make = || {
        let builder = MemoryManager::builder().probe(FixedProbe::new(1 << 30, 1 << 30));
        builder.resident(|| Ok(0)).build().unwrap()
    };
    let call = |manager: MemoryManager| {
        manager.allocate_array::<f64>(&[COUNT]).map_err(|error| (manager, error))
    };
    let intact = |manager: &MemoryManager| {
        drop(manager.memory_guard(1 << 30).unwrap());
    };
    assert_eq!(fail_each(make, call, intact, fail_at), 1);
}
