//! No two buffers in use share memory, whatever is acquired and dropped.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Mutex;

use bridge_memory::pool::{Exact, Pool, PoolOptions, PooledBuffer};
use proptest::prelude::*;

/// What is in use, by its first address.
type InUse = Mutex<BTreeMap<usize, usize>>;

#[derive(Debug, Clone)]
enum Act {
    Acquire(usize),
    /// Drops one of the buffers that are held.
    Drop(usize),
    Trim(u64),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => (1_usize..if cfg!(miri) { 200 } else { 5000 }).prop_map(Act::Acquire),
        4 => any::<usize>().prop_map(Act::Drop),
        1 => (0_u64..20_000).prop_map(Act::Trim),
    ];
    prop::collection::vec(act, 1..60)
}

fn place(buffer: &PooledBuffer) -> Range<usize> {
    let first = buffer.as_ptr().addr();
    first..first + buffer.len()
}

/// Marks memory as used, where nobody else uses it.
fn enter(in_use: &InUse, place: Range<usize>) {
    let mut in_use = in_use.lock().unwrap();
    let before = in_use.range(..place.end).next_back().map(|(_, end)| *end);
    assert!(before.is_none_or(|end| end <= place.start), "two buffers in use share memory");
    in_use.insert(place.start, place.end);
}

fn run(pool: &Pool, in_use: &InUse, acts: &[Act], mark: u8) {
    let mut held: Vec<PooledBuffer> = Vec::new();
    let leave = |buffer: PooledBuffer| {
        assert!(buffer.iter().all(|&byte| byte == mark), "somebody else has written");
        // No longer counted before it can be handed out again.
        in_use.lock().unwrap().remove(&place(&buffer).start);
        drop(buffer);
    };
    for act in acts {
        match act {
            Act::Acquire(size) => {
                let buffer = pool.uninit::<u8>(*size).unwrap().fill(mark);
                enter(in_use, place(&buffer));
                held.push(buffer);
            }
            Act::Drop(which) if !held.is_empty() => leave(held.swap_remove(which % held.len())),
            Act::Drop(_) => {}
            Act::Trim(bytes) => drop(pool.trim_to(*bytes)),
        }
    }
    held.into_iter().for_each(leave);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 1 } else { 64 }))]

    #[test]
    fn no_two_buffers_in_use_share_memory(
        threads in prop::collection::vec(acts(), 1..4),
        max_buffers in 0_usize..10,
        exact in any::<bool>(),
    ) {
        let options = PoolOptions::new().max_buffers(max_buffers).max_bytes(30_000);
        let pool = if exact { options.size_classes(Exact) } else { options }.build();
        let in_use = InUse::default();
        std::thread::scope(|scope| {
            for (acts, mark) in threads.iter().zip(1..) {
                let (pool, in_use) = (&pool, &in_use);
                scope.spawn(move || run(pool, in_use, acts, mark));
            }
        });
        let stats = pool.stats();
        prop_assert_eq!((stats.buffers_in_use, stats.bytes_in_use), (0, 0));
        prop_assert!(stats.bytes_cached <= 30_000 && stats.pool_arrays <= max_buffers);
    }
}
