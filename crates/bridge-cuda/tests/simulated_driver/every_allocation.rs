//! Whichever allocation of the driver fails for good, in conversions, stacks, chunk maps and pools: an error, the
//! source intact, nothing leaked, and the next call works.

use std::fmt::Debug;

use bridge_convert::{ConvertByName as _, map_slices, stack, unstack};
use bridge_core::{
    Allocator as _, Array, CopyPolicy, DataType, Device, DeviceKind, Error, ManagedTensor, Options,
    Refused, Registration, Registry,
};
use bridge_cuda::{Cuda, CudaArray, REGISTRATIONS};
use bridge_memory::budget::Budget;
use bridge_memory::chunk::{ChunkMap, ChunkPlan};
use bridge_memory::pool::{DevicePool, PoolOptions};
use bridge_testkit::bytes_of;
use simulated_cuda::{Config, Fault, SimulatedCuda};

use crate::support::{GPU, OTHER, alone, counted};

pub(crate) const PINNED: Device = Device::new(DeviceKind::CudaHost, 0);
pub(crate) const MANAGED: Device = Device::new(DeviceKind::CudaManaged, 0);

pub(crate) fn registry() -> Registry {
    let tools = [
        Registration::host_tools(&bridge_host::HostKernels),
        Registration::backend(&bridge_core::Dlpack),
    ];
    Registry::new(REGISTRATIONS.into_iter().chain(tools))
}

/// As [`bridge_testkit::fail_each`], with all allocations that this thread makes of the driver failing from one
/// on. Returns how many calls failed.
fn fail_each<S, R: Debug>(
    cuda: &SimulatedCuda,
    fault: fn(u64) -> Fault,
    make: impl Fn() -> S,
    call: impl Fn(S) -> Result<R, (S, Error)>,
    intact: impl Fn(&S),
) -> u64 {
    let here = |nth| cuda.inject_on_this_thread(fault(nth));
    fail_each_of(cuda, here, make, call, intact)
}

/// As [`fail_each`], with what `inject` lets fail.
fn fail_each_of<S, R: Debug>(
    cuda: &SimulatedCuda,
    inject: impl Fn(u64),
    make: impl Fn() -> S,
    call: impl Fn(S) -> Result<R, (S, Error)>,
    intact: impl Fn(&S),
) -> u64 {
    // One that fails alone is made up for: caches are given back, and it is tried again.
    let arm = |nth| {
        (0..16).for_each(|more| inject(nth + more));
        let disarm: Box<dyn FnOnce() -> bool + '_> = Box::new(|| {
            cuda.clear_faults();
            false
        });
        disarm
    };
    bridge_testkit::fail_each(make, call, intact, arm, || held(cuda)).errors
}

/// Allocations of device memory and bytes of pinned memory that somebody has, when what is kept for the next
/// copies has been given back.
pub(crate) fn held(cuda: &SimulatedCuda) -> (u64, u64) {
    cuda.flush();
    Cuda.trim(PINNED).unwrap();
    let counters = cuda.counters();
    (counters.device_allocations_alive, counters.pinned_bytes_alive)
}

fn device_memory(nth: u64) -> Fault {
    Fault::OutOfMemory { nth }
}

fn pinned_memory(nth: u64) -> Fault {
    Fault::PinnedOutOfMemory { nth }
}

/// The numbers from 0 on, on the device.
pub(crate) fn there(shape: &[usize]) -> Array {
    Array::new(CudaArray::from_host(&counted(shape), GPU).unwrap())
}

/// The numbers from 0 on, wherever the array is.
pub(crate) fn intact(array: &Array) {
    let there = array.downcast_ref::<CudaArray>().map(|there| there.to_host().unwrap());
    let here = there.as_ref().or_else(|| array.downcast_ref::<ManagedTensor>());
    let here = here.expect("a tensor of the host");
    assert_eq!(bytes_of(here), bytes_of(&counted(here.shape())));
}

/// A copy of a slice or a chunk, on the device.
fn copied(registry: &Registry, array: Array) -> Result<Array, Error> {
    let options = Options::default().on(GPU).copy(CopyPolicy::Always);
    registry.convert(array, "cuda", options).map_err(Refused::into_error)
}

/// The numbers from 0 on, which lie one after the other along the columns: those of a row have gaps between them.
fn with_gaps(place: impl FnOnce(ManagedTensor) -> ManagedTensor) -> ManagedTensor {
    let columns = (0..3000).map(|at| (at % 50 * 60 + at / 50) as f32).collect();
    let columns = ManagedTensor::from_vec(columns, &[60, 50]).unwrap();
    place(columns).permuted(&[1, 0]).unwrap()
}

/// The numbers from 0 on, allocated by the driver in memory that the host reads too.
fn by_the_driver(device: Device) -> Array {
    Array::new(CudaArray::from_host(&counted(&[50, 60]), device).unwrap())
}

/// A conversion: what it is called, its array, its target, and without how many allocations of device memory
/// and of pinned memory it fails.
type Case<'a> = (&'a str, &'a dyn Fn() -> Array, &'a str, Options<'static>, [u64; 2]);

fn check(cuda: &SimulatedCuda, cases: &[Case<'_>]) {
    let registry = registry();
    for &(what, make, target, options, expected) in cases {
        let make = || {
            let array = make();
            // A staging buffer that is left from making the array would serve the conversion.
            Cuda.trim(PINNED).unwrap();
            array
        };
        let call = |array| registry.convert(array, target, options).map_err(Refused::into_parts);
        let failed = |fault| fail_each(cuda, fault, make, call, intact);
        assert_eq!([device_memory, pinned_memory].map(failed), expected, "{what}");
    }
}

pub(crate) fn on(device: Device) -> Options<'static> {
    Options::default().on(device)
}

pub(crate) fn copy(device: Device) -> Options<'static> {
    on(device).copy(CopyPolicy::Always)
}

/// A type that holds every float32, so that a cast need not look for one that does not fit.
pub(crate) const WIDE: DataType = DataType::F64;
/// A type that does not.
pub(crate) const NARROW: DataType = DataType::F16;

pub(crate) fn here() -> Array {
    Array::new(counted(&[50, 60]))
}

/// Copied in several pieces.
pub(crate) fn much() -> Array {
    Array::new(counted(&[300, 1000]))
}

pub(crate) fn gaps_here() -> Array {
    Array::new(with_gaps(|columns| columns))
}

pub(crate) fn gaps_there() -> Array {
    let upload = |columns| CudaArray::from_host(&columns, GPU).unwrap().into_tensor();
    Array::new(CudaArray::from_tensor(with_gaps(upload)).unwrap())
}

#[test]
fn conversions() {
    alone("conversions", Config::default(), |cuda| {
        let there = || there(&[50, 60]);
        let host = "dlpack";
        check(
            cuda,
            &[
                ("upload", &here, "cuda", on(GPU), [1, 1]),
                // The second staging buffer only saves time.
                ("upload in pieces", &much, "cuda", on(GPU), [1, 1]),
                ("upload of rows with gaps", &gaps_here, "cuda", on(GPU), [1, 1]),
                ("upload, then cast", &here, "cuda", on(GPU).cast(WIDE), [2, 1]),
                ("cast, then upload", &here, "cuda", on(GPU).cast(NARROW), [1, 1]),
                ("download", &there, host, on(Device::CPU), [0, 1]),
                ("download of rows with gaps", &gaps_there, host, on(Device::CPU), [1, 1]),
                ("download, then cast", &there, host, on(Device::CPU).cast(WIDE), [0, 1]),
                ("copy on the device", &there, "cuda", copy(GPU), [1, 0]),
                ("copy of rows with gaps", &gaps_there, "cuda", copy(GPU), [1, 0]),
                ("cast on the device", &there, "cuda", on(GPU).cast(WIDE), [1, 0]),
                ("cast that may not fit", &there, "cuda", on(GPU).cast(NARROW), [2, 1]),
                ("cast of rows with gaps", &gaps_there, "cuda", on(GPU).cast(WIDE), [1, 0]),
            ],
        );
    });
}

#[test]
fn conversions_to_another_device() {
    alone("conversions_to_another_device", Config::default(), |cuda| {
        let there = || there(&[50, 60]);
        check(
            cuda,
            &[
                ("peer copy", &there, "cuda", on(OTHER), [1, 0]),
                ("peer copy of rows with gaps", &gaps_there, "cuda", on(OTHER), [2, 0]),
                ("peer copy, then cast", &there, "cuda", on(OTHER).cast(WIDE), [2, 0]),
            ],
        );
    });
}

#[test]
fn conversions_to_a_device_that_is_reached_through_the_host() {
    let name = "conversions_to_a_device_that_is_reached_through_the_host";
    alone(name, Config::default().peer_access(false), |cuda| {
        let there = || there(&[50, 60]);
        check(
            cuda,
            &[
                ("staged copy", &there, "cuda", on(OTHER), [1, 1]),
                ("staged copy of rows with gaps", &gaps_there, "cuda", on(OTHER), [2, 1]),
            ],
        );
    });
}

#[test]
fn conversions_to_pinned_and_managed_memory() {
    alone("conversions_to_pinned_and_managed_memory", Config::default(), |cuda| {
        let there = || there(&[50, 60]);
        let (pinned, managed) = (|| by_the_driver(PINNED), || by_the_driver(MANAGED));
        check(
            cuda,
            &[
                ("host to pinned", &here, "cuda", on(PINNED), [0, 1]),
                ("download to pinned", &there, "cuda", on(PINNED), [0, 1]),
                ("download of rows with gaps", &gaps_there, "cuda", on(PINNED), [1, 1]),
                ("copy of pinned", &pinned, "cuda", copy(PINNED), [0, 1]),
                ("cast of pinned", &pinned, "cuda", on(PINNED).cast(WIDE), [0, 1]),
                ("upload of pinned", &pinned, "cuda", copy(GPU), [1, 0]),
                ("host to managed", &here, "cuda", on(MANAGED), [1, 0]),
                ("download to managed", &there, "cuda", on(MANAGED), [1, 0]),
                ("copy of managed", &managed, "cuda", copy(MANAGED), [1, 0]),
                ("cast of managed", &managed, "cuda", on(MANAGED).cast(WIDE), [1, 0]),
                ("upload of managed", &managed, "cuda", copy(GPU), [1, 1]),
            ],
        );
    });
}

#[test]
fn stacks() {
    alone("stacks", Config::default(), |cuda| {
        let registry = registry();
        let on = Options::default().on(GPU);
        let call = |arrays| stack(&registry, arrays, 0, "cuda", on).map_err(Refused::into_parts);
        let three = || vec![there(&[50, 60]), there(&[50, 60]), there(&[50, 60])];
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
            // Chunks are uploaded on one thread and copied on another.
            let inject = |nth| cuda.inject(device_memory(nth));
            let count = fail_each_of(cuda, inject, host, call, intact);
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
