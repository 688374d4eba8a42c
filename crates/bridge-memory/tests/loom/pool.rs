//! Pools of host memory.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use bridge_memory::budget::Budget;
use bridge_memory::pool::{Exact, Pool, PoolOptions, PooledBuffer};
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread;

/// Bytes of every buffer, where nothing else is said.
const SIZE: usize = 64;

/// Where the buffers are that are in use. Its lock is held for no step of loom's.
#[derive(Clone, Default)]
struct InUse(Arc<Mutex<BTreeSet<usize>>>);

impl InUse {
    fn enter(&self, buffer: &PooledBuffer) {
        let entered = self.0.lock().unwrap().insert(buffer.as_ptr().addr());
        assert!(entered, "two have the same buffer");
    }

    fn leave(&self, buffer: PooledBuffer) {
        self.0.lock().unwrap().remove(&buffer.as_ptr().addr());
        drop(buffer);
    }
}

fn options() -> PoolOptions {
    PoolOptions::new().size_classes(Exact)
}

/// Takes two buffers, one after the other, and writes to them.
fn take_two(pool: &Pool, in_use: &InUse, mark: u8) {
    let marked = || pool.uninit::<u8>(SIZE).unwrap().fill(mark);
    let first = marked();
    in_use.enter(&first);
    let second = marked();
    in_use.enter(&second);
    assert!(first.iter().chain(second.iter()).all(|&byte| byte == mark), "others have written");
    in_use.leave(first);
    in_use.leave(second);
}

#[test]
fn two_never_have_the_same_buffer() {
    loom::model(|| {
        let (pool, in_use) = (options().max_buffers(2).build(), InUse::default());
        drop(pool.zeroed::<u8>(SIZE).unwrap());
        let other = {
            let (pool, in_use) = (pool.clone(), in_use.clone());
            thread::spawn(move || take_two(&pool, &in_use, 1))
        };
        take_two(&pool, &in_use, 2);
        other.join().unwrap();
        let stats = pool.stats();
        assert_eq!((stats.buffers_in_use, stats.bytes_in_use, stats.allocations), (0, 0, 5));
        assert_eq!(stats.misses, stats.pool_arrays as u64 + stats.evictions);
    });
}

#[test]
fn no_more_is_kept_than_may_be() {
    const MOST: u64 = 150;
    let check = |pool: &Pool| {
        let stats = pool.stats();
        assert!(stats.bytes_cached <= MOST && stats.pool_arrays <= 2, "{stats:?}");
        stats
    };
    loom::model(move || {
        let pool = options().max_bytes(MOST).max_buffers(2).build();
        let held = [50, 60, 70].map(|size| pool.zeroed::<u8>(size).unwrap());
        let [first, second, third] = held;
        let others = [(first, pool.clone()), (second, pool.clone())].map(|(buffer, pool)| {
            thread::spawn(move || {
                drop(buffer);
                check(&pool);
            })
        });
        drop(third);
        check(&pool);
        others.into_iter().for_each(|other| other.join().unwrap());
        let stats = check(&pool);
        assert_eq!((stats.buffers_in_use, stats.pool_arrays, stats.evictions), (0, 2, 1));
    });
}

#[test]
fn what_is_trimmed_is_what_nobody_has() {
    loom::model(|| {
        let budget = Budget::new("loom", 1000).unwrap();
        let pool = options().within(&budget, "pool").build();
        drop(pool.zeroed::<u8>(SIZE).unwrap());
        let taker = {
            let pool = pool.clone();
            thread::spawn(move || {
                let buffer = pool.uninit::<u8>(SIZE).unwrap().fill(7);
                assert!(buffer.iter().all(|&byte| byte == 7));
                buffer
            })
        };
        let released = pool.clear();
        let buffer = taker.join().unwrap();
        let stats = pool.stats();
        assert_eq!(stats.hits + released.count as u64, 1, "it was taken or freed");
        assert_eq!((stats.buffers_in_use, stats.pool_arrays), (1, 0));
        assert_eq!(budget.reserved(), SIZE as u64);
        drop(buffer);
        assert_eq!(pool.clear().bytes, SIZE as u64);
        assert_eq!(budget.reserved(), 0);
    });
}

#[test]
fn a_pool_may_end_while_a_buffer_is_out() {
    loom::model(|| {
        let budget = Budget::new("loom", 1000).unwrap();
        let pool = options().within(&budget, "pool").build();
        drop(pool.zeroed::<u8>(SIZE + 1).unwrap());
        let buffer = pool.zeroed::<u8>(SIZE).unwrap();
        let user = thread::spawn(move || {
            assert!(buffer.iter().all(|&byte| byte == 0));
            drop(buffer);
        });
        // Under pressure too: the hook may find the pool ending.
        let direct = budget.reserve(1000 - SIZE as u64);
        drop(pool);
        drop(direct);
        user.join().unwrap();
        assert_eq!(budget.reserved(), 0);
    });
}

#[test]
fn a_pool_may_end_while_it_makes_room() {
    loom::model(|| {
        let budget = Budget::new("loom", 1000).unwrap();
        let pool = options().max_buffers(1).within(&budget, "pool").build();
        drop(pool.zeroed::<u8>(SIZE + 1).unwrap());
        let buffer = pool.zeroed::<u8>(SIZE).unwrap();
        let user = thread::spawn(move || drop(buffer));
        drop(pool);
        user.join().unwrap();
        assert_eq!(budget.reserved(), 0);
    });
}

#[test]
fn what_a_thread_has_goes_to_one_only() {
    loom::model(|| {
        let (pool, in_use) = (options().build(), InUse::default());
        // This thread has it, without a lock from now on.
        drop(pool.zeroed::<u8>(SIZE).unwrap());
        let other = {
            let (pool, in_use) = (pool.clone(), in_use.clone());
            thread::spawn(move || {
                let buffer = pool.zeroed::<u8>(SIZE).unwrap();
                in_use.enter(&buffer);
                in_use.leave(buffer);
                pool.clear();
            })
        };
        for _ in 0..2 {
            let buffer = pool.zeroed::<u8>(SIZE).unwrap();
            in_use.enter(&buffer);
            in_use.leave(buffer);
        }
        other.join().unwrap();
        let stats = pool.stats();
        assert_eq!((stats.buffers_in_use, stats.allocations), (0, 4));
        assert_eq!(stats.bytes_cached, SIZE as u64 * stats.pool_arrays as u64);
    });
}

#[test]
fn a_budget_and_its_pool_never_give_the_same_bytes() {
    const CAPACITY: u64 = SIZE as u64;
    fn hold(held: &AtomicU64, bytes: u64) {
        assert!(held.fetch_add(bytes, Ordering::SeqCst) + bytes <= CAPACITY, "more than there is");
        held.fetch_sub(bytes, Ordering::SeqCst);
    }
    loom::model(|| {
        let budget = Budget::new("loom", CAPACITY).unwrap();
        let pool = options().within(&budget, "pool").build();
        drop(pool.zeroed::<u8>(SIZE).unwrap());
        let held = Arc::new(AtomicU64::new(0));
        let other = {
            let (consumer, held) = (budget.consumer("direct"), Arc::clone(&held));
            thread::spawn(move || {
                consumer.reserve(CAPACITY).is_ok_and(|got| {
                    hold(&held, got.bytes());
                    true
                })
            })
        };
        let pooled = pool.zeroed::<u8>(SIZE).is_ok_and(|buffer| {
            hold(&held, buffer.len() as u64);
            true
        });
        assert!(other.join().unwrap() || pooled, "one of them gets it");
        assert_eq!(budget.reserved(), pool.stats().bytes_cached);
    });
}
