//! A budget covers memory alike, whichever way it is taken: pooled, direct, pinned and staged.

use std::any::Any;
use std::cell::RefCell;

use bridge_convert::{ConvertByName as _, Stacker};
use bridge_core::{
    Access, Allocator, Array, Backend, DataType, Device, DeviceKind, DeviceMemory, ManagedTensor,
    Options, Owner, Refused, Registration, Registry, Result, TensorSpec,
};
use bridge_memory::budget::{Budget, ConvertHeldByName as _, Shortage};
use bridge_memory::chunk::{ChunkMap, ChunkPlan};
use bridge_memory::pool::{DevicePool, Exact, Pool, PoolOptions};
use bridge_testkit::fake_accelerator::{DEVICES, FakeAccelerator};

use crate::runtime::Telling;

const GPU: Device = DEVICES[0];
const PINNED: Device = Device::new(DeviceKind::CudaHost, 0);
const FAKE: &str = "fake-accelerator";
/// What [`STAGING`] takes of the host for a transfer or a cast.
const STAGED: u64 = 64;

/// Whatever has memory, as long as it lives.
type Holder = Box<dyn Any>;

/// A way to take memory.
struct Way {
    name: &'static str,
    /// What is reserved in the steps on the way, and last while the holder lives.
    reserved: &'static [u64],
    take: fn(&Budget, &Registry) -> Result<Holder>,
}

const WAYS: &[Way] = &[
    Way {
        name: "a reservation",
        reserved: &[100],
        take: |budget, _| Ok(Box::new(budget.consumer("direct").reserve(100)?)),
    },
    Way {
        name: "a pool's buffer in use",
        reserved: &[200],
        take: |budget, _| Ok(Box::new(pool(budget).zeroed::<u8>(200)?)),
    },
    Way {
        name: "a pool's buffer that is kept",
        reserved: &[200, 200],
        take: |budget, _| {
            let pool = pool(budget);
            let buffer = pool.zeroed::<u8>(200)?;
            look();
            drop(buffer);
            Ok(Box::new(pool))
        },
    },
    Way {
        name: "a tensor in a pool's memory",
        reserved: &[240],
        take: |budget, _| {
            let tensor = pool(budget).zeroed::<f32>(60)?.into_tensor(&[60]);
            Ok(Box::new(tensor.map_err(Refused::into_error)?))
        },
    },
    Way {
        name: "a device's buffer in use",
        reserved: &[300],
        take: |budget, registry| Ok(Box::new(pool_of(GPU, budget, registry)?.acquire(300)?)),
    },
    Way {
        name: "a device's buffer that is kept",
        reserved: &[300, 300],
        take: |budget, registry| {
            let pool = pool_of(GPU, budget, registry)?;
            let buffer = pool.acquire(300)?;
            look();
            drop(buffer);
            Ok(Box::new(pool))
        },
    },
    Way {
        name: "a pinned buffer in use",
        reserved: &[400],
        take: |budget, registry| Ok(Box::new(pool_of(PINNED, budget, registry)?.acquire(400)?)),
    },
    Way {
        name: "a pinned buffer that is kept",
        reserved: &[400, 400],
        take: |budget, registry| {
            let pool = pool_of(PINNED, budget, registry)?;
            let buffer = pool.acquire(400)?;
            look();
            drop(buffer);
            Ok(Box::new(pool))
        },
    },
    Way {
        name: "a conversion that gives its room back",
        // The upload and the cast of it on the device, and staging memory.
        reserved: &[900 + STAGED, 900 + STAGED, 0],
        take: |budget, registry| {
            let options = Options::default().on(GPU).cast(DataType::F64).within(budget);
            let array = registry.convert(bytes(100), FAKE, options);
            Ok(Box::new(array.map_err(Refused::into_error)?))
        },
    },
    Way {
        name: "a conversion whose result keeps its room",
        reserved: &[900 + STAGED, 900 + STAGED, 800],
        take: |budget, registry| {
            let options = Options::default().on(GPU).cast(DataType::F64);
            let consumer = budget.consumer("results");
            let held = registry.convert_held(bytes(100), FAKE, options, &consumer);
            Ok(Box::new(held.map_err(Refused::into_error)?))
        },
    },
    Way {
        name: "a conversion into a pool's memory",
        // The pool reserves it, and the conversion does not once more.
        reserved: &[800],
        take: |budget, registry| {
            let pool = pool(budget);
            let options = Options::default().cast(DataType::F64).within(budget).pool(&pool);
            let array = registry.convert(bytes(100), "dlpack", options);
            Ok(Box::new(array.map_err(Refused::into_error)?))
        },
    },
    Way {
        name: "a download into a pool's memory",
        // What the pool gives, and staging memory.
        reserved: &[100 + STAGED, 100],
        take: |budget, registry| {
            let there = registry.convert(bytes(100), FAKE, Options::default().on(GPU));
            let there = there.map_err(Refused::into_error)?;
            SEEN.take();
            let pool = pool(budget);
            let options = Options::default().on(Device::CPU).within(budget).pool(&pool);
            let array = registry.convert(there, "dlpack", options);
            Ok(Box::new(array.map_err(Refused::into_error)?))
        },
    },
    Way {
        name: "an upload into memory of a pool of the device",
        reserved: &[100 + STAGED, 100],
        take: |budget, registry| {
            let pool = pool_of(GPU, budget, registry)?;
            let options = Options::default().on(GPU).within(budget).pool(&pool);
            let array = registry.convert(bytes(100), FAKE, options);
            Ok(Box::new(array.map_err(Refused::into_error)?))
        },
    },
    Way {
        name: "a stack that is being filled",
        // Two slices, and the second as it is downloaded; what is handed over keeps no room.
        reserved: &[200 + 100 + STAGED, 200, 0],
        take: |budget, registry| {
            let there = registry.convert(bytes(100), FAKE, Options::default().on(GPU));
            let there = there.map_err(Refused::into_error)?;
            SEEN.take();
            let mut stack = Stacker::new(registry, 2, 0).within(budget);
            stack.push(bytes(100)).map_err(Refused::into_error)?;
            stack.push(there).map_err(Refused::into_error)?;
            look();
            let whole = stack.finish("dlpack", Options::default());
            Ok(Box::new(whole?))
        },
    },
    Way {
        name: "chunks, and what is made of them",
        // Each chunk as it is uploaded and as the function works on it; from the second on with the
        // result.
        reserved: &[50 + STAGED, 50, 150 + STAGED, 150, 100],
        take: |budget, registry| {
            let plan = ChunkPlan::of_size(100, 50)?;
            let consumer = budget.consumer("chunks");
            let map = ChunkMap::new(registry, &plan).to(FAKE).within(&consumer).one_at_a_time();
            let mapped = map.options(Options::default().on(GPU)).run(bytes(100), |_| {
                look();
                Ok(bytes(50))
            });
            Ok(Box::new(mapped.map_err(Refused::into_error)?))
        },
    },
];

#[test]
fn a_budget_covers_memory_whichever_way_it_is_taken() {
    let registry = registry();
    for Way { name, reserved, take } in WAYS {
        let budget = Budget::new("all", 10_000).unwrap();
        watch(&budget);
        let holder = take(&budget, &registry).unwrap();
        look();
        assert_eq!(SEEN.take(), *reserved, "{name}");
        drop(holder);
        assert_eq!(budget.reserved(), 0, "{name}, afterwards");

        // Less than it takes at any one time is an error, and nothing stays reserved.
        let most = *reserved.iter().max().unwrap();
        assert_eq!(budget.status().peak, most, "{name}");
        let little = Budget::new("little", most - 1).unwrap();
        watch(&little);
        let refused = take(&little, &registry).expect_err(name);
        assert!(Shortage::of(&refused).is_some(), "{name}: {refused}");
        assert_eq!(little.reserved(), 0, "{name}, refused");
    }
}

#[test]
fn a_budget_adds_up_all_the_ways_in_which_memory_is_taken() {
    let registry = registry();
    let budget = Budget::new("all", 10_000).unwrap();
    watch(&budget);
    let holders: Vec<_> = WAYS.iter().map(|way| (way.take)(&budget, &registry).unwrap()).collect();
    let held: u64 = WAYS.iter().filter_map(|way| way.reserved.last()).sum();
    assert_eq!(budget.reserved(), held);
    budget.set_capacity(held).unwrap();
    // Only what nobody uses can be had.
    let kept = 200 + 300 + 400;
    assert!(budget.reserve(kept + 1).is_err());
    assert_eq!(budget.reserve(kept).unwrap().bytes(), kept);
    drop(holders);
    assert_eq!(budget.reserved(), 0);
}

thread_local! {
    /// The budget that is looked at, and what was reserved of it each time.
    static WATCHED: RefCell<Option<Budget>> = const { RefCell::new(None) };
    static SEEN: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

fn watch(budget: &Budget) {
    WATCHED.set(Some(budget.clone()));
    SEEN.take();
}

fn look() {
    let reserved = WATCHED.with_borrow(|budget| budget.as_ref().map(Budget::reserved));
    SEEN.with_borrow_mut(|seen| seen.extend(reserved));
}

fn bytes(count: usize) -> Array {
    Array::new(ManagedTensor::from_vec(vec![1_u8; count], &[count]).unwrap())
}

fn pool(budget: &Budget) -> Pool {
    PoolOptions::new().size_classes(Exact).within(budget, "pool").build()
}

fn pool_of(device: Device, budget: &Budget, registry: &Registry) -> Result<DevicePool> {
    let options = PoolOptions::new().size_classes(Exact);
    options.within(budget, &device.to_string()).build_on(registry, device)
}

fn registry() -> Registry {
    Registry::new([
        Registration::host_tools(&bridge_host::HostKernels),
        Registration::backend(&bridge_core::Dlpack),
        Registration::backend(&FakeAccelerator),
        Registration::runtime(&STAGING),
        Registration::allocator(&FakeAccelerator),
        Registration::allocator(&Pinned),
    ])
}

/// The fake accelerator, as one that stages what it moves and casts in memory of the host, and looks
/// at the budget while it does.
static STAGING: Telling = Telling { moves: look, waits: || {}, staged: STAGED };

/// Has pinned memory: the host's, under another name.
struct Pinned;

impl Allocator for Pinned {
    fn backend(&self) -> &'static dyn Backend {
        &FakeAccelerator
    }

    fn holds(&self, device: Device) -> bool {
        device == PINNED
    }

    fn allocate(&self, spec: &TensorSpec, device: Device) -> Result<ManagedTensor> {
        let tensor = bridge_host::zeroed(spec, 64)?;
        let (data, spec) = (tensor.data(), tensor.spec());
        // SAFETY: the memory is that of `tensor`, which the owner keeps and nobody else holds; pinned
        // memory is the host's.
        let pinned = unsafe {
            ManagedTensor::from_parts(data, spec, device, Access::Exclusive, Owner::keep(tensor))
        };
        Ok(pinned.map_err(Refused::into_error)?)
    }

    fn usage(&self, _: Device) -> Result<DeviceMemory> {
        Ok(DeviceMemory { total: 1 << 30, free: 1 << 30 })
    }

    fn trim(&self, _: Device) -> Result<u64> {
        Ok(0)
    }
}
