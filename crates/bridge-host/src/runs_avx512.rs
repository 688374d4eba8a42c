//! Copying runs in AVX-512 registers. Rust 1.88 has no stable intrinsics for them, so that a block is
//! a few lines of assembly.

use std::arch::asm;
use std::arch::x86_64::_mm256_zeroupper;

/// Bytes of a vector, and of a cache line.
const VECTOR: usize = 64;
/// Bytes that are loaded before they are stored.
const BLOCK: usize = 4 * VECTOR;
const PAGE: usize = 4096;
/// Bytes of the shortest run: a block of whole lines of both is in it, wherever they begin. Who chooses this loop
/// knows it: asked for here, it took 6 ns, a fifth of a copy of 4 KiB.
pub(crate) const SHORTEST: usize = 2 * BLOCK;

/// Copies `bytes` bytes, [`SHORTEST`] or more, in stores that cross no cache line.
///
/// # Safety
///
/// As [`std::ptr::copy_nonoverlapping`] of bytes, the processor has AVX-512F and AVX2, and `bytes` is
/// at least [`SHORTEST`].
#[target_feature(enable = "avx2")]
pub(crate) unsafe fn copy_long_run(source: *const u8, target: *mut u8, bytes: usize) {
    debug_assert!(bytes >= SHORTEST);
    // SAFETY: the caller promises the same.
    unsafe {
        match source.addr().wrapping_sub(target.addr()) % VECTOR {
            apart if apart != 0 && apart % 4 == 0 => copy_lines(source, target, bytes, apart / 4),
            _ if loads_follow_stores(source, target) && bytes > PAGE => {
                copy_backwards(source, target, bytes);
            }
            _ => copy_forwards(source, target, bytes),
        }
    }
    // The registers' upper halves slow down whoever uses the lower ones next.
    _mm256_zeroupper();
}

/// Whether the target lies a little further on in its page than the source: going forwards, a load
/// waits for the store before it that has the same place in another page.
fn loads_follow_stores(source: *const u8, target: *mut u8) -> bool {
    (1..=PAGE / 4).contains(&ahead_in_page(source, target))
}

/// How much further on in its page the target lies than the source, in a circle of a page.
fn ahead_in_page(source: *const u8, target: *mut u8) -> usize {
    target.addr().wrapping_sub(source.addr()) % PAGE
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

/// Of `copy_lines`: stores what lies across lines.
macro_rules! store_ends {
    () => {
        concat!(
            "vmovdqu64 [{target}], zmm6\n",
            "vmovdqu64 [{target} + 64], zmm7\n",
            "vmovdqu64 [{target} + {bytes} - 128], zmm8\n",
            "vmovdqu64 [{target} + {bytes} - 64], zmm9\n",
        )
    };
}

/// Of `copy_lines`: loads the four lines of the source after that in `zmm0`.
macro_rules! load_block {
    () => {
        concat!(
            "vmovdqa64 zmm1, [{from} + 64]\n",
            "vmovdqa64 zmm2, [{from} + 128]\n",
            "vmovdqa64 zmm3, [{from} + 192]\n",
            "vmovdqa64 zmm4, [{from} + 256]\n",
        )
    };
}

/// Of `copy_lines`: puts four lines of the target together, stores them and goes on.
macro_rules! store_block {
    () => {
        concat!(
            "vpermt2d zmm0, zmm5, zmm1\n",
            "vpermt2d zmm1, zmm5, zmm2\n",
            "vpermt2d zmm2, zmm5, zmm3\n",
            "vpermt2d zmm3, zmm5, zmm4\n",
            "vmovdqa64 [{to}], zmm0\n",
            "vmovdqa64 [{to} + 64], zmm1\n",
            "vmovdqa64 [{to} + 128], zmm2\n",
            "vmovdqa64 [{to} + 192], zmm3\n",
            "vmovdqa64 zmm0, zmm4\n",
            "add {from}, 256\n",
            "add {to}, 256\n",
            "sub {lines}, 4\n",
        )
    };
}

/// Loads too cross no cache line: a line of the target is put together in a register from two of the
/// source. `words` is how many words of four bytes the source's place in its line is beyond the target's, in
/// a circle of a line.
///
/// # Safety
///
/// As [`copy_long_run`], and the places are so many words apart, 1 to 15.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn copy_lines(source: *const u8, target: *mut u8, bytes: usize, words: usize) {
    /// From the n-th on: the words of two lines that are the line which begins with the n-th.
    static WORDS: [u32; 32] = {
        let mut words = [0; 32];
        let mut word = 0;
        while word < 32 {
            words[word] = word as u32;
            word += 1;
        }
        words
    };
    // The first line of the target for which both lines of the source are wholly its own, 65 to 128 bytes on.
    let at = 2 * VECTOR - target.addr() % VECTOR;
    let before = 4 * words;
    let lines = (bytes - 2 * VECTOR + before - at) / VECTOR + 1;
    // SAFETY:
    // - It reads and writes within the `bytes` bytes that the caller lets it, eight vectors or more: the
    //   first two vectors and the last two; of the target `lines` lines from `at` on; of the source one line
    //   more, from `before` bytes before `at` on. That is 5 or more bytes after the beginning, and the last
    //   line ends at `bytes` or before: `lines` is the most for which it does. What is written twice gets the
    //   same bytes twice: the source does not change.
    // - The lines' addresses are multiples of a vector: `at` is chosen so, and the places are `before`
    //   bytes apart. `lines` is at least 5, as `at` is two vectors at most and `before` 4 or more: there is a
    //   block of four. Each loop runs as often as its count says, which is not 0.
    // - The processor has the instructions. Of the registers it changes those that it names: a name of 256
    //   bits stands for the whole. Sixteen of `WORDS` are read, from the 15th at most.
    unsafe {
        asm!(
            // A load waits for a store not long before it to the same place in another page. So all that
            // lies across lines is loaded first; and it is stored before the first block is loaded, or
            // after, where the block has that place.
            "vmovdqu64 zmm6, [{source}]",
            "vmovdqu64 zmm7, [{source} + 64]",
            "vmovdqu64 zmm8, [{source} + {bytes} - 128]",
            "vmovdqu64 zmm9, [{source} + {bytes} - 64]",
            "vmovdqu64 zmm5, [{words}]",
            "vmovdqa64 zmm0, [{from}]",
            "test {near:e}, {near:e}",
            "jnz 6f",
            store_ends!(),
            "jmp 2f",
            "6:",
            load_block!(),
            store_ends!(),
            store_block!(),
            "js 3f",
            "2:",
            load_block!(),
            store_block!(),
            "jns 2b",
            "3:",
            "add {lines}, 4",
            "jz 5f",
            "4:",
            "vmovdqa64 zmm1, [{from} + 64]",
            "vpermt2d zmm0, zmm5, zmm1",
            "vmovdqa64 [{to}], zmm0",
            "vmovdqa64 zmm0, zmm1",
            "add {from}, 64",
            "add {to}, 64",
            "dec {lines}",
            "jnz 4b",
            "5:",
            source = in(reg) source,
            target = in(reg) target,
            bytes = in(reg) bytes,
            words = in(reg) WORDS.as_ptr().add(words),
            from = inout(reg) source.add(at - before) => _,
            to = inout(reg) target.add(at) => _,
            lines = inout(reg) lines - 4 => _,
            near = in(reg) u32::from(ahead_in_page(source, target) < BLOCK),
            out("ymm0") _, out("ymm1") _, out("ymm2") _, out("ymm3") _, out("ymm4") _,
            out("ymm5") _, out("ymm6") _, out("ymm7") _, out("ymm8") _, out("ymm9") _,
            options(nostack),
        );
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
