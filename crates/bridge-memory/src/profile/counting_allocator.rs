//! An allocator that counts. The one unsafe file of this module.

use std::alloc::{GlobalAlloc, Layout, System};

use super::peak::{allocated, given_back};

/// A global allocator that counts the bytes it has given out, for
/// [`PeakScope`](super::PeakScope) and [`profile`](super::profile). A program installs it with
/// `#[global_allocator]`; an allocation then costs one or two relaxed atomic operations more.
///
/// What is counted is what was asked for, not what the allocator inside takes beside it. Memory that
/// C libraries allocate does not go through it.
#[derive(Debug, Clone, Copy, Default)]
pub struct CountingAllocator<A = System>(A);

impl CountingAllocator {
    /// Counts what the system's allocator gives out.
    pub const fn new() -> Self {
        Self(System)
    }
}

impl<A> CountingAllocator<A> {
    /// Counts what `allocator` gives out.
    pub const fn over(allocator: A) -> Self {
        Self(allocator)
    }
}

// SAFETY:
// - Every call is handed to the allocator inside, with the same arguments, and its answer returned:
//   what it guarantees of memory and of unwinding holds.
// - Counting is done on atomics: it neither allocates nor unwinds.
unsafe impl<A: GlobalAlloc> GlobalAlloc for CountingAllocator<A> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller promises the same: the layout's size is not zero.
        let memory = unsafe { self.0.alloc(layout) };
        count(memory, layout.size())
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller promises the same: the layout's size is not zero.
        let memory = unsafe { self.0.alloc_zeroed(layout) };
        count(memory, layout.size())
    }

    #[inline]
    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        given_back(layout.size());
        // SAFETY: the caller promises the same: the memory is this allocator's, which is that of the
        // one inside, and was allocated with this layout.
        unsafe { self.0.dealloc(memory, layout) };
    }

    #[inline]
    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller promises the same: the memory is this allocator's, which is that of the
        // one inside, was allocated with this layout, and the new size is not zero and not too large.
        let moved = unsafe { self.0.realloc(memory, layout, new_size) };
        if !moved.is_null() {
            // Whether both were there at once only the allocator inside knows.
            let old_size = layout.size();
            if new_size > old_size {
                allocated(new_size - old_size);
            } else {
                given_back(old_size - new_size);
            }
        }
        moved
    }
}

#[inline]
fn count(memory: *mut u8, bytes: usize) -> *mut u8 {
    if !memory.is_null() {
        allocated(bytes);
    }
    memory
}
