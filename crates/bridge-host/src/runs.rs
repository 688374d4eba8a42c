//! Copying bytes that lie side by side in both.

use std::ptr;

use crate::first_touch::LargePages;
#[cfg(all(target_arch = "x86_64", not(miri)))]
use crate::processor::CopyingRuns;
use crate::processor::Processor;
#[cfg(target_arch = "x86_64")]
use crate::runs_avx2;
#[cfg(all(target_arch = "x86_64", not(miri)))]
use crate::runs_avx512;

/// Bytes of a run from which stores may go around the caches; shorter ones have too many broken lines.
pub(crate) const STREAMED_RUN: usize = 512;

/// Copies `bytes` bytes that lie side by side in both.
///
/// # Safety
///
/// As [`ptr::copy_nonoverlapping`] of bytes.
#[inline]
pub(crate) unsafe fn copy_run(source: *const u8, target: *mut u8, bytes: usize) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    match Processor::get().copying_runs_of(bytes) {
        CopyingRuns::Library => {}
        // SAFETY: the caller promises the same; the processor has AVX2, and the run is longer than a
        // block.
        CopyingRuns::Avx2 => return unsafe { runs_avx2::copy_long_run(source, target, bytes) },
        // SAFETY: as above, with AVX-512, for runs of 512 bytes and more.
        CopyingRuns::Avx512 => return unsafe { runs_avx512::copy_long_run(source, target, bytes) },
    }
    // SAFETY: the caller promises the same.
    unsafe { ptr::copy_nonoverlapping(source, target, bytes) };
}

/// As [`copy_run`]; whole cache lines of the target are written around the caches, where
/// there is [AVX2](has_avx2). [`finish_streams`] must follow before another thread may read them.
///
/// # Safety
///
/// As [`ptr::copy_nonoverlapping`] of bytes.
#[inline]
pub(crate) unsafe fn stream_run(source: *const u8, target: *mut u8, bytes: usize) {
    // SAFETY: the caller promises the same.
    unsafe { stream_run_within(&mut LargePages::under(target, bytes), source, target, bytes) };
}

/// As [`stream_run`], of a part of what `pages` are under.
///
/// # Safety
///
/// As [`stream_run`], and `pages` are under a run that holds the target's bytes and that from there to its end is to
/// be written by this thread alone.
#[inline]
pub(crate) unsafe fn stream_run_within(
    pages: &mut LargePages,
    source: *const u8,
    target: *mut u8,
    bytes: usize,
) {
    #[cfg(target_arch = "x86_64")]
    if has_avx2() {
        let mut at = 0;
        while at < bytes {
            // SAFETY: the caller promises the same for the whole run, of which this is the part from `at` on
            // that lies in one page; the processor has AVX2.
            unsafe {
                let (source, target) = (source.add(at), target.add(at));
                pages.enter(target);
                let part = pages.left(target).min(bytes - at);
                runs_avx2::stream_run(source, target, part);
                at += part;
            }
        }
        return;
    }
    let _ = pages;
    // SAFETY: the caller promises the same.
    unsafe { copy_run(source, target, bytes) };
}

/// Bytes ahead of what is read that are asked for by [`ask_ahead`]: the processor itself stops at the end of
/// a page.
#[cfg(all(target_arch = "x86_64", not(miri)))]
const AHEAD: usize = 3072;

/// Asks for the memory that is read after so many bytes at `source`. It need not be there.
#[inline]
pub(crate) fn ask_ahead(source: *const u8, bytes: usize) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    for line in (0..bytes).step_by(64) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: every x86-64 processor has the instruction, and a hint may name any address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(source.wrapping_add(AHEAD + line).cast()) };
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = (source, bytes);
}

/// Orders the stores of [`stream_run`] before all stores that follow.
#[inline]
pub(crate) fn finish_streams() {
    #[cfg(target_arch = "x86_64")]
    if has_avx2() {
        runs_avx2::finish_streams();
    }
}

/// Whether the processor has AVX2.
#[inline]
pub(crate) fn has_avx2() -> bool {
    Processor::get().has_avx2()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Copies with `copy` between all offsets in a cache line, and looks at every byte around too.
    fn is_exact(copy: unsafe fn(*const u8, *mut u8, usize), bytes: usize) {
        const AROUND: usize = 70;
        let source: Vec<u8> = (0..bytes + 2 * AROUND).map(|at| (at % 251) as u8).collect();
        let words = (4..64).step_by(4).flat_map(|apart| [(apart, 0), (2, 2 + apart)]);
        let others = [(0, 0), (1, 0), (0, 1), (63, 63), (31, 33), (63, 3)];
        for (from, to) in others.into_iter().chain(words) {
            let mut target = vec![255; bytes + 2 * AROUND];
            // SAFETY: both have room for the offset, at most 64, and the bytes.
            unsafe { copy(source.as_ptr().add(from), target.as_mut_ptr().add(to), bytes) };
            finish_streams();
            assert_eq!(target[to..to + bytes], source[from..from + bytes], "{bytes} {from} {to}");
            let untouched = target[..to].iter().chain(&target[to + bytes..]);
            assert!(untouched.into_iter().all(|&byte| byte == 255), "{bytes} {from} {to}");
        }
    }

    #[test]
    fn every_length_arrives_and_nothing_beside_it() {
        let lengths = (0..400).chain(1900..2400).chain([4096, 65_536, 100_003]);
        for bytes in lengths {
            is_exact(copy_run, bytes);
            is_exact(stream_run, bytes);
        }
    }

    /// Also where the processor is not one that they are chosen for.
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    #[test]
    fn the_loops_of_our_own_are_exact_wherever_they_can_run() {
        let lengths = || (512..900).chain(2046..2350).chain([4096, 4097, 8192, 65_536, 100_003]);
        if has_avx2() {
            for bytes in lengths().chain(129..512) {
                // SAFETY: as the type says; there is AVX2, and more bytes than a block.
                is_exact(
                    |from, to, bytes| unsafe { runs_avx2::copy_long_run(from, to, bytes) },
                    bytes,
                );
            }
        }
        if has_avx2() && std::arch::is_x86_feature_detected!("avx512f") {
            for bytes in lengths() {
                // SAFETY: as above, with AVX-512 and no fewer bytes than `SHORTEST`.
                is_exact(
                    |from, to, bytes| unsafe { runs_avx512::copy_long_run(from, to, bytes) },
                    bytes,
                );
            }
        }
    }

    /// At all distances within a page the bytes are the same, whichever way they are copied.
    #[test]
    fn blocks_further_on_in_their_page_arrive_too() {
        const PAGE: usize = 4096;
        let source: Vec<u8> = (0..3 * PAGE).map(|at| (at % 251) as u8).collect();
        let mut target = vec![0; 4 * PAGE];
        for further in (0..PAGE).step_by(if cfg!(miri) { 1021 } else { 61 }) {
            target.fill(0);
            // SAFETY: both have room for the offset, at most a page, and the bytes.
            unsafe { copy_run(source.as_ptr(), target.as_mut_ptr().add(further), source.len()) };
            assert_eq!(target[further..][..source.len()], source, "{further}");
            let untouched = target[..further].iter().chain(&target[further + source.len()..]);
            assert!(untouched.into_iter().all(|&byte| byte == 0), "{further}");
        }
    }
}
