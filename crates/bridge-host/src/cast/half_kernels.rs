//! Loops between `f32` and the two 16-bit floats, with the processor's instructions where it has
//! them.

use super::map::map;
use crate::small_floats::{self, decode_bf16, decode_f16};
use bridge_core::Overflow;

/// Decodes half-precision floats.
///
/// # Safety
///
/// As [`Kernel`](super::kernels::Kernel), from 2-byte codes to `f32`.
pub(super) unsafe fn f16_to_f32(source: *const u8, target: *mut u8, count: usize) {
    #[cfg(target_arch = "x86_64")]
    if has_f16c() {
        // SAFETY: the caller promises the same, and the instructions were detected.
        return unsafe { f16c::decode(source, target, count) };
    }
    // SAFETY: the caller promises the same.
    unsafe { map(source, target, count, decode_f16) };
}

/// Encodes half-precision floats, to nearest even; what is too large becomes infinite.
///
/// # Safety
///
/// As [`Kernel`](super::kernels::Kernel), from `f32` to 2-byte codes.
pub(super) unsafe fn f32_to_f16(source: *const u8, target: *mut u8, count: usize) {
    #[cfg(target_arch = "x86_64")]
    if has_f16c() {
        // SAFETY: the caller promises the same, and the instructions were detected.
        return unsafe { f16c::encode(source, target, count) };
    }
    // SAFETY: the caller promises the same.
    unsafe { f32_to_f16_portable(source, target, count) };
}

/// As [`f32_to_f16`], on any processor.
///
/// # Safety
///
/// As [`f32_to_f16`].
unsafe fn f32_to_f16_portable(source: *const u8, target: *mut u8, count: usize) {
    let encoder = small_floats::F16.encoder(Overflow::Saturate);
    // SAFETY: the caller promises the same.
    unsafe {
        map(source, target, count, |value: f32| small_floats::encode_f16(&encoder, value));
    };
}

/// Decodes bfloat16.
///
/// # Safety
///
/// As [`Kernel`](super::kernels::Kernel), from 2-byte codes to `f32`.
pub(super) unsafe fn bf16_to_f32(source: *const u8, target: *mut u8, count: usize) {
    #[cfg(target_arch = "x86_64")]
    if has_f16c() {
        /// # Safety
        ///
        /// As [`bf16_to_f32`], and the processor has AVX2.
        #[target_feature(enable = "avx2")]
        unsafe fn wide(source: *const u8, target: *mut u8, count: usize) {
            // SAFETY: the caller promises the same.
            unsafe { map(source, target, count, decode_bf16) };
        }
        // SAFETY: the caller promises the same, and AVX2 was detected.
        return unsafe { wide(source, target, count) };
    }
    // SAFETY: the caller promises the same.
    unsafe { map(source, target, count, decode_bf16) };
}

/// Encodes bfloat16, to nearest even; what is too large becomes infinite.
///
/// # Safety
///
/// As [`Kernel`](super::kernels::Kernel), from `f32` to 2-byte codes.
pub(super) unsafe fn f32_to_bf16(source: *const u8, target: *mut u8, count: usize) {
    #[cfg(target_arch = "x86_64")]
    if has_f16c() {
        // SAFETY: the caller promises the same, and the instructions were detected.
        return unsafe { f16c::encode_bf16(source, target, count) };
    }
    // SAFETY: the caller promises the same.
    unsafe { map(source, target, count, small_floats::encode_bf16) };
}

/// Whether the processor has AVX2 and the half-precision conversions; all that have the one have
/// the other.
#[cfg(target_arch = "x86_64")]
fn has_f16c() -> bool {
    std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("f16c")
}

#[cfg(target_arch = "x86_64")]
mod f16c {
    use std::arch::x86_64::{
        __m128i, __m256, __m256i, _CMP_UNORD_Q, _MM_FROUND_TO_NEAREST_INT, _mm_loadu_si128,
        _mm256_add_epi32, _mm256_and_si256, _mm256_blendv_epi8, _mm256_castps_si256, _mm256_cmp_ps,
        _mm256_cvtph_ps, _mm256_cvtps_ph, _mm256_loadu_ps, _mm256_or_si256, _mm256_packus_epi32,
        _mm256_permute4x64_epi64, _mm256_set_m128i, _mm256_set1_epi32, _mm256_srli_epi32,
        _mm256_storeu_ps, _mm256_storeu_si256,
    };

    use super::map;
    use crate::processor::Processor;
    use crate::runs::ask_ahead;
    use crate::small_floats::{self, decode_f16};

    /// Numbers in a register of `f32`.
    const WIDE: usize = 8;
    /// # Safety
    ///
    /// As [`f16_to_f32`](super::f16_to_f32), and the processor has AVX2 and F16C.
    #[target_feature(enable = "avx2,f16c")]
    pub(super) unsafe fn decode(source: *const u8, target: *mut u8, count: usize) {
        let whole = count - count % WIDE;
        for place in (0..whole).step_by(WIDE) {
            // SAFETY: the eight numbers from `place` on are among `count`; the loads and stores
            // need no alignment.
            unsafe {
                let codes = _mm_loadu_si128(source.add(2 * place).cast());
                _mm256_storeu_ps(target.add(4 * place).cast(), _mm256_cvtph_ps(codes));
            }
        }
        // SAFETY: the numbers from `whole` on are the rest of `count`.
        unsafe {
            map(source.add(2 * whole), target.add(4 * whole), count - whole, decode_f16);
        };
    }

    /// # Safety
    ///
    /// As [`f32_to_f16`](super::f32_to_f16), and the processor has AVX2 and F16C.
    #[target_feature(enable = "avx2,f16c")]
    pub(super) unsafe fn encode(source: *const u8, target: *mut u8, count: usize) {
        let whole = count - count % (2 * WIDE);
        let asks_ahead = Processor::get().asks_ahead_in_casts();
        for place in (0..whole).step_by(2 * WIDE) {
            // SAFETY: the sixteen numbers from `place` on are among `count`; the loads and stores
            // need no alignment.
            unsafe {
                if asks_ahead {
                    ask_ahead(source.wrapping_add(4 * place), 64);
                }
                let low = _mm256_loadu_ps(source.add(4 * place).cast());
                let high = _mm256_loadu_ps(source.add(4 * (place + WIDE)).cast());
                let codes = _mm256_set_m128i(
                    in_register(_mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(high)),
                    in_register(_mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(low)),
                );
                _mm256_storeu_si256(target.add(2 * place).cast(), codes);
            }
        }
        // SAFETY: the numbers from `whole` on are the rest of `count`.
        unsafe {
            super::f32_to_f16_portable(source.add(4 * whole), target.add(2 * whole), count - whole);
        }
    }

    /// The codes as they are, in a register: else the compiler makes one instruction of the conversion and its
    /// store, which takes AMD's Zen 4 a third longer than the two.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn in_register(codes: __m128i) -> __m128i {
        #[cfg(not(miri))]
        {
            let mut codes = codes;
            // SAFETY: there is no instruction; the register keeps its value.
            unsafe {
                std::arch::asm!("/* {} */", inout(xmm_reg) codes,
                    options(pure, nomem, nostack, preserves_flags));
            }
            codes
        }
        #[cfg(miri)]
        codes
    }

    /// # Safety
    ///
    /// As [`f32_to_bf16`](super::f32_to_bf16), and the processor has AVX2.
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn encode_bf16(source: *const u8, target: *mut u8, count: usize) {
        let whole = count - count % (2 * WIDE);
        let asks_ahead = Processor::get().asks_ahead_in_casts();
        for place in (0..whole).step_by(2 * WIDE) {
            // SAFETY: the sixteen numbers from `place` on are among `count`; the loads and stores
            // need no alignment.
            unsafe {
                if asks_ahead {
                    ask_ahead(source.wrapping_add(4 * place), 64);
                }
                let low = _mm256_loadu_ps(source.add(4 * place).cast());
                let high = _mm256_loadu_ps(source.add(4 * (place + WIDE)).cast());
                // Packing works within the halves of a register; the permutation mends the order.
                let packed = _mm256_packus_epi32(bf16_of(low), bf16_of(high));
                let codes = _mm256_permute4x64_epi64::<0b11_01_10_00>(packed);
                _mm256_storeu_si256(target.add(2 * place).cast(), codes);
            }
        }
        // SAFETY: the numbers from `whole` on are the rest of `count`.
        unsafe {
            let (source, target) = (source.add(4 * whole), target.add(2 * whole));
            map(source, target, count - whole, small_floats::encode_bf16);
        }
    }

    /// The codes of eight numbers, each in the low half of its place.
    #[target_feature(enable = "avx2")]
    fn bf16_of(values: __m256) -> __m256i {
        let bits = _mm256_castps_si256(values);
        let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
        let rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7FFF)));
        let quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x0040_0000));
        let nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(values, values));
        _mm256_srli_epi32::<16>(_mm256_blendv_epi8(rounded, quiet, nan))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kernels' tails and bodies, and both ways of each, agree with `half`, also in the bits of
    /// what is no number: where in a row an element lies makes no difference.
    #[test]
    #[cfg_attr(miri, ignore)] // hundreds of thousands of values
    fn all_ways_agree_with_half() {
        let mut values: Vec<f32> = (0..=u16::MAX)
            .flat_map(|code| {
                let value = decode_f16(code);
                let brain = decode_bf16(code);
                [value, value.next_up(), value.next_down(), brain, brain * 1.002, brain * 1.0039]
            })
            .collect();
        values.extend((0..200_000_u32).map(|i| f32::from_bits(i.wrapping_mul(0x9E37_79B9))));
        let count = values.len() - 3;
        let source = values.as_ptr().cast::<u8>();
        type Run = unsafe fn(*const u8, *mut u8, usize);
        let run = |kernel: Run| {
            let mut codes = vec![0_u16; count];
            // SAFETY: `count` numbers can be read and written.
            unsafe { kernel(source, codes.as_mut_ptr().cast(), count) };
            codes
        };
        for kernel in [f32_to_f16 as Run, f32_to_f16_portable] {
            for (value, code) in values.iter().zip(run(kernel)) {
                let bits = value.to_bits();
                assert_eq!(code, half::f16::from_f32(*value).to_bits(), "{value:e}, {bits:#x}");
            }
        }
        for (value, code) in values.iter().zip(run(f32_to_bf16)) {
            let bits = value.to_bits();
            assert_eq!(code, half::bf16::from_f32(*value).to_bits(), "{value:e}, {bits:#x}");
        }
        let codes: Vec<u16> = (0..=u16::MAX).collect();
        for (kernel, decode) in [
            (f16_to_f32 as Run, (|code| half::f16::from_bits(code).to_f32()) as fn(u16) -> f32),
            (bf16_to_f32, |code| f32::from_bits(u32::from(code) << 16)),
        ] {
            // Seven codes at a time come to the tails only.
            for row in [codes.len(), 7] {
                let mut found = vec![0_f32; codes.len()];
                for (codes, found) in codes.chunks(row).zip(found.chunks_mut(row)) {
                    // SAFETY: as many numbers can be read and written.
                    unsafe {
                        kernel(codes.as_ptr().cast(), found.as_mut_ptr().cast(), codes.len());
                    }
                }
                for (&code, value) in codes.iter().zip(found) {
                    assert_eq!(value.to_bits(), decode(code).to_bits(), "{code:#x}");
                }
            }
        }
    }
}
