//! Copying bytes that lie side by side in both.

use std::ptr;

use crate::processor::Processor;
#[cfg(target_arch = "x86_64")]
use crate::runs_avx2;

/// Bytes of a run from which the C library may take `rep movsb`, and a loop of our own be faster: see
/// [`Processor::has_slow_rep_movsb`].
#[cfg(target_arch = "x86_64")]
const LONG: usize = 2048;

/// Bytes of a run from which stores may go around the caches; shorter ones have too many broken lines.
pub(crate) const STREAMED_RUN: usize = 512;

/// Copies `bytes` bytes that lie side by side in both.
///
/// # Safety
///
/// As [`ptr::copy_nonoverlapping`] of bytes.
#[inline]
pub(crate) unsafe fn copy_run(source: *const u8, target: *mut u8, bytes: usize) {
    #[cfg(target_arch = "x86_64")]
    if bytes >= LONG && Processor::get().has_slow_rep_movsb() {
        // SAFETY: the caller promises the same; the processor has AVX2, and a long run is longer
        // than a block.
        unsafe { runs_avx2::copy_long_run(source, target, bytes) };
        return;
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
    #[cfg(target_arch = "x86_64")]
    if has_avx2() {
        // SAFETY: the caller promises the same, and the processor has AVX2.
        unsafe { runs_avx2::stream_run(source, target, bytes) };
        return;
    }
    // SAFETY: the caller promises the same.
    unsafe { copy_run(source, target, bytes) };
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
        const AROUND: usize = 64;
        let source: Vec<u8> = (0..bytes + 2 * AROUND).map(|at| (at % 251) as u8).collect();
        for (from, to) in [(0, 0), (1, 0), (0, 1), (16, 32), (63, 63), (31, 33), (32, 48)] {
            let mut target = vec![255; bytes + 2 * AROUND];
            // SAFETY: both have room for the offset, at most 63, and the bytes.
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

    /// Also where the processor is not one that it is chosen for.
    #[cfg(target_arch = "x86_64")]
    #[test]
    fn the_loop_of_our_own_is_exact_wherever_it_can_run() {
        if !has_avx2() {
            return;
        }
        for bytes in (129..700).chain(LONG - 2..LONG + 300).chain([65_536, 100_003]) {
            // SAFETY: as the type says; there is AVX2, and more bytes than a block.
            is_exact(|from, to, bytes| unsafe { runs_avx2::copy_long_run(from, to, bytes) }, bytes);
        }
    }
}
