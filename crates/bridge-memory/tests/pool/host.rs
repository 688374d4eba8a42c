//! What a pool of host memory does, seen by one thread.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bridge_core::{Array, DataType, Device, Layout, Registry, TensorSpec};
use bridge_memory::budget::Budget;
use bridge_memory::pool::{DecimalBuckets, Exact, Pool, PoolOptions, Released, SizeClass};
use bridge_memory::recovery::release_caches;

#[test]
fn a_buffer_that_came_back_is_handed_out_again() {
    let pool = Pool::new();
    let first = pool.zeroed::<f64>(1000).unwrap();
    let address = first.as_ptr();
    assert!(address.addr().is_multiple_of(64));
    let second = pool.zeroed::<f64>(1000).unwrap();
    assert_ne!(second.as_ptr(), address, "the first one is in use");
    drop(first);
    // Another element type of about the same size.
    let third = pool.zeroed::<u8>(7990).unwrap();
    assert_eq!((third.as_ptr().addr(), third.len()), (address.addr(), 7990));
    let stats = pool.stats();
    assert_eq!((stats.hits, stats.misses, stats.allocations), (1, 2, 3));
    assert_eq!((stats.buffers_in_use, stats.pool_arrays, stats.evictions), (2, 0, 0));
    assert_eq!((stats.bytes_in_use, stats.bytes_peak), (16_384, 16_384));
    assert_eq!(stats.efficiency, 1.0 / 3.0);
}

#[test]
fn zeros_are_zeros_also_where_others_have_written() {
    let pool = Pool::new();
    pool.zeroed::<u32>(100).unwrap().fill(u32::MAX);
    let buffer = pool.zeroed::<u32>(97).unwrap();
    assert!(buffer.iter().all(|&element| element == 0) && buffer.len() == 97);
    drop(buffer);
    assert_eq!(
        pool.with_temporary(100, |room: &mut [u16]| room.iter().map(|&n| n as u32).sum::<u32>())
            .unwrap(),
        0
    );
    assert_eq!(pool.stats().misses, 2, "200 bytes are of another class than 400");
}

#[test]
fn room_that_is_not_initialized_becomes_elements_when_it_is_written() {
    let pool = Pool::new();
    let threes = pool.uninit::<i16>(10).unwrap().fill(3);
    assert_eq!(*threes, [3; 10]);
    let squares = pool.uninit::<u64>(4).unwrap().write_with(|index| (index * index) as u64);
    assert_eq!(*squares, [0, 1, 4, 9]);
    let copy = pool.uninit::<bool>(2).unwrap().copy_of(&[true, false]).unwrap();
    assert_eq!(*copy, [true, false]);
    let refused = pool.uninit::<u8>(3).unwrap().copy_of(&[1, 2]).unwrap_err();
    assert!(refused.to_string().contains("the buffer has 3"), "{refused}");
    assert_eq!(refused.into_value().len(), 3);
    let mut room = pool.uninit::<u8>(2).unwrap();
    room[0].write(7);
    room[1].write(8);
    // SAFETY: both were written.
    assert_eq!(*unsafe { room.assume_init() }, [7, 8]);
}

#[test]
fn a_panic_gives_the_buffer_back() {
    let pool = Pool::new();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        pool.with_temporary(100, |_: &mut [f32]| panic!("in the middle")).unwrap()
    }));
    assert!(panicked.is_err());
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        pool.uninit::<f32>(100).unwrap().write_with(|index| if index < 50 { 0.0 } else { panic!() })
    }));
    assert!(panicked.is_err());
    let stats = pool.stats();
    assert_eq!((stats.buffers_in_use, stats.pool_arrays, stats.hits), (0, 1, 1));
}

#[test]
fn what_is_kept_is_limited_when_buffers_come_back() {
    let pool = PoolOptions::new().max_bytes(3000).max_buffers(2).size_classes(Exact).build();
    let held: Vec<_> = [1000, 1001, 1002, 3001].map(|size| pool.zeroed::<u8>(size).unwrap()).into();
    drop(held);
    let stats = pool.stats();
    assert_eq!((stats.bytes_cached, stats.pool_arrays), (2003, 2));
    assert_eq!(stats.evictions, 2, "the oldest, and the one that is too large");
    assert_eq!((stats.bytes_in_use, stats.bytes_peak), (0, 6004));
    // The least recently used went first.
    drop(pool.zeroed::<u8>(1001).unwrap());
    drop(pool.zeroed::<u8>(1000).unwrap());
    assert_eq!((pool.stats().hits, pool.stats().misses), (1, 5));
    assert_eq!(pool.keep(1), Released { count: 1, bytes: 1001 });
    assert_eq!(pool.clear(), Released { count: 1, bytes: 1000 });
    assert_eq!(pool.clear(), Released::default());
}

#[test]
fn by_bytes_the_oldest_are_trimmed_first() {
    let pool = PoolOptions::new().size_classes(Exact).build();
    drop([100, 200, 300].map(|size| pool.zeroed::<u8>(size).unwrap()));
    assert_eq!(pool.trim_to(400), Released { count: 2, bytes: 300 });
    assert_eq!(pool.trim_to(300), Released::default());
    assert_eq!(pool.stats().bytes_cached, 300);
}

#[test]
fn a_pool_that_may_keep_nothing_keeps_nothing() {
    let pool = PoolOptions::new().max_bytes(0).build();
    drop(pool.zeroed::<u8>(10).unwrap());
    assert_eq!((pool.stats().bytes_cached, pool.stats().evictions), (0, 1));
}

#[test]
fn a_dropped_tensor_gives_its_buffer_back() {
    let pool = Pool::new();
    let buffer = pool.uninit::<f32>(6).unwrap().write_with(|index| index as f32);
    let address = buffer.as_ptr();
    let refused = buffer.into_tensor(&[4, 2]).unwrap_err();
    assert!(refused.to_string().contains("has 8"), "{refused}");
    let mut tensor = refused.into_value().into_tensor(&[2, 3]).unwrap();
    assert_eq!((tensor.shape(), tensor.data().addr()), (&[2, 3][..], address.addr()));
    tensor.as_mut_slice::<f32>().unwrap()[5] = 7.0;
    // As an array of any backend, and on another thread.
    let array = Array::new(tensor);
    assert_eq!((pool.stats().buffers_in_use, pool.stats().pool_arrays), (1, 0));
    std::thread::scope(|scope| scope.spawn(|| drop(array)).join()).unwrap();
    assert_eq!((pool.stats().buffers_in_use, pool.stats().pool_arrays), (0, 1));
    assert_eq!(pool.zeroed::<f32>(6).unwrap().as_ptr(), address);
}

#[test]
fn bytes_become_a_tensor_of_any_type_that_stays_within_them() {
    let pool = Pool::new();
    let layout = Layout::new(&[2, 2], &[1, -2], 4).unwrap();
    let spec = TensorSpec { data_type: DataType::I16, layout };
    let buffer = pool.zeroed::<u8>(7).unwrap();
    let refused = buffer.into_tensor_as(spec.clone()).unwrap_err();
    assert!(refused.to_string().contains("outside the 7 bytes"), "{refused}");
    drop(refused);
    let tensor = pool.zeroed::<u8>(8).unwrap().into_tensor_as(spec).unwrap();
    assert_eq!((tensor.shape(), tensor.data_type()), (&[2, 2][..], DataType::I16));
    drop(tensor);
    assert_eq!(pool.stats().buffers_in_use, 0);
}

#[test]
fn impossible_sizes_are_errors_and_nothing_is_in_use() {
    let pool = Pool::new();
    let error = pool.zeroed::<f64>(usize::MAX / 4).unwrap_err();
    assert!(error.to_string().contains("elements of 8 bytes"), "{error}");
    assert!(pool.uninit::<u8>(usize::MAX).is_err());
    assert_eq!(pool.zeroed::<f64>(0).unwrap().len(), 0);
    assert_eq!(pool.stats().buffers_in_use, 0);
}

#[test]
#[cfg_attr(miri, ignore = "Miri has no allocator that fails")]
fn what_is_kept_is_freed_before_an_allocation_fails() {
    let pool = Pool::new();
    drop(pool.zeroed::<u8>(1000).unwrap());
    let error = pool.zeroed::<u8>(1 << 50).unwrap_err();
    assert!(error.out_of_memory().is_some(), "{error}");
    let stats = pool.stats();
    assert_eq!((stats.pool_arrays, stats.misses, stats.buffers_in_use), (0, 1, 0));
}

#[test]
fn a_rule_that_rounds_down_does_no_harm() {
    struct Down;
    impl SizeClass for Down {
        fn size(&self, bytes: usize) -> usize {
            bytes / 2
        }
    }
    let pool = PoolOptions::new().size_classes(Down).build();
    let buffer = pool.uninit::<u8>(1000).unwrap().fill(1);
    assert_eq!(buffer.iter().map(|&byte| usize::from(byte)).sum::<usize>(), 1000);
}

#[test]
fn statistics_have_the_names_that_nlsq_gives_them() {
    let pool = PoolOptions::new().size_classes(DecimalBuckets).build();
    drop(pool.zeroed::<u8>(8500).unwrap());
    drop(pool.zeroed::<u8>(9000).unwrap());
    let told = serde_json::to_value(pool.stats()).unwrap();
    for (name, value) in [
        ("pool_memory_gb", 9216e-9),
        ("pool_arrays", 1.0),
        ("allocations", 2.0),
        ("total_requested_gb", 17_500e-9),
        ("total_used_gb", 18_432e-9),
        ("efficiency", 0.5),
        ("hits", 1.0),
        ("misses", 1.0),
        ("evictions", 0.0),
        ("bytes_in_use", 0.0),
        ("bytes_cached", 9216.0),
        ("bytes_peak", 9216.0),
    ] {
        assert_eq!(told[name].as_f64(), Some(value), "{name}");
    }
}

#[test]
fn what_a_pool_keeps_is_released_with_the_caches_of_the_host() {
    let budget = Budget::new("all", 1 << 20).unwrap();
    let (plain, named) = (Pool::new(), PoolOptions::new().within(&budget, "images").build());
    let used = plain.zeroed::<u8>(128).unwrap();
    drop((plain.zeroed::<u8>(4096).unwrap(), named.zeroed::<u8>(4096).unwrap()));
    let released = release_caches(&Registry::new([]), Device::CPU);
    let given = |name: &str| {
        let of_name = released.holders.iter().filter(|one| one.holder == name);
        of_name.map(|one| one.bytes).sum::<u64>()
    };
    assert!(given("pool") >= 4096 && given("images") == 4096, "{released}");
    assert_eq!((plain.stats().bytes_cached, named.stats().bytes_cached), (0, 0));
    assert_eq!((budget.reserved(), plain.stats().bytes_in_use), (0, 128));
    drop((used, plain, named));
    let none = release_caches(&Registry::new([]), Device::CPU);
    assert!(none.holders.iter().all(|one| one.holder != "images"), "{none}");
}
