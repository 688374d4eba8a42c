//! Reservations of a budget beside those of DataFusion's memory pools, [in turns](in_turns): the greedy
//! one, which knows no names, and the same with its consumers tracked, which tells the largest in errors, as a
//! budget does. An argument selects jobs by a part of their name.
//!
//! `cargo run --release --manifest-path benches/datafusion/Cargo.toml`

use std::hint::black_box;
use std::num::NonZeroUsize;
use std::sync::Arc;

use bridge_memory::budget::Budget;
use datafusion_execution::memory_pool::{
    GreedyMemoryPool, MemoryConsumer, MemoryPool, MemoryReservation, TrackConsumersPool,
};
use in_turns::{compare, on_threads, turns};

const CAPACITY: usize = 1 << 30;
const BYTES: usize = 4096;

fn reserve_and_drop(theirs: &MemoryReservation) {
    let taken = theirs.new_empty();
    taken.try_grow(BYTES).expect("there is room");
    drop(black_box(taken));
}

fn grow_and_shrink(theirs: &MemoryReservation) {
    theirs.try_grow(BYTES).expect("there is room");
    theirs.shrink(BYTES);
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let greedy: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(CAPACITY));
    let five = NonZeroUsize::new(5).ok_or("five is not zero")?;
    let tracked: Arc<dyn MemoryPool> =
        Arc::new(TrackConsumersPool::new(GreedyMemoryPool::new(CAPACITY), five));
    let pools = [("DataFusion greedy", greedy), ("DataFusion tracked", tracked)];
    let theirs = pools.map(|(name, pool)| (name, MemoryConsumer::new("bench").register(&pool)));
    let budget = Budget::new("bench", CAPACITY as u64)?;
    let consumer = budget.consumer("bench");
    for threads in [1, 2, 4] {
        let ours = on_threads(threads, || drop(black_box(consumer.reserve(BYTES as u64))));
        let mut jobs = vec![("ours", ours)];
        for (name, theirs) in &theirs {
            jobs.push((name, on_threads(threads, || reserve_and_drop(theirs))));
        }
        compare(&format!("reserve and drop, {threads} thread(s), one consumer"), jobs, turns(51));
    }
    let mut kept = consumer.nothing();
    let ours = in_turns::job(|| {
        kept.try_grow(BYTES as u64).expect("there is room");
        kept.shrink(BYTES as u64).expect("it has so many");
    });
    let mut jobs = vec![("ours", ours)];
    for (name, theirs) in &theirs {
        jobs.push((name, in_turns::job(|| grow_and_shrink(theirs))));
    }
    compare("a reservation that grows and shrinks", jobs, turns(51));
    Ok(())
}
