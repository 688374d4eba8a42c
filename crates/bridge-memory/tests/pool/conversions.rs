//! Conversions that take their memory from pools.

use std::collections::BTreeSet;

use bridge_convert::{Convert as _, ConvertByName as _, SliceMap, Stacker, stack};
use bridge_core::{
    Array, CopyPolicy, DataType, Device, Error, ManagedTensor, MemorySource, Options, Refused,
    Registration, Registry,
};
use bridge_cpu as _;
use bridge_memory::budget::{Budget, ConvertHeld as _, Shortage};
use bridge_memory::pool::{DevicePool, Exact, Pool, PoolOptions, PoolStats};
use bridge_testkit::fake_accelerator::{DEVICES, FakeArray, REGISTRATIONS, transfers};
use ndarray::ArrayD;

use bridge_testkit::vectors::Vectors;

const THERE: Device = DEVICES[0];
const FAKE: &str = "fake-accelerator";

fn registry() -> Registry {
    let tools = [
        Registration::host_tools(&bridge_host::HostKernels),
        Registration::backend(&bridge_core::Dlpack),
        Registration::backend(&Vectors),
    ];
    Registry::new(REGISTRATIONS.iter().copied().chain(tools))
}

fn pool() -> Pool {
    PoolOptions::new().size_classes(Exact).build()
}

/// 0, 1, 2, …, 99, as bytes.
fn bytes() -> ManagedTensor {
    ManagedTensor::from_vec((0..100).collect::<Vec<u8>>(), &[10, 10]).unwrap()
}

fn there(registry: &Registry) -> Array {
    registry.convert(Array::new(bytes()), FAKE, Options::default().on(THERE)).unwrap()
}

fn counts(stats: PoolStats) -> [u64; 3] {
    [stats.misses, stats.hits, stats.buffers_in_use]
}

/// What is asked of a conversion of a hundred bytes.
struct Way {
    name: &'static str,
    on_device: bool,
    target: &'static str,
    options: Options<'static>,
    /// Buffers that one conversion takes, and those of them that the result keeps.
    taken: (u64, u64),
}

fn ways() -> Vec<Way> {
    let none = Options::default;
    let way =
        |name, on_device, target, options, taken| Way { name, on_device, target, options, taken };
    vec![
        way("a copy", false, "dlpack", none().copy(CopyPolicy::Always), (1, 1)),
        way("a cast", false, "dlpack", none().cast(DataType::F64), (1, 1)),
        way("a download", true, "dlpack", none().on(Device::CPU), (1, 1)),
        way("a download, cast", true, "dlpack", none().on(Device::CPU).cast(DataType::F64), (2, 1)),
        way(
            "an upload of what is cast",
            false,
            FAKE,
            none().on(THERE).cast(DataType::BOOL),
            (1, 0),
        ),
        way("a vector", false, "vectors", none().cast(DataType::F64), (0, 0)),
        way("a vector, downloaded", true, "vectors", none(), (0, 0)),
        way("a vector, downloaded and cast", true, "vectors", none().cast(DataType::F64), (1, 0)),
    ]
}

/// The elements on the host, as what they are.
fn elements(registry: &Registry, array: Array) -> Vec<u8> {
    let options = Options::default().on(Device::CPU);
    let there = registry.convert(array, "dlpack", options).unwrap();
    bridge_testkit::bytes_of(&there.downcast::<ManagedTensor>().unwrap())
}

#[test]
fn one_conversion_after_another_takes_the_same_memory() {
    let registry = registry();
    for Way { name, on_device, target, options, taken: (taken, kept) } in ways() {
        let source = || if on_device { there(&registry) } else { Array::new(bytes()) };
        let expected = elements(&registry, registry.convert(source(), target, options).unwrap());
        let pool = pool();
        for round in 0..5 {
            let result = registry.convert(source(), target, options.pool(&pool)).unwrap();
            assert_eq!(counts(pool.stats()), [taken, round * taken, kept], "{name}");
            assert_eq!(elements(&registry, result), expected, "{name}");
        }
        assert_eq!(pool.stats().buffers_in_use, 0, "{name}");
    }
}

#[test]
fn two_results_at_a_time_are_different_memory() {
    let pool = pool();
    let options = Options::default().copy(CopyPolicy::Always).pool(&pool);
    let copy = || -> ManagedTensor { bytes().convert_to(options).unwrap() };
    for _ in 0..3 {
        let mut all = [copy(), copy(), copy()];
        let places: BTreeSet<_> = all.iter().map(|one| one.data().addr()).collect();
        assert_eq!(places.len(), 3);
        for (value, tensor) in (1..).zip(&mut all) {
            tensor.as_mut_slice::<u8>().unwrap().fill(value);
        }
        for (value, tensor) in (1..).zip(&all) {
            assert_eq!(tensor.as_slice::<u8>().unwrap(), [value; 100]);
        }
    }
    assert_eq!(counts(pool.stats()), [3, 6, 0]);
}

#[test]
fn a_pools_memory_becomes_a_vector_by_a_copy_only() {
    let pool = pool();
    let wide = Options::default().cast(DataType::F64).pool(&pool);
    let pooled: ManagedTensor = bytes().convert_to(wide).unwrap();
    let pooled = pooled.into_vec::<f64>().unwrap_err().into_value();
    let place = pooled.data().addr();
    let (array, report) =
        pooled.convert_reported::<ArrayD<f64>>(Options::default().pool(&pool)).unwrap();
    assert!(!report.is_zero_copy() && array.as_ptr().addr() != place);
    assert_eq!((array[[9, 9]], counts(pool.stats())), (99.0, [1, 0, 0]));
    // Nor is what a vector is made of the pool's, which the allocator frees.
    drop(pool);
    assert_eq!(array.into_raw_vec_and_offset().0.len(), 100);
}

#[test]
fn what_fails_gives_its_memory_back() {
    let registry = registry();
    let pool = pool();
    let narrow = Options::default().on(Device::CPU).cast(DataType::I8).pool(&pool);
    let large = ManagedTensor::from_vec(vec![7_i16, 300], &[2]).unwrap();
    let refused = large.convert_to::<ManagedTensor>(narrow).unwrap_err();
    assert!(matches!(refused.error(), Error::ValueOutOfRange { .. }), "{refused}");
    assert_eq!(counts(pool.stats()), [1, 0, 0]);
    let large = refused.into_value();
    assert_eq!(large.as_slice::<i16>().unwrap(), [7, 300]);
    // So does what was between two steps.
    let there = registry.convert(Array::new(large), FAKE, Options::default());
    let refused = registry.convert(there.unwrap(), "dlpack", narrow).unwrap_err();
    assert_eq!(counts(pool.stats()), [2, 1, 0], "a download, and the cast of it");
    assert!(refused.into_value().downcast::<FakeArray>().is_ok());
}

#[test]
fn a_result_outlives_its_pool() {
    let pool = pool();
    let wide = Options::default().cast(DataType::U16).pool(&pool);
    let result: ManagedTensor = bytes().convert_to(wide).unwrap();
    drop(pool);
    assert_eq!(result.as_slice::<u16>().unwrap()[99], 99);
    std::thread::spawn(move || drop(result)).join().unwrap();
}

#[test]
fn what_shares_or_has_no_elements_takes_nothing() {
    let pool = pool();
    let options = Options::default().pool(&pool);
    drop(bytes().convert_to::<ManagedTensor>(options).unwrap());
    let nothing = ManagedTensor::from_vec(Vec::<u8>::new(), &[0, 3]).unwrap();
    let nothing: ManagedTensor = nothing.convert_to(options.cast(DataType::F32)).unwrap();
    assert_eq!((nothing.shape(), pool.stats().allocations), (&[0, 3][..], 0));
}

#[test]
fn what_a_pool_reserves_is_reserved_once() {
    let wide = Options::default().cast(DataType::F64);
    let bytes_in = |budget: &Budget| (budget.status().peak, budget.reserved());
    // A pool without a budget: the conversion reserves, as it does without a pool.
    let budget = Budget::new("all", 800).unwrap();
    let free = pool();
    let result = bytes().convert_to::<ManagedTensor>(wide.within(&budget).pool(&free)).unwrap();
    assert_eq!(bytes_in(&budget), (800, 0));
    drop(result);
    let consumer = budget.consumer("results");
    let held = bytes().convert_held::<ManagedTensor>(wide.pool(&free), &consumer).unwrap();
    assert_eq!((held.reservation().bytes(), bytes_in(&budget)), (800, (800, 800)));
    drop(held);

    // A pool with one, the same or another: it reserves, as long as it has the memory.
    for pooled in [budget.clone(), Budget::new("the pool's", 800).unwrap()] {
        let pool = PoolOptions::new().size_classes(Exact).within(&pooled, "pool").build();
        let plan = registry().plan(&Array::new(bytes()), "dlpack", &wide.pool(&pool)).unwrap();
        assert!(plan.peaks.is_empty() && plan.taken.is_none());
        let held = bytes().convert_held::<ManagedTensor>(wide.pool(&pool), &consumer).unwrap();
        assert_eq!((held.reservation().bytes(), bytes_in(&pooled)), (0, (800, 800)));
        drop(held);
        assert_eq!((pooled.reserved(), pool.stats().bytes_cached), (800, 800));
        let more = wide.cast(DataType::C128).within(&budget).pool(&pool);
        let refused = bytes().convert_to::<ManagedTensor>(more).unwrap_err();
        assert!(matches!(Shortage::of(refused.error()), Some(Shortage::Never { need: 1600, .. })));
        assert_eq!(refused.into_value().shape(), [10, 10]);
        drop(pool);
        assert_eq!(pooled.reserved(), 0);
    }

    // One of a budget that does not count the host's memory reserves nothing of it.
    let elsewhere = Budget::of_device("device", 1, THERE).unwrap();
    let pool = PoolOptions::new().within(&elsewhere, "pool").build();
    let plan = registry().plan(&Array::new(bytes()), "dlpack", &wide.pool(&pool)).unwrap();
    assert_eq!(plan.peaks[0].bytes, 800);
}

#[test]
fn memory_of_a_device_comes_from_the_pool_of_that_device() {
    let registry = registry();
    let on_device = DevicePool::new(&registry, THERE).unwrap();
    let (host, other) = (pool(), DevicePool::new(&registry, DEVICES[1]).unwrap());
    let all = [&other as &dyn MemorySource, &host, &on_device];
    let options = Options::default().on(THERE).cast(DataType::BOOL).pool(&all);
    for round in 0..3 {
        transfers();
        let array = registry.convert(Array::new(bytes()), FAKE, options).unwrap();
        // A copy on the device, of what has just been uploaded.
        let copy = Options::default().copy(CopyPolicy::Always).pool(&all);
        let copy = registry.convert(array, FAKE, copy).unwrap();
        let moved = transfers();
        assert_eq!((moved.uploads, moved.device_copies), (1, 1));
        let stats = [&host.stats(), &on_device.stats(), &other.stats()];
        assert_eq!(stats[0].buffers_in_use, 0, "what was cast on the host is between two steps");
        assert_eq!(stats.map(|stats| stats.misses), [1, 2, 0]);
        assert_eq!(stats.map(|stats| stats.hits), [round, 2 * round, 0]);
        let expected: Vec<_> = (0..100).map(|byte| u8::from(byte > 0)).collect();
        assert_eq!(elements(&registry, copy), expected);
    }
    assert_eq!(on_device.stats().buffers_in_use, 0);
}

#[test]
fn stacks_are_made_in_pooled_memory_where_the_target_can_take_it() {
    let registry = registry();
    let pool = pool();
    let three = || (0..3).map(|_| there(&registry)).collect::<Vec<_>>();
    let options = Options::default().on(Device::CPU).pool(&pool);
    for target in ["dlpack", "vectors"] {
        let before = pool.stats();
        let stacked = stack(&registry, three(), 0, target, options).map_err(Refused::into_error);
        let stacked = stacked.unwrap();
        let in_use = pool.stats().buffers_in_use;
        assert_eq!(in_use, u64::from(target == "dlpack"), "{target}");
        assert_eq!(elements(&registry, stacked), (0..100).collect::<Vec<u8>>().repeat(3));
        assert_eq!(pool.stats().allocations > before.allocations, target == "dlpack");
    }
    // One that is filled step by step has a pool of its own, and its room with it.
    let budget = Budget::new("all", 400).unwrap();
    let pool = PoolOptions::new().size_classes(Exact).within(&budget, "pool").build();
    let mut stacker = Stacker::new(&registry, 3, 0).within(&budget).pool(&pool);
    for array in three() {
        stacker.push(array).unwrap();
        assert_eq!(budget.reserved(), 400, "the stack, and what was downloaded");
    }
    let stacked = stacker.finish("dlpack", Options::default()).unwrap();
    assert_eq!(counts(pool.stats()), [2, 2, 1]);
    assert_eq!(elements(&registry, stacked), (0..100).collect::<Vec<u8>>().repeat(3));
}

/// What comes of slices is stacked in the pool's memory, but for a backend to which it would be copied.
#[test]
fn slices_are_stacked_in_a_pool_unless_they_become_a_vector() {
    let registry = registry();
    for (backend, taken, kept) in [("dlpack", 1, 1), ("vectors", 0, 0), (FAKE, 1, 0)] {
        let pool = pool();
        let array = match backend {
            FAKE => there(&registry),
            "dlpack" => Array::new(bytes()),
            _ => registry.convert(Array::new(bytes()), backend, Options::default()).unwrap(),
        };
        let mut slices = SliceMap::new(&registry, array, 0).unwrap().pool(&pool);
        let (mut rows, on_host) = (0_u8.., Options::default().on(Device::CPU));
        while slices.next_slice().unwrap().is_some() {
            let row: Vec<_> = rows.by_ref().take(10).collect();
            let row = Array::new(ManagedTensor::from_vec(row, &[10]).unwrap());
            slices.push(row).unwrap();
        }
        let made = slices.finish().unwrap();
        assert_eq!(made.descriptor().name, backend);
        assert_eq!(counts(pool.stats()), [taken, 0, kept], "{backend}");
        let made = registry.convert(made, "dlpack", on_host).unwrap();
        let made = made.downcast::<ManagedTensor>().unwrap();
        assert_eq!(made.as_slice::<u8>().unwrap(), (0..100).collect::<Vec<u8>>());
    }
}
