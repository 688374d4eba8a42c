//! A pool that several threads use at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use bridge_memory::pool::PoolOptions;

const ROUNDS: usize = if cfg!(miri) { 20 } else { 500 };

#[test]
fn a_pool_can_be_cleared_while_others_allocate() {
    let pool = PoolOptions::new().max_buffers(8).build();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..3_u64)
            .map(|worker| {
                let pool = &pool;
                scope.spawn(move || {
                    for round in 0..ROUNDS {
                        let size = (500 + (round * 37) % 3000) / if cfg!(miri) { 100 } else { 1 };
                        let mut buffer = pool.zeroed::<u64>(size).unwrap();
                        assert!(buffer.iter().all(|&element| element == 0));
                        buffer.fill(worker + 1);
                        std::thread::yield_now();
                        assert!(buffer.iter().all(|&element| element == worker + 1));
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                pool.clear();
                pool.keep(2);
                std::thread::yield_now();
            }
        });
        let results: Vec<_> =
            workers.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        done.store(true, Ordering::Relaxed);
        assert!(results.iter().all(Result::is_ok));
    });
    let stats = pool.stats();
    assert_eq!((stats.buffers_in_use, stats.bytes_in_use), (0, 0));
    assert_eq!(stats.allocations, 3 * ROUNDS as u64);
    pool.clear();
    assert_eq!((pool.stats().bytes_cached, pool.stats().pool_arrays), (0, 0));
}

#[test]
fn a_buffer_may_end_on_another_thread_and_after_its_pool() {
    let pool = PoolOptions::new().build();
    let (send, receive) = mpsc::channel();
    let worker = std::thread::spawn(move || {
        for buffer in receive {
            let buffer: bridge_memory::pool::PooledBuffer<u8> = buffer;
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
