//! Transposing small blocks in AVX2 registers.

use std::arch::x86_64::{
    _MM_HINT_T0, _mm_loadu_si128, _mm_prefetch, _mm256_castsi128_si256, _mm256_inserti128_si256,
    _mm256_setzero_si256, _mm256_storeu_si256, _mm256_unpackhi_epi8, _mm256_unpackhi_epi16,
    _mm256_unpackhi_epi32, _mm256_unpackhi_epi64, _mm256_unpacklo_epi8, _mm256_unpacklo_epi16,
    _mm256_unpacklo_epi32, _mm256_unpacklo_epi64,
};

/// Blocks between the one that is transposed and the one that is fetched.
const FETCHED: usize = 2;

/// Transposes as many whole blocks as a tile of `(columns, rows)` elements has into a buffer, where
/// element `(column, row)` goes to `column * pitch + row * item`. Returns how many columns and
/// rows are done, from the first on: none for element sizes other than 1, 2, 4 and 8.
///
/// Where `fetches`, rows are fetched into the cache some blocks before their turn.
///
/// # Safety
///
/// - The processor has AVX2.
/// - `columns` elements of `item` bytes, side by side, can be read at each of `rows` rows, which
///   lie `stride` bytes apart.
/// - All their places in the buffer can be written, and do not overlap the source.
#[target_feature(enable = "avx2")]
pub(crate) unsafe fn transpose_blocks(
    source: *const u8,
    stride: isize,
    (columns, rows): (usize, usize),
    item: usize,
    (buffer, pitch): (*mut u8, usize),
    fetches: bool,
) -> (usize, usize) {
    let block = match item {
        1 => transpose_16_bytes_of_1,
        2 => transpose_16_bytes_of_2,
        4 => transpose_16_bytes_of_4,
        8 => transpose_16_bytes_of_8,
        _ => return (0, 0),
    };
    let (width, height) = (16 / item, 32 / item);
    let (columns, rows) = (columns - columns % width, rows - rows % height);
    for row in (0..rows).step_by(height) {
        if fetches {
            for later in row + FETCHED * height..row + (FETCHED + 1) * height {
                let later = source.wrapping_offset(later.cast_signed() * stride);
                for line in (0..columns * item).step_by(64) {
                    // The call is unsafe in Rust 1.88 and safe in later ones.
                    #[allow(unused_unsafe)]
                    // SAFETY: fetching into the cache reads nothing; any address will do.
                    unsafe {
                        _mm_prefetch::<_MM_HINT_T0>(later.wrapping_add(line).cast());
                    };
                }
            }
        }
        for column in (0..columns).step_by(width) {
            let from =
                source.wrapping_offset(row.cast_signed() * stride).wrapping_add(column * item);
            let to = buffer.wrapping_add(column * pitch + row * item);
            // SAFETY: the block's `width` columns and `height` rows are among the caller's.
            unsafe { block(from, stride, to, pitch) };
        }
    }
    (columns, rows)
}

/// Defines a function that transposes `$width` columns (16 bytes) of `2 * $width` rows.
///
/// Each half of a register takes one row. Interleaving row `i` with row `i + width / 2`, for all
/// `i`, moves one bit of the row number into the column number and one back; after as many rounds
/// as the numbers have bits, they have changed places.
macro_rules! transpose_16_bytes {
    ($name:ident, $width:literal, $low:ident, $high:ident) => {
        /// # Safety
        ///
        /// As [`transpose_blocks`], for one block.
        #[target_feature(enable = "avx2")]
        unsafe fn $name(source: *const u8, stride: isize, buffer: *mut u8, pitch: usize) {
            const WIDTH: usize = $width;
            let mut lines = [_mm256_setzero_si256(); WIDTH];
            for (row, line) in (0..).zip(&mut lines) {
                let upper = source.wrapping_offset(row * stride);
                let lower = source.wrapping_offset((row + WIDTH as isize) * stride);
                // SAFETY: 16 bytes can be read at each of `2 * WIDTH` rows, without alignment.
                let upper = unsafe { _mm_loadu_si128(upper.cast()) };
                // SAFETY: as above.
                let lower = unsafe { _mm_loadu_si128(lower.cast()) };
                *line = _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(upper), lower);
            }
            for _ in 0..WIDTH.trailing_zeros() {
                let mut mixed = lines;
                for i in 0..WIDTH / 2 {
                    mixed[2 * i] = $low(lines[i], lines[i + WIDTH / 2]);
                    mixed[2 * i + 1] = $high(lines[i], lines[i + WIDTH / 2]);
                }
                lines = mixed;
            }
            for (column, line) in lines.into_iter().enumerate() {
                // SAFETY: `2 * WIDTH` elements, 32 bytes, can be written at each of the block's
                // columns in the buffer; the store needs no alignment.
                unsafe {
                    _mm256_storeu_si256(buffer.wrapping_add(column * pitch).cast(), line);
                }
            }
        }
    };
}

transpose_16_bytes!(transpose_16_bytes_of_1, 16, _mm256_unpacklo_epi8, _mm256_unpackhi_epi8);
transpose_16_bytes!(transpose_16_bytes_of_2, 8, _mm256_unpacklo_epi16, _mm256_unpackhi_epi16);
transpose_16_bytes!(transpose_16_bytes_of_4, 4, _mm256_unpacklo_epi32, _mm256_unpackhi_epi32);
transpose_16_bytes!(transpose_16_bytes_of_8, 2, _mm256_unpacklo_epi64, _mm256_unpackhi_epi64);
