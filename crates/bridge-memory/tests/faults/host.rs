//! Allocations of the host that fail. Those of the fake accelerator itself, which stands for a driver,
//! do not: see `device`.

use bridge_convert::{ConvertByName as _, map_slices, stack, unstack};
use bridge_core::{Array, CopyPolicy, DataType, ManagedTensor, Options, Refused, TensorSpec};
use bridge_memory::call::{Rescale, rescaled};
use bridge_memory::chunk::{ChunkMap, ChunkPlan};
use bridge_memory::manager::MemoryManager;
use bridge_memory::pool::{Exact, Pool, PoolOptions};
use bridge_memory::probe::FixedProbe;
use bridge_testkit::bytes_of;
use bridge_testkit::failing_allocator::{SMALL_ARRAY as HALF, fail_at, live_bytes};

use crate::support::{HostArray, numbers, registry};
use crate::{alone, budget, fail_each};

/// Elements of the arrays here: 12 000 bytes as float32, and as few as may be told from other blocks.
const COUNTS: [usize; 2] = [3000, HALF / 2];

fn intact(array: &Array, count: usize) {
    let expected: Vec<_> = (0..count).map(|n| n as f32).collect();
    assert_eq!(array.downcast_ref::<HostArray>().unwrap().0.as_slice::<f32>().unwrap(), expected);
}

#[test]
fn conversions() {
    let (_alone, registry) = (alone(), registry());
    for count in COUNTS {
        let failures = |options| {
            let call = |one| registry.convert(one, "host", options).map_err(Refused::into_parts);
            fail_each(|| numbers(count), call, |one| intact(one, count), fail_at)
        };
        let options = Options::default();
        assert_eq!(failures(options), 0, "the array itself");
        assert_eq!(failures(options.copy(CopyPolicy::Always)), 1, "a copy");
        assert_eq!(failures(options.cast(DataType::F64)), 1, "a cast");
    }
}

/// Rows that become columns, and elements smaller than a byte: they go through buffers.
#[test]
fn conversions_through_buffers() {
    let (_alone, registry) = (alone(), registry());
    let turned = || {
        let values = (0..3000).map(|n| n as f32).collect();
        ManagedTensor::from_vec(values, &[50, 60]).unwrap().permuted(&[1, 0]).unwrap()
    };
    let packed = || {
        let spec = TensorSpec::row_major(DataType::F4E2M1FN, &[8192]).unwrap();
        bridge_host::zeroed(&spec, 1).unwrap()
    };
    let convert = |array, options| registry.convert(array, "host", options);
    let failures = |make: &dyn Fn() -> ManagedTensor, options| {
        let before = bytes_of(&make());
        let intact = |array: &Array| {
            assert_eq!(bytes_of(&array.downcast_ref::<HostArray>().unwrap().0), before);
        };
        let call = |array| convert(array, options).map_err(Refused::into_parts);
        fail_each(|| Array::new(HostArray(make())), call, intact, fail_at)
    };
    let options = Options::default();
    let count = failures(&turned, options.cast(DataType::F64));
    assert_eq!(count, 2, "a cast, and the buffer of rows");
    let count = failures(&packed, options.cast(DataType::F32));
    assert_eq!(count, 2, "a cast, and a byte for each element");

    // A copy goes on without its buffer.
    let source = Array::new(HostArray(turned()));
    let disarm = fail_at(1);
    let copied = convert(source, options.copy(CopyPolicy::Always));
    assert!(disarm(), "an allocation failed");
    let copied = copied.unwrap().downcast::<HostArray>().unwrap().0;
    assert!(copied.layout().is_row_major());
    assert_eq!(bytes_of(&copied), bytes_of(&turned()));
}

/// A budget has caches given back and lets the conversion try again: one failure is none.
#[test]
fn conversions_within_a_budget() {
    let (_alone, registry, budget) = (alone(), registry(), budget());
    let options = Options::default();
    let each = [options.copy(CopyPolicy::Always), options.cast(DataType::F64)];
    for (options, count) in each.into_iter().flat_map(|one| COUNTS.map(|count| (one, count))) {
        let convert = |source| registry.convert(source, "host", options.within(&budget));
        let fail_once = || {
            let source = numbers(count);
            let disarm = fail_at(0);
            let converted = convert(source);
            assert!(disarm(), "an allocation failed");
            assert_eq!(converted.unwrap().describe().unwrap().layout.shape(), [count]);
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
    for count in COUNTS {
        let four = || (0..4).map(|_| numbers(count)).collect::<Vec<_>>();
        let call = |arrays| {
            stack(&registry, arrays, 0, "host", Options::default()).map_err(Refused::into_parts)
        };
        let all_intact = |arrays: &Vec<Array>| {
            assert_eq!(arrays.len(), 4);
            arrays.iter().for_each(|one| intact(one, count));
        };
        assert_eq!(fail_each(four, call, all_intact, fail_at), 1);

        let call = |array| {
            let copied = |slice| {
                let options = Options::default().copy(CopyPolicy::Always);
                let slice =
                    registry.convert(slice, "host", options).map_err(Refused::into_error)?;
                Ok((slice, ()))
            };
            map_slices(&registry, array, 0, copied).map_err(Refused::into_parts)
        };
        let matrix = || {
            let values = (0..count).map(|n| n as f32).collect();
            Array::new(HostArray(ManagedTensor::from_vec(values, &[2, count / 2]).unwrap()))
        };
        let intact = |array: &Array| intact(array, count);
        assert!(fail_each(matrix, call, intact, fail_at) >= 3, "two copies, and the result");

        let call = |array| {
            let options = Options::default().copy(CopyPolicy::Always);
            unstack(&registry, array, 0, "host", &options).map_err(Refused::into_parts)
        };
        assert_eq!(fail_each(matrix, call, intact, fail_at), 2, "a copy of each slice");
    }
}

#[test]
fn pools() {
    let (_alone, budget) = (alone(), budget());
    for count in COUNTS {
        let options = || PoolOptions::new().size_classes(Exact).within(&budget, "pool");
        let call = |pool: Pool| pool.zeroed::<f32>(count).map_err(|error| (pool, error));
        let intact = |pool: &Pool| {
            let stats = pool.stats();
            assert_eq!((stats.buffers_in_use, stats.bytes_cached, stats.allocations), (0, 0, 0));
            assert_eq!(budget.reserved(), 0);
        };
        assert_eq!(fail_each(|| options().build(), call, intact, fail_at), 1);
    }
}

#[test]
fn conversions_into_pools() {
    let (_alone, registry) = (alone(), registry());
    let call = |array| {
        let pool = PoolOptions::new().size_classes(Exact).build();
        let options = Options::default().copy(CopyPolicy::Always).pool(&pool);
        let converted = registry.convert(array, "host", options).map_err(Refused::into_parts);
        assert_eq!(pool.stats().buffers_in_use, u64::from(converted.is_ok()));
        converted
    };
    for count in COUNTS {
        assert_eq!(fail_each(|| numbers(count), call, |array| intact(array, count), fail_at), 1);
    }
}

#[test]
fn chunk_maps() {
    let (_alone, registry, budget) = (alone(), registry(), budget());
    let consumer = budget.consumer("chunks");
    for count in COUNTS {
        let plan = ChunkPlan::of_size(count, count / 2).unwrap();
        let intact = |array: &Array| {
            intact(array, count);
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
        assert_eq!(fail_each(|| numbers(count), call, intact, fail_at), 3);
    }
}

#[test]
fn memory_managers() {
    let _alone = alone();
    // The manager's pool rounds small arrays up, to blocks that cannot be told from others.
    for count in [COUNTS[0], 1024 * HALF] {
        let make = || {
            let builder = MemoryManager::builder().probe(FixedProbe::new(1 << 30, 1 << 30));
            builder.resident(|| Ok(0)).build().unwrap()
        };
        let call = |manager: MemoryManager| {
            manager.allocate_array::<f32>(&[count]).map_err(|error| (manager, error))
        };
        let intact = |manager: &MemoryManager| {
            drop(manager.memory_guard(1 << 30).unwrap());
        };
        assert_eq!(fail_each(make, call, intact, fail_at), 1);
    }
}

/// Rescaling by a rule that is more than a cast: what it reads as another type, and what it makes.
#[test]
fn rescaling() {
    let _alone = alone();
    for count in COUNTS {
        let make = || ManagedTensor::from_vec((0_i32..).take(count).collect(), &[count]);
        let range = Rescale::Range { low: 0.0, high: 10.0 };
        let call = |tensor: ManagedTensor| {
            let made = rescaled(&registry(), &tensor, DataType::U32, range);
            made.map_err(|error| (tensor, error))
        };
        let intact = |tensor: &ManagedTensor| {
            assert!(tensor.as_slice::<i32>().unwrap().iter().zip(0..).all(|(&one, n)| one == n));
        };
        assert!(fail_each(|| make().unwrap(), call, intact, fail_at) >= 2);
    }
}
