//! An allocator of the host that fails when it is told to, on one thread.
//!
//! ```
//! use bridge_core::HostMemory;
//! use bridge_testkit::failing_allocator::{FailingAllocator, fail_at};
//!
//! #[global_allocator]
//! static ALLOCATOR: FailingAllocator = FailingAllocator;
//!
//! let disarm = fail_at(1);
//! let blocks: Vec<_> = (0..3).map(|_| HostMemory::allocate(4096, 64).is_ok()).collect();
//! assert_eq!((blocks, disarm()), (vec![true, false, true], true));
//! ```

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicI64, Ordering};

/// Smaller blocks are mostly the standard library's own collections, for which there is no error.
const LEAST: usize = 4096;
/// Blocks of so many bytes, and of multiples, are array memory however small they are. No collection is likely
/// to have just that size.
pub const SMALL_ARRAY: usize = 616;

fn is_array_memory(bytes: usize) -> bool {
    bytes >= LEAST || bytes > 0 && bytes.is_multiple_of(SMALL_ARRAY)
}

thread_local! {
    /// Blocks of array memory to go until one fails.
    static TO_GO: Cell<Option<u64>> = const { Cell::new(None) };
    static LIVE: Cell<i64> = const { Cell::new(0) };
}

/// Bytes of array memory of all threads.
static ARRAYS: AtomicI64 = AtomicI64::new(0);

/// The system's allocator, which fails where [`fail_at`] says. A test program makes it its global one.
#[derive(Debug, Clone, Copy)]
pub struct FailingAllocator;

// SAFETY:
// - Every block is the system allocator's, for the same layout, or null, which stands for "out of
//   memory"; it is freed there with the layout it was allocated with.
// - Counting neither allocates nor unwinds: the cells are made at compile time, are not dropped, and
//   `try_with` tells of a thread that has ended.
unsafe impl GlobalAlloc for FailingAllocator {
    unsafe fn alloc(&self, block: Layout) -> *mut u8 {
        if is_array_memory(block.size()) && fails() {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller promises the same: the size is not zero.
        let first = unsafe { System.alloc(block) };
        if !first.is_null() {
            count(block.size(), 1);
        }
        first
    }

    unsafe fn dealloc(&self, first: *mut u8, block: Layout) {
        count(block.size(), -1);
        // SAFETY: the block came from `alloc` above, and so from the system's allocator, with this
        // layout.
        unsafe { System.dealloc(first, block) };
    }
}

fn count(bytes: usize, sign: i64) {
    let change = sign * bytes as i64;
    let _ = LIVE.try_with(|live| live.set(live.get() + change));
    if is_array_memory(bytes) {
        ARRAYS.fetch_add(change, Ordering::Relaxed);
    }
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
pub fn live_bytes() -> i64 {
    LIVE.get()
}

/// Bytes of array memory that all threads have allocated and not freed: a thread of a driver may free what
/// this one has allocated.
pub fn array_bytes() -> i64 {
    ARRAYS.load(Ordering::Relaxed)
}

/// Lets the `nth` block of array memory from now on fail on this thread, counted from 0: one of 4096 bytes or
/// more, or of a multiple of [`SMALL_ARRAY`]. What it returns ends that, and says whether one failed.
pub fn fail_at(nth: u64) -> Box<dyn FnOnce() -> bool> {
    let end = Box::new(|| TO_GO.take().is_none());
    TO_GO.set(Some(nth));
    end
}
