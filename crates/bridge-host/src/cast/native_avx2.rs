//! Casts between native numbers for which AVX2 has no instruction, but a few together do.

use std::arch::x86_64::{
    __m128, __m256i, _CMP_GE_OQ, _CMP_ORD_Q, _mm_srli_si128, _mm_storeu_ps, _mm256_add_epi64,
    _mm256_and_si256, _mm256_castps_si256, _mm256_castsi256_pd, _mm256_castsi256_si128,
    _mm256_cmp_ps, _mm256_cvtepi32_ps, _mm256_cvtepu8_epi32, _mm256_cvtpd_ps, _mm256_cvttps_epi32,
    _mm256_extracti128_si256, _mm256_loadu_ps, _mm256_loadu_si256, _mm256_or_si256,
    _mm256_set1_epi64x, _mm256_set1_ps, _mm256_srli_epi64, _mm256_storeu_ps, _mm256_storeu_si256,
    _mm256_sub_pd, _mm256_testz_si256, _mm256_xor_si256,
};

use super::map::map;
use super::number::To;

/// Numbers of 32 bits in a register.
const WIDE: usize = 8;

/// The integer toward zero, the nearest where out of range, and 0 for NaN.
///
/// # Safety
///
/// As [`Kernel`](super::kernels::Kernel), from `f32` to `i32`, and the processor has AVX2.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn f32_to_nearest_i32(source: *const u8, target: *mut u8, count: usize) {
    let whole = count - count % WIDE;
    for place in (0..whole).step_by(WIDE) {
        // SAFETY: the eight numbers from `place` on are among `count`; loads and stores need no
        // alignment.
        unsafe {
            let floats = _mm256_loadu_ps(source.add(4 * place).cast());
            // What does not fit becomes the lowest integer: right where it is below, one bit
            // pattern from the highest where it is above.
            let near = _mm256_cvttps_epi32(floats);
            let above = _mm256_cmp_ps::<_CMP_GE_OQ>(floats, _mm256_set1_ps(2_147_483_648.0));
            let number = _mm256_cmp_ps::<_CMP_ORD_Q>(floats, floats);
            let near = _mm256_xor_si256(near, _mm256_castps_si256(above));
            let near = _mm256_and_si256(near, _mm256_castps_si256(number));
            _mm256_storeu_si256(target.add(4 * place).cast(), near);
        }
    }
    // SAFETY: the numbers from `whole` on are the rest of `count`.
    unsafe {
        let (source, target) = (source.add(4 * whole), target.add(4 * whole));
        map(source, target, count - whole, <f32 as To<i32>>::to_nearest);
    }
}

/// The float of each byte. A vector of bytes is read at once: for targets of many MiB, AMD's Zen 4 takes a third
/// longer where as many bytes are read as fit the vector that is stored.
///
/// # Safety
///
/// As [`Kernel`](super::kernels::Kernel), from `u8` to `f32`, and the processor has AVX2.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn u8_to_f32(source: *const u8, target: *mut u8, count: usize) {
    let whole = count - count % (4 * WIDE);
    for place in (0..whole).step_by(4 * WIDE) {
        // SAFETY: the 32 numbers from `place` on are among `count`; loads and stores need no alignment.
        unsafe {
            let bytes = _mm256_loadu_si256(source.add(place).cast());
            let halves = [_mm256_castsi256_si128(bytes), _mm256_extracti128_si256::<1>(bytes)];
            for (half, bytes) in halves.into_iter().enumerate() {
                let to = target.add(4 * place + 64 * half).cast::<f32>();
                let low = _mm256_cvtepu8_epi32(bytes);
                let high = _mm256_cvtepu8_epi32(_mm_srli_si128::<8>(bytes));
                _mm256_storeu_ps(to, _mm256_cvtepi32_ps(low));
                _mm256_storeu_ps(to.add(WIDE), _mm256_cvtepi32_ps(high));
            }
        }
    }
    // SAFETY: the numbers from `whole` on are the rest of `count`.
    unsafe {
        let (source, target) = (source.add(whole), target.add(4 * whole));
        map(source, target, count - whole, <u8 as To<f32>>::to);
    }
}

/// The float nearest to each integer, ties to even.
///
/// # Safety
///
/// As [`Kernel`](super::kernels::Kernel), from `i64` to `f32`, and the processor has AVX2.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn i64_to_f32(source: *const u8, target: *mut u8, count: usize) {
    let convert = <i64 as To<f32>>::to;
    let whole = count - count % WIDE;
    for place in (0..whole).step_by(WIDE) {
        // SAFETY: the eight numbers from `place` on are among `count`; loads and stores need no
        // alignment.
        unsafe {
            let (from, to) = (source.add(8 * place), target.add(4 * place));
            let low = _mm256_loadu_si256(from.cast());
            let high = _mm256_loadu_si256(from.add(32).cast());
            if are_short(low, high) {
                _mm_storeu_ps(to.cast(), short_to_f32(low));
                _mm_storeu_ps(to.add(16).cast(), short_to_f32(high));
            } else {
                map(from, to, WIDE, convert);
            }
        }
    }
    // SAFETY: the numbers from `whole` on are the rest of `count`.
    unsafe { map(source.add(8 * whole), target.add(4 * whole), count - whole, convert) };
}

/// Whether all eight lie from -2^51 to 2^51 - 1.
#[target_feature(enable = "avx2")]
fn are_short(low: __m256i, high: __m256i) -> bool {
    let half = _mm256_set1_epi64x(1 << 51);
    let both = _mm256_or_si256(_mm256_add_epi64(low, half), _mm256_add_epi64(high, half));
    let above = _mm256_srli_epi64::<52>(both);
    _mm256_testz_si256(above, above) == 1
}

/// The nearest floats to integers of at most 52 bits, by way of `f64`, where they are exact.
#[target_feature(enable = "avx2")]
fn short_to_f32(integers: __m256i) -> __m128 {
    // The bits of 1.5 * 2^52, whose last place is worth 1: added to them, an integer is a mantissa.
    let bits = _mm256_set1_epi64x(0x4338_0000_0000_0000);
    let sum = _mm256_castsi256_pd(_mm256_add_epi64(integers, bits));
    _mm256_cvtpd_ps(_mm256_sub_pd(sum, _mm256_castsi256_pd(bits)))
}
