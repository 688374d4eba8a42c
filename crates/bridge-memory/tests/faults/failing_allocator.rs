//! An allocator that fails when it is told to, on one thread.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// Smaller blocks are mostly the standard library's own collections, for which there is no error.
const LEAST: usize = 4096;
/// Blocks of so many bytes, and of multiples, are array memory however small they are: half of a small array
/// of these tests. No collection is likely to have just that size.
pub(crate) const HALF: usize = 616;

fn is_array_memory(bytes: usize) -> bool {
    bytes >= LEAST || bytes > 0 && bytes.is_multiple_of(HALF)
}

thread_local! {
    /// Blocks of array memory to go until one fails.
    static TO_GO: Cell<Option<u64>> = const { Cell::new(None) };
    static LIVE: Cell<i64> = const { Cell::new(0) };
}

struct Failing;

#[global_allocator]
static ALLOCATOR: Failing = Failing;

// SAFETY:
// - Every block is the system allocator's, for the same layout, or null, which stands for "out of
//   memory"; it is freed there with the layout it was allocated with.
// - Counting neither allocates nor unwinds: the cells are made at compile time, are not dropped, and
//   `try_with` tells of a thread that has ended.
unsafe impl GlobalAlloc for Failing {
    unsafe fn alloc(&self, block: Layout) -> *mut u8 {
        if is_array_memory(block.size()) && fails() {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller promises the same: the size is not zero.
        let first = unsafe { System.alloc(block) };
        if !first.is_null() {
            count(block.size() as i64);
        }
        first
    }

    unsafe fn dealloc(&self, first: *mut u8, block: Layout) {
        count(-(block.size() as i64));
        // SAFETY: the block came from `alloc` above, and so from the system's allocator, with this
        // layout.
        unsafe { System.dealloc(first, block) };
    }
}

fn count(bytes: i64) {
    let _ = LIVE.try_with(|live| live.set(live.get() + bytes));
}

fn fails() -> bool {
    let fails = TO_GO.try_with(|to_go| {
        let Some(left) = to_go.get() else { return false };
        to_go.set(left.checked_sub(1));
        left == 0
    });
    fails.unwrap_or(false)
}

/// Bytes that this thread has allocated and not freed.
pub(crate) fn live_bytes() -> i64 {
    LIVE.get()
}

/// Lets the `nth` block of array memory from now on fail on this thread, counted from 0. What it returns ends
/// that, and says whether one failed.
pub(crate) fn fail_at(nth: u64) -> Box<dyn FnOnce() -> bool> {
    let end = Box::new(|| TO_GO.take().is_none());
    TO_GO.set(Some(nth));
    end
}
