//! Whichever allocation of the driver fails for good, in stacks, chunk maps and pools: an error, the source
//! intact, nothing leaked, and the next call works.

use std::fmt::Debug;

use bridge_convert::{ConvertByName as _, map_slices, stack, unstack};
use bridge_core::{
    Allocator as _, Array, CopyPolicy, Device, DeviceKind, Error, ManagedTensor, Options, Refused,
    Registration, Registry,
};
use bridge_cuda::{Cuda, CudaArray, REGISTRATIONS};
use bridge_memory::budget::Budget;
use bridge_memory::chunk::{ChunkMap, ChunkPlan};
use bridge_memory::pool::{DevicePool, PoolOptions};
use simulated_cuda::{Config, Fault, SimulatedCuda};

use crate::support::{GPU, alone, counted};

const PINNED: Device = Device::new(DeviceKind::CudaHost, 0);

fn registry() -> Registry {
    let tools = [Registration::host_tools(&bridge_host::HostKernels)];
    Registry::new(REGISTRATIONS.into_iter().chain(tools))
}

/// Calls made with what `make` gives, with all allocations from the first on failing, from the second on,
/// and so on, until a call succeeds. Returns how many failed.
fn fail_each<S, R: Debug>(
    cuda: &SimulatedCuda,
    fault: fn(u64) -> Fault,
    make: impl Fn() -> S,
    call: impl Fn(S) -> Result<R, (S, Error)>,
    intact: impl Fn(&S),
) -> u64 {
    // What is made once, at the first call, is no leak.
    drop(call(make()).map_err(|(_, error)| error).unwrap());
    let alive = || {
        cuda.flush();
        Cuda.trim(PINNED).unwrap();
        let counters = cuda.counters();
        (counters.device_allocations_alive, counters.pinned_bytes_alive)
    };
    let before = alive();
    for nth in 0.. {
        let source = make();
        // One that fails alone is made up for: caches are given back, and it is tried again.
        (0..16).for_each(|more| cuda.inject(fault(nth + more)));
        let result = call(source);
        cuda.clear_faults();
        match result {
            Ok(made) => {
                drop(made);
                assert_eq!(alive(), before);
                return nth;
            }
            Err((source, error)) => {
                assert!(error.out_of_memory().is_some(), "{nth}: {error}");
                intact(&source);
                drop(call(source).map_err(|(_, error)| error).unwrap());
            }
        }
        assert_eq!(alive(), before, "{nth}");
    }
    unreachable!("there are fewer allocations")
}

fn device_memory(nth: u64) -> Fault {
    Fault::OutOfMemory { nth }
}

fn pinned_memory(nth: u64) -> Fault {
    Fault::PinnedOutOfMemory { nth }
}

/// The numbers from 0 on, on the device.
fn there(shape: &[usize]) -> Array {
    Array::new(CudaArray::from_host(&counted(shape), GPU).unwrap())
}

/// The numbers from 0 on, wherever the array is.
fn intact(array: &Array) {
    let read = |values: &[f32]| assert!(values.iter().zip(0..).all(|(&one, at)| one == at as f32));
    match array.downcast_ref::<CudaArray>() {
        Some(there) => read(there.to_host().unwrap().as_slice().unwrap()),
        None => {
            let here = array.downcast_ref::<ManagedTensor>();
            read(here.expect("a tensor of the host").as_slice().unwrap());
        }
    }
}

/// A copy of a slice or a chunk, on the device.
fn copied(registry: &Registry, array: Array) -> Result<Array, Error> {
    let options = Options::default().on(GPU).copy(CopyPolicy::Always);
    registry.convert(array, "cuda", options).map_err(Refused::into_error)
}

#[test]
fn stacks() {
    alone("stacks", Config::default(), |cuda| {
        let registry = registry();
        let on = Options::default().on(GPU);
        let call = |arrays| stack(&registry, arrays, 0, "cuda", on).map_err(Refused::into_parts);
        let three = || vec![there(&[50, 20]), there(&[50, 20]), there(&[50, 20])];
        let all_intact = |arrays: &Vec<Array>| {
            assert_eq!(arrays.len(), 3);
            arrays.iter().for_each(intact);
        };
        assert_eq!(fail_each(cuda, device_memory, three, call, all_intact), 1, "the stack");

        let matrix = || there(&[3, 20]);
        let call = |array| {
            let options = on.copy(CopyPolicy::Always);
            unstack(&registry, array, 0, "cuda", &options).map_err(Refused::into_parts)
        };
        assert_eq!(fail_each(cuda, device_memory, matrix, call, intact), 3, "a copy of each slice");

        let call = |array| {
            let work = |slice| Ok((copied(&registry, slice)?, ()));
            map_slices(&registry, array, 0, work).map_err(Refused::into_parts)
        };
        assert!(fail_each(cuda, device_memory, matrix, call, intact) >= 3, "copies of all slices");
    });
}

#[test]
fn chunk_maps() {
    alone("chunk_maps", Config::default(), |cuda| {
        let (registry, budget) = (registry(), Budget::new("faults", 1 << 30).unwrap());
        let plan = ChunkPlan::of_size(90, 30).unwrap();
        let intact = |array: &Array| {
            intact(array);
            assert_eq!(budget.reserved(), 0);
        };
        let consumer = budget.consumer("chunks");
        // Uploaded one after the other, one beside the other, and within a budget.
        for way in 0..3 {
            let map = || {
                let map = ChunkMap::new(&registry, &plan).to("cuda");
                let map = map.options(Options::default().on(GPU));
                match way {
                    0 => map.one_at_a_time(),
                    1 => map,
                    _ => map.within(&consumer),
                }
            };
            let call = |array| {
                map().run(array, |chunk| copied(&registry, chunk)).map_err(Refused::into_parts)
            };
            let host = || Array::new(counted(&[90]));
            let count = fail_each(cuda, device_memory, host, call, intact);
            assert_eq!(count, 6, "three chunks and three copies");
        }
    });
}

/// Two buffers at a time of a pool, on the device and in pinned memory.
fn two_buffers(cuda: &SimulatedCuda) {
    let (registry, budget) = (registry(), Budget::new("faults", 1 << 30).unwrap());
    for (device, fault) in [(GPU, device_memory as fn(u64) -> Fault), (PINNED, pinned_memory)] {
        let options = || PoolOptions::new().within(&budget, "pool");
        let make = || options().build_on(&registry, device).unwrap();
        let call = |pool: DevicePool| {
            let both = pool.acquire(5000).and_then(|first| Ok((first, pool.acquire(5000)?)));
            match both {
                Ok(both) => Ok((both, pool)),
                Err(error) => Err((pool, error)),
            }
        };
        let intact = |pool: &DevicePool| {
            assert_eq!(pool.stats().buffers_in_use, 0);
            pool.clear();
            assert_eq!(budget.reserved(), 0, "what is freed is not reserved");
        };
        assert_eq!(fail_each(cuda, fault, make, call, intact), 2, "{device}");
        assert_eq!(budget.reserved(), 0);
    }
}

#[test]
fn device_pools() {
    alone("device_pools", Config::default().memory_pools(false), two_buffers);
}

#[test]
fn device_pools_over_the_drivers_own() {
    alone("device_pools_over_the_drivers_own", Config::default(), two_buffers);
}
