//! While nothing fails, nothing is allocated and no lock is taken.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bridge_core::Error;
use bridge_memory::recovery::{
    BatchSizes, RecoveryEvent, RecoveryPolicy, split_range_on_oom, with_oom_recovery,
};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// Counts the allocations of each thread.
struct Counting;

// SAFETY: it hands every call on to the system's allocator unchanged; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller promises the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn success_allocates_nothing_and_tells_nobody() {
    let observer = |event: &RecoveryEvent<'_>| panic!("told of {event:?}");
    let policy = RecoveryPolicy::new().observer(&observer);
    let sizes = BatchSizes::new(10, 1).unwrap();
    let before = ALLOCATIONS.get();
    let done = with_oom_recovery(&policy, || Ok::<_, Error>(5));
    let during = ALLOCATIONS.get() - before;
    assert_eq!((done.unwrap(), during), (5, 0));
    let done = split_range_on_oom(&policy, 0, sizes, |_| Ok::<_, Error>(()));
    assert_eq!((done.unwrap().len(), ALLOCATIONS.get() - before), (0, 0));
}
