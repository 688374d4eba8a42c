//! No two buffers in use share memory, whatever is acquired and dropped.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Mutex;

use bridge_memory::pool::{Exact, PoolOptions};
use proptest::prelude::*;

use crate::device::{DEVICE, alone, live_bytes, registry};
use crate::marked::Marking;

/// What is in use, by its first address.
type InUse = Mutex<BTreeMap<usize, usize>>;

#[derive(Debug, Clone)]
enum Act {
    Acquire(usize),
    /// Drops one of the buffers that are held.
    Drop(usize),
    Trim(u64),
}

/// What up to three threads do, each less than so many acts, with buffers of these sizes.
fn threads(sizes: Range<usize>, acts: usize) -> impl Strategy<Value = Vec<Vec<Act>>> {
    let most = 4 * sizes.end as u64;
    let act = prop_oneof![
        4 => sizes.prop_map(Act::Acquire),
        4 => any::<usize>().prop_map(Act::Drop),
        1 => (0..most).prop_map(Act::Trim),
    ];
    prop::collection::vec(prop::collection::vec(act, 1..acts), 1..4)
}

/// Acts of threads with small buffers.
fn with_small_buffers() -> impl Strategy<Value = Vec<Vec<Act>>> {
    threads(1..if cfg!(miri) { 200 } else { 5000 }, 60)
}

/// Marks memory as used, where nobody else uses it.
fn enter(in_use: &InUse, place: Range<usize>) {
    let mut in_use = in_use.lock().unwrap();
    let before = in_use.range(..place.end).next_back().map(|(_, end)| *end);
    assert!(before.is_none_or(|end| end <= place.start), "two buffers in use share memory");
    in_use.insert(place.start, place.end);
}

fn run<P: Marking>(pool: &P, in_use: &InUse, acts: &[Act], mark: u8) {
    let mut held = Vec::new();
    let leave = |buffer: P::Buffer| {
        assert!(P::is_marked(&buffer, mark), "somebody else has written");
        // No longer counted before it can be handed out again.
        in_use.lock().unwrap().remove(&P::place(&buffer).start);
        drop(buffer);
    };
    for act in acts {
        match act {
            Act::Acquire(size) => {
                let buffer = pool.marked(*size, mark);
                enter(in_use, P::place(&buffer));
                held.push(buffer);
            }
            Act::Drop(which) if !held.is_empty() => leave(held.swap_remove(which % held.len())),
            Act::Drop(_) => {}
            Act::Trim(bytes) => pool.trim(*bytes),
        }
    }
    held.into_iter().for_each(leave);
}

/// Runs all threads at once, on a pool that keeps at most so many bytes and buffers.
fn run_all(pool: &impl Marking, threads: &[Vec<Act>], max_bytes: u64, max_buffers: usize) {
    let in_use = InUse::default();
    std::thread::scope(|scope| {
        for (acts, mark) in threads.iter().zip(1..) {
            let in_use = &in_use;
            scope.spawn(move || run(pool, in_use, acts, mark));
        }
    });
    let stats = pool.counted();
    assert_eq!((stats.buffers_in_use, stats.bytes_in_use), (0, 0));
    assert!(stats.bytes_cached <= max_bytes && stats.pool_arrays <= max_buffers, "{stats:?}");
}

fn options(max_bytes: u64, max_buffers: usize, exact: bool) -> PoolOptions {
    let options = PoolOptions::new().max_buffers(max_buffers).max_bytes(max_bytes);
    if exact { options.size_classes(Exact) } else { options }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 1 } else { 64 }))]

    #[test]
    fn no_two_buffers_in_use_share_memory(
        threads in with_small_buffers(),
        max_buffers in 0_usize..10,
        exact in any::<bool>(),
    ) {
        run_all(&options(30_000, max_buffers, exact).build(), &threads, 30_000, max_buffers);
    }

    #[test]
    fn no_two_buffers_in_use_share_memory_of_a_device(
        threads in with_small_buffers(),
        max_buffers in 0_usize..10,
        exact in any::<bool>(),
    ) {
        let _alone = alone();
        let options = options(30_000, max_buffers, exact);
        let pool = options.build_on(&registry(), DEVICE).unwrap();
        run_all(&pool, &threads, 30_000, max_buffers);
        drop(pool);
        prop_assert_eq!(live_bytes(), 0, "all is freed with the pool");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// From 4 MiB on blocks lie on large pages, where the system has any.
    #[test]
    #[cfg_attr(miri, ignore = "so many bytes take Miri minutes")]
    fn no_two_large_buffers_in_use_share_memory(
        threads in threads(4 << 20..9 << 20, 10),
        max_buffers in 0_usize..5,
        exact in any::<bool>(),
    ) {
        let most = 20 << 20;
        run_all(&options(most, max_buffers, exact).build(), &threads, most, max_buffers);
    }
}
