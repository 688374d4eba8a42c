//! A budget covers what pools hold and what is taken past them alike.

use std::time::Duration;

use bridge_core::{DataType, Device, ManagedTensor, Options, Registry};
use bridge_memory::budget::{Budget, ConvertHeld, Shortage};
use bridge_memory::pool::{Exact, Pool, PoolOptions};
use bridge_testkit::fake_accelerator::{DEVICES, REGISTRATIONS};

fn pool(budget: &Budget) -> Pool {
    PoolOptions::new().size_classes(Exact).within(budget, "pool").build()
}

#[test]
fn pooled_and_direct_memory_share_a_budget() {
    let budget = Budget::new("all", 1000).unwrap();
    let pool = pool(&budget);
    let buffer = pool.zeroed::<u8>(600).unwrap();
    assert_eq!(budget.reserved(), 600);
    // In use: nobody else has it, and the error says who does.
    let refused = budget.consumer("direct").reserve(500).unwrap_err();
    assert!(refused.to_string().contains("pool 600 B"), "{refused}");
    // A conversion asks the same budget.
    let tensor = ManagedTensor::from_vec(vec![1_u8; 125], &[125]).unwrap();
    let wide = Options::default().cast(DataType::F32);
    let refused = tensor.convert_held::<ManagedTensor>(wide, &budget.consumer("cast")).unwrap_err();
    assert!(Shortage::of(refused.error()).is_some(), "{refused}");
    let tensor = refused.into_value();
    // In no use: it is kept, counted, and freed when it is needed.
    drop(buffer);
    assert_eq!((budget.reserved(), pool.stats().bytes_cached), (600, 600));
    let wide = tensor.convert_held::<ManagedTensor>(wide, &budget.consumer("cast")).unwrap();
    assert_eq!((budget.reserved(), pool.stats().bytes_cached), (500, 0));
    let refused = pool.zeroed::<u8>(501).unwrap_err();
    assert!(matches!(Shortage::of(&refused), Some(Shortage::NotNow { have: 500, .. })));
    let refused = pool.zeroed::<u8>(1001).unwrap_err();
    assert!(matches!(Shortage::of(&refused), Some(Shortage::Never { capacity: 1000, .. })));
    assert_eq!(pool.stats().buffers_in_use, 0);
    drop(wide);
    assert!(pool.zeroed::<u8>(1000).is_ok());
}

#[test]
fn a_pool_frees_of_its_own_what_it_needs_for_another_size() {
    let budget = Budget::new("all", 1000).unwrap();
    let pool = pool(&budget);
    drop([100, 200, 300].map(|size| pool.zeroed::<u8>(size).unwrap()));
    assert_eq!(budget.reserved(), 600);
    let buffer = pool.zeroed::<u8>(650).unwrap();
    // The arrays were dropped in order: 100 and 200 went, 300 stays.
    assert_eq!((budget.reserved(), pool.stats().bytes_cached), (950, 300));
    drop((buffer, pool));
    assert_eq!(budget.reserved(), 0, "nothing stays reserved when a pool ends");
}

#[test]
fn device_pools_have_room_in_budgets_of_their_device() {
    let registry = Registry::new(REGISTRATIONS.iter().copied());
    let device = DEVICES[2];
    let budget = Budget::of_device("device", 1000, device).unwrap();
    let other = Budget::of_device("host", 1000, Device::CPU).unwrap();
    let options = || PoolOptions::new().size_classes(Exact);
    let pool = options().within(&budget, "pool").build_on(&registry, device).unwrap();
    let uncounted = options().within(&other, "pool").build_on(&registry, device).unwrap();
    let buffers = (pool.acquire(700).unwrap(), uncounted.acquire(7000).unwrap());
    assert_eq!((budget.reserved(), other.reserved()), (700, 0));
    assert!(Shortage::of(&pool.acquire(301).unwrap_err()).is_some());
    drop(buffers);
    let direct = budget.reserve(400).unwrap();
    assert_eq!((budget.reserved(), pool.stats().bytes_cached), (400, 0));
    drop((direct, pool));
    assert_eq!(budget.reserved(), 0);
}

#[test]
fn reservations_of_threads_that_use_one_pool_end_with_it() {
    const ROUNDS: usize = if cfg!(miri) { 5 } else { 300 };
    let budget = Budget::new("all", 50_000).unwrap();
    let pool = pool(&budget);
    std::thread::scope(|scope| {
        for worker in 1..4 {
            let (pool, budget) = (&pool, &budget);
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let size = (round * 331 + worker * 97) % 9000 + 1;
                    let buffer = pool.zeroed::<u8>(size).unwrap();
                    // Either there is room for it, or what is kept is freed for it.
                    let direct = budget.reserve_waiting(5000, Duration::from_secs(60));
                    assert_eq!(direct.unwrap().bytes(), 5000);
                    assert_eq!(buffer.len(), size);
                }
            });
        }
    });
    assert_eq!(budget.reserved(), pool.stats().bytes_cached);
    pool.clear();
    assert_eq!(budget.reserved(), 0);
}

#[test]
fn a_budget_of_another_device_does_not_ask_a_pool() {
    let device = DEVICES[2];
    let budget = Budget::of_device("device", 1000, device).unwrap();
    let host = PoolOptions::new().size_classes(Exact).within(&budget, "host pool").build();
    drop(host.zeroed::<u8>(500).unwrap());
    let registry = Registry::new(REGISTRATIONS.iter().copied());
    let options = PoolOptions::new().size_classes(Exact).within(&budget, "device pool");
    let pool = options.build_on(&registry, device).unwrap();
    drop(pool.acquire(800).unwrap());
    // The host's bytes are none of the device's: they stay, and the device's are given back.
    let held = budget.reserve(400).unwrap();
    assert_eq!((host.stats().bytes_cached, pool.stats().bytes_cached), (500, 0));
    drop(held);
}

#[test]
fn what_fits_is_not_refused_because_sizes_are_rounded_up() {
    let budget = Budget::new("all", 100_000).unwrap();
    let pool = PoolOptions::new().within(&budget, "pool").build();
    let first = pool.zeroed::<u8>(99_000).unwrap();
    assert_eq!((budget.reserved(), pool.stats().bytes_in_use), (99_000, 99_000));
    let refused = pool.zeroed::<u8>(1001).unwrap_err();
    assert!(matches!(Shortage::of(&refused), Some(Shortage::NotNow { need: 1001, .. })));
    drop(first);
    let registry = Registry::new(REGISTRATIONS.iter().copied());
    let of_device = Budget::of_device("device", 100_000, DEVICES[2]).unwrap();
    let options = PoolOptions::new().within(&of_device, "pool");
    let pool = options.build_on(&registry, DEVICES[2]).unwrap();
    let buffer = pool.acquire(99_000).unwrap();
    assert_eq!((buffer.tensor().shape(), of_device.reserved()), (&[99_000][..], 99_000));
    drop(buffer);
    assert_eq!((pool.stats().bytes_in_use, pool.stats().bytes_cached), (0, 99_000));
}
