//! A pool that several threads use at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use bridge_memory::budget::Budget;
use bridge_memory::pool::{DevicePool, Exact, PoolOptions, PoolStats, PooledBuffer, Released};

use crate::device::{DEVICE, alone, live_bytes, registry};
use crate::marked::Marking as _;

const ROUNDS: usize = if cfg!(miri) { 20 } else { 500 };

/// Calls `work` on three threads, with a mark of each and a size, and `free` on another all the while.
fn free_beside(work: impl Fn(u8, usize) + Sync, free: impl Fn() + Sync) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let workers = [1, 2, 3].map(|mark| {
            let work = &work;
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let size = 500 + (round * 37) % 3000;
                    work(mark, size / if cfg!(miri) { 100 } else { 1 });
                }
            })
        });
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                free();
                std::thread::yield_now();
            }
        });
        let results = workers.map(std::thread::ScopedJoinHandle::join);
        done.store(true, Ordering::Relaxed);
        assert!(results.iter().all(Result::is_ok));
    });
}

/// Nothing is in use after three threads have acquired a buffer each round.
fn assert_all_came_back(stats: &PoolStats) {
    assert_eq!((stats.buffers_in_use, stats.bytes_in_use), (0, 0));
    assert_eq!(stats.allocations, 3 * ROUNDS as u64);
}

#[test]
fn a_pool_can_be_cleared_while_others_allocate() {
    let pool = PoolOptions::new().max_buffers(8).build();
    let work = |mark, size| {
        let mut buffer = pool.zeroed::<u64>(size).unwrap();
        assert!(buffer.iter().all(|&element| element == 0));
        buffer.fill(u64::from(mark));
        std::thread::yield_now();
        assert!(buffer.iter().all(|&element| element == u64::from(mark)));
    };
    free_beside(work, || {
        pool.clear();
        pool.keep(2);
    });
    assert_all_came_back(&pool.stats());
    pool.clear();
    assert_eq!((pool.stats().bytes_cached, pool.stats().pool_arrays), (0, 0));
}

#[test]
fn a_pool_of_a_device_can_be_trimmed_and_cleared_while_others_allocate() {
    let _alone = alone();
    let pool = PoolOptions::new().max_buffers(8).build_on(&registry(), DEVICE).unwrap();
    let work = |mark, size| {
        let buffer = pool.marked(size, mark);
        std::thread::yield_now();
        assert!(DevicePool::is_marked(&buffer, mark), "somebody else has written");
    };
    free_beside(work, || {
        pool.trim_to(2000);
        std::thread::yield_now();
        pool.clear();
    });
    assert_all_came_back(&pool.stats());
    assert_eq!(live_bytes(), pool.stats().bytes_cached, "what was freed is the device's again");
    pool.clear();
    assert_eq!((pool.stats().bytes_cached, live_bytes()), (0, 0));
}

#[test]
fn a_buffer_may_end_on_another_thread_and_after_its_pool() {
    let pool = PoolOptions::new().build();
    let (send, receive) = mpsc::channel();
    let worker = std::thread::spawn(move || {
        for buffer in receive {
            let buffer: PooledBuffer<u8> = buffer;
            assert_eq!(buffer[3], 9);
        }
    });
    for _ in 0..ROUNDS / 10 {
        let mut buffer = pool.zeroed::<u8>(5000).unwrap();
        buffer[3] = 9;
        send.send(buffer).unwrap();
    }
    let last = pool.zeroed::<u8>(5000).unwrap();
    drop(send);
    worker.join().unwrap();
    assert_eq!(pool.stats().buffers_in_use, 1);
    drop(pool);
    assert_eq!(last.len(), 5000);
}

/// Calls `f` on a thread of its own, which ends then.
fn elsewhere<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    std::thread::scope(|scope| scope.spawn(f).join().expect("no panic"))
}

#[test]
fn what_a_thread_gave_back_is_there_for_all() {
    let pool = PoolOptions::new().build();
    let buffers = [(); 12].map(|()| pool.zeroed::<u8>(4096).unwrap());
    let addresses = |buffers: &[PooledBuffer]| {
        let mut addresses: Vec<_> = buffers.iter().map(|one| one.as_ptr().addr()).collect();
        addresses.sort_unstable();
        addresses
    };
    let before = addresses(&buffers);
    elsewhere(|| drop(buffers));
    assert_eq!((pool.stats().pool_arrays, pool.stats().bytes_cached), (12, 12 * 4096));
    let again = [(); 12].map(|()| pool.uninit::<u8>(4096).unwrap().fill(1));
    assert_eq!(addresses(&again), before);
    let stats = pool.stats();
    assert_eq!((stats.hits, stats.misses, stats.buffers_in_use), (12, 12, 12));
}

#[test]
fn every_hit_is_counted_whichever_thread_had_it() {
    let pool = PoolOptions::new().build();
    let work = || {
        for round in 0..ROUNDS {
            let held =
                [100, 200, 100 + 100 * (round % 3)].map(|size| pool.zeroed::<u8>(size).unwrap());
            assert_eq!(held.iter().map(|one| one.len()).sum::<usize>(), 400 + 100 * (round % 3));
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(work);
        work();
    });
    let stats = pool.stats();
    assert_eq!(stats.hits + stats.misses, 6 * ROUNDS as u64);
    assert_eq!(stats.misses, stats.pool_arrays as u64, "nothing is freed");
    let asked: usize = (0..ROUNDS).map(|round| 400 + 100 * (round % 3)).sum();
    assert!((stats.total_requested_gb - 2.0 * asked as f64 / 1e9).abs() < 1e-12, "{stats:?}");
    assert_eq!((stats.buffers_in_use, stats.bytes_in_use), (0, 0));
}

#[test]
fn what_came_first_is_freed_first_whichever_thread_gave_it() {
    let pool = PoolOptions::new().max_buffers(2).size_classes(Exact).build();
    let [first, second, third] = [1, 2, 3].map(|size| pool.zeroed::<u8>(size).unwrap());
    elsewhere(|| drop(first));
    drop(second);
    elsewhere(|| drop(third));
    assert_eq!((pool.stats().evictions, pool.stats().bytes_cached), (1, 5));
    assert_eq!(pool.keep(1), Released { count: 1, bytes: 2 });
    assert_eq!(pool.keep(0), Released { count: 1, bytes: 3 });
}

#[test]
fn room_that_a_thread_does_not_use_is_there_for_others() {
    let pool = PoolOptions::new().max_buffers(2).size_classes(Exact).build();
    // This thread has room for two, and nothing in it.
    drop([1, 2].map(|size| pool.zeroed::<u8>(size).unwrap()));
    let held = [1, 2].map(|size| pool.zeroed::<u8>(size).unwrap());
    elsewhere(|| drop([3, 4].map(|size| pool.zeroed::<u8>(size).unwrap())));
    assert_eq!((pool.stats().evictions, pool.stats().bytes_cached), (0, 7));
    drop(held);
    assert_eq!((pool.stats().evictions, pool.stats().bytes_cached), (2, 3));
}

#[test]
fn a_pool_that_ends_frees_what_threads_have() {
    let budget = Budget::new("all", 1 << 20).unwrap();
    let pool = PoolOptions::new().within(&budget, "pool").build();
    let (done, wait) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let (sent, given_back) = mpsc::channel();
        let of_thread = pool.clone();
        scope.spawn(move || {
            let held = of_thread.zeroed::<u8>(1024).unwrap();
            drop(of_thread.zeroed::<u8>(2048).unwrap());
            drop(of_thread);
            sent.send(()).unwrap();
            // The thread lives on.
            wait.recv().unwrap();
            drop(held);
        });
        given_back.recv().unwrap();
        drop(pool.zeroed::<u8>(4096).unwrap());
        assert_eq!(budget.reserved(), 1024 + 2048 + 4096);
        drop(pool);
        assert_eq!(budget.reserved(), 1024);
        done.send(()).unwrap();
    });
    assert_eq!(budget.reserved(), 0);
}

#[test]
fn a_buffer_may_end_with_its_thread() {
    thread_local! {
        static LAST: std::cell::RefCell<Vec<PooledBuffer>> = const { std::cell::RefCell::new(Vec::new()) };
    }
    let pool = PoolOptions::new().build();
    elsewhere(|| {
        drop(pool.zeroed::<u8>(4096).unwrap());
        LAST.with_borrow_mut(|last| last.push(pool.zeroed::<u8>(4096).unwrap()));
        drop(pool.zeroed::<u8>(100).unwrap());
    });
    let stats = pool.stats();
    assert_eq!((stats.buffers_in_use, stats.pool_arrays, stats.hits), (0, 2, 1));
}
