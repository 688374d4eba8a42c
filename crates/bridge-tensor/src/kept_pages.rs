//! Freed blocks keep their pages.
//!
//! glibc maps a block of more than 128 KiB afresh, page by page at its first touch, and gives it back when it
//! is freed, until the program has freed one of that size; from then on it keeps up to twice as much of
//! what is freed, and hands it out again with its pages (`mallopt(3)`, "dynamic mmap threshold"). Where
//! a program makes and frees three arrays of some MiB again and again, that is too little: their pages go
//! to and fro with every round, which takes ten times as long as copying them.

/// A little below the largest block that counts: 32 MiB, bookkeeping and the rest of a page included.
#[cfg(all(target_os = "linux", target_env = "gnu", target_pointer_width = "64", not(miri)))]
const LARGEST: usize = (32 << 20) - (64 << 10);

/// Bytes from which glibc maps blocks before it has learnt.
#[cfg(all(target_os = "linux", target_env = "gnu", target_pointer_width = "64", not(miri)))]
const MAPPED: usize = 128 << 10;

/// Before the first large block: frees one of the largest size that glibc learns from, which is never
/// touched, so that it has learnt all there is to learn. Other allocators do not mind.
#[cfg(all(target_os = "linux", target_env = "gnu", target_pointer_width = "64", not(miri)))]
pub(crate) fn settle(size: usize) {
    use std::alloc::{Layout, alloc, dealloc};
    use std::hint::black_box;
    use std::sync::Once;

    static SETTLED: Once = Once::new();
    if size < MAPPED {
        return;
    }
    SETTLED.call_once(|| {
        let Ok(block) = Layout::from_size_align(LARGEST, 16) else { return };
        // SAFETY: the size is not zero.
        let first = black_box(unsafe { alloc(block) });
        if !first.is_null() {
            // SAFETY: the block was allocated just now, with this layout.
            unsafe { dealloc(first, block) };
        }
    });
}

/// Other C libraries have not been found to need it.
#[cfg(not(all(target_os = "linux", target_env = "gnu", target_pointer_width = "64", not(miri))))]
pub(crate) fn settle(_: usize) {}
