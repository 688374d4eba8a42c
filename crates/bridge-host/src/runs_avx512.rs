//! Copying runs in AVX-512 registers. Rust 1.88 has no stable intrinsics for them, so that a block is
//! a few lines of assembly.

use std::arch::asm;
use std::arch::x86_64::_mm256_zeroupper;

/// Bytes of a vector, and of a cache line.
const VECTOR: usize = 64;
/// Bytes that are loaded before they are stored.
pub(crate) const BLOCK: usize = 4 * VECTOR;
const PAGE: usize = 4096;

/// Copies `bytes` bytes, more than a block, in stores that cross no cache line.
///
/// # Safety
///
/// As [`std::ptr::copy_nonoverlapping`] of bytes, the processor has AVX-512F and AVX2, and `bytes` is
/// more than [`BLOCK`].
#[target_feature(enable = "avx2")]
pub(crate) unsafe fn copy_long_run(source: *const u8, target: *mut u8, bytes: usize) {
    debug_assert!(bytes > BLOCK);
    // SAFETY: the caller promises the same.
    unsafe {
        match loads_follow_stores(source, target) && bytes > PAGE {
            true => copy_backwards(source, target, bytes),
            false => copy_forwards(source, target, bytes),
        }
    }
    // The registers' upper halves slow down whoever uses the lower ones next.
    _mm256_zeroupper();
}

/// Whether the target lies a little further on in its page than the source: going forwards, a load
/// waits for the store before it that has the same place in another page.
fn loads_follow_stores(source: *const u8, target: *mut u8) -> bool {
    let ahead = target.addr().wrapping_sub(source.addr()) % PAGE;
    (1..=PAGE / 4).contains(&ahead)
}

/// # Safety
///
/// As [`copy_long_run`].
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn copy_forwards(source: *const u8, target: *mut u8, bytes: usize) {
    // At least one byte and at most a vector, so that the first vector covers it.
    let head = VECTOR - target.addr() % VECTOR;
    let last = bytes - BLOCK;
    // SAFETY: every block lies within the `bytes` bytes that the caller lets read and write: the last
    // and the first vector as `bytes` is more than a block, those of the loop as they begin before the
    // last. What two blocks have in common gets the same bytes twice.
    unsafe {
        copy_vector(source, target);
        let mut at = head;
        while at <= last {
            copy_block(source.add(at), target.add(at));
            at += BLOCK;
        }
        while at < bytes - VECTOR {
            copy_vector(source.add(at), target.add(at));
            at += VECTOR;
        }
        copy_vector(source.add(bytes - VECTOR), target.add(bytes - VECTOR));
    }
}

/// # Safety
///
/// As [`copy_long_run`].
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn copy_backwards(source: *const u8, target: *mut u8, bytes: usize) {
    let tail = (target.addr() + bytes) % VECTOR;
    // SAFETY: every block lies within the `bytes` bytes that the caller lets read and write: the first
    // two as `bytes` is more than a block, those of the loop as they end at most where the last ends
    // and begin at zero or later. What two blocks have in common gets the same bytes twice.
    unsafe {
        copy_vector(source.add(bytes - VECTOR), target.add(bytes - VECTOR));
        let mut end = bytes - tail;
        while end >= BLOCK {
            end -= BLOCK;
            copy_block(source.add(end), target.add(end));
        }
        while end > VECTOR {
            end -= VECTOR;
            copy_vector(source.add(end), target.add(end));
        }
        copy_vector(source, target);
    }
}

/// # Safety
///
/// As [`std::ptr::copy_nonoverlapping`] of [`VECTOR`] bytes, and the processor has AVX-512F.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn copy_vector(source: *const u8, target: *mut u8) {
    // SAFETY: as in `copy_block`, of one vector.
    unsafe {
        asm!(
            "vmovdqu64 zmm0, [{source}]",
            "vmovdqu64 [{target}], zmm0",
            source = in(reg) source,
            target = in(reg) target,
            out("ymm0") _,
            options(nostack, preserves_flags),
        );
    }
}

/// # Safety
///
/// As [`std::ptr::copy_nonoverlapping`] of [`BLOCK`] bytes, and the processor has AVX-512F.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn copy_block(source: *const u8, target: *mut u8) {
    // SAFETY:
    // - It reads and writes the block's bytes, which the caller lets it; loads and stores of the
    //   unaligned kind need no alignment. The processor has the instructions.
    // - Of the registers it changes those that it names: a name of 256 bits stands for the whole.
    unsafe {
        asm!(
            "vmovdqu64 zmm0, [{source}]",
            "vmovdqu64 zmm1, [{source} + 64]",
            "vmovdqu64 zmm2, [{source} + 128]",
            "vmovdqu64 zmm3, [{source} + 192]",
            "vmovdqu64 [{target}], zmm0",
            "vmovdqu64 [{target} + 64], zmm1",
            "vmovdqu64 [{target} + 128], zmm2",
            "vmovdqu64 [{target} + 192], zmm3",
            source = in(reg) source,
            target = in(reg) target,
            out("ymm0") _, out("ymm1") _, out("ymm2") _, out("ymm3") _,
            options(nostack, preserves_flags),
        );
    }
}
