//! Copying runs in AVX2 registers, through the caches and around them.

use std::arch::x86_64::{
    __m256i, _mm_sfence, _mm256_loadu_si256, _mm256_storeu_si256, _mm256_stream_si256,
};
use std::ptr;

/// Bytes of a vector.
const VECTOR: usize = 32;
/// Bytes that are loaded before they are stored.
pub(crate) const BLOCK: usize = 4 * VECTOR;
/// Bytes of a cache line.
const LINE: usize = 2 * VECTOR;

/// Copies `bytes` bytes, more than a block, forwards, in stores that cross no cache line.
///
/// # Safety
///
/// As [`ptr::copy_nonoverlapping`] of bytes, the processor has AVX2, and `bytes` is more than
/// [`BLOCK`].
#[target_feature(enable = "avx2")]
pub(crate) unsafe fn copy_long_run(source: *const u8, target: *mut u8, bytes: usize) {
    debug_assert!(bytes > BLOCK);
    // At least one byte and at most a vector, so that the first block covers it.
    let head = VECTOR - target.addr() % VECTOR;
    let last = bytes - BLOCK;
    // SAFETY: every block lies within the `bytes` bytes that the caller lets read and write: the first
    // two as `bytes` is more than a block, those of the loop as they begin before the last. What two
    // blocks have in common gets the same bytes twice.
    unsafe {
        copy_block(source, target);
        let mut at = head;
        while at < last {
            copy_block(source.add(at), target.add(at));
            at += BLOCK;
        }
        copy_block(source.add(last), target.add(last));
    }
}

/// # Safety
///
/// As [`ptr::copy_nonoverlapping`] of [`BLOCK`] bytes, and the processor has AVX2.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn copy_block(source: *const u8, target: *mut u8) {
    let (from, to) = (source.cast::<__m256i>(), target.cast::<__m256i>());
    // SAFETY: four vectors are a block; the loads and stores need no alignment.
    unsafe {
        let vectors = [0, 1, 2, 3].map(|vector| _mm256_loadu_si256(from.add(vector)));
        for (vector, bytes) in vectors.into_iter().enumerate() {
            _mm256_storeu_si256(to.add(vector), bytes);
        }
    }
}

/// Copies `bytes` bytes; whole cache lines of the target are written around the caches.
/// [`finish_streams`] must follow before another thread may read them.
///
/// # Safety
///
/// As [`ptr::copy_nonoverlapping`] of bytes, and the processor has AVX2.
#[target_feature(enable = "avx2")]
pub(crate) unsafe fn stream_run(source: *const u8, target: *mut u8, bytes: usize) {
    let head = target.align_offset(LINE).min(bytes);
    let lines = (bytes - head) / LINE;
    let tail = head + lines * LINE;
    // SAFETY:
    // - The three parts together are the `bytes` bytes that the caller lets read and write.
    // - The streaming stores need an alignment of 32 bytes: after `head` it is 64.
    unsafe {
        ptr::copy_nonoverlapping(source, target, head);
        for line in 0..lines {
            let at = head + line * LINE;
            let first = _mm256_loadu_si256(source.add(at).cast());
            let second = _mm256_loadu_si256(source.add(at + 32).cast());
            _mm256_stream_si256(target.add(at).cast::<__m256i>(), first);
            _mm256_stream_si256(target.add(at + 32).cast::<__m256i>(), second);
        }
        ptr::copy_nonoverlapping(source.add(tail), target.add(tail), bytes - tail);
    }
}

/// Orders the stores of [`stream_run`] before all stores that follow.
pub(crate) fn finish_streams() {
    // SAFETY: `sfence` needs SSE, which every x86-64 processor has.
    unsafe { _mm_sfence() };
}
