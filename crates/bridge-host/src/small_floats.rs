//! The small floats, 4 to 16 bits: each format as a few numbers, decoded to and encoded from `f32`.
//!
//! Every value of every format here is also an `f32`, so that decoding is exact. Encoding rounds
//! to nearest, ties to the even code; what rounds beyond the largest value becomes what
//! [`Overflow`] says.

use bridge_core::Overflow;

/// Which codes of a format are no finite numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Specials {
    /// The largest exponent means infinity and NaN, as in IEEE 754.
    Ieee,
    /// All ones is NaN, of either sign; there is no infinity.
    AllOnes,
    /// The code of negative zero is the one NaN; there is neither infinity nor negative zero.
    NegativeZero,
    /// Every code is a finite number.
    None,
}

/// A binary floating-point format with a sign.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SmallFloat {
    exponent_bits: u32,
    mantissa_bits: u32,
    bias: i32,
    specials: Specials,
}

const fn format(
    exponent_bits: u32,
    mantissa_bits: u32,
    bias: i32,
    specials: Specials,
) -> SmallFloat {
    SmallFloat { exponent_bits, mantissa_bits, bias, specials }
}

pub(crate) const F16: SmallFloat = format(5, 10, 15, Specials::Ieee);
pub(crate) const F8E3M4: SmallFloat = format(3, 4, 3, Specials::Ieee);
pub(crate) const F8E4M3: SmallFloat = format(4, 3, 7, Specials::Ieee);
pub(crate) const F8E4M3B11FNUZ: SmallFloat = format(4, 3, 11, Specials::NegativeZero);
pub(crate) const F8E4M3FN: SmallFloat = format(4, 3, 7, Specials::AllOnes);
pub(crate) const F8E4M3FNUZ: SmallFloat = format(4, 3, 8, Specials::NegativeZero);
pub(crate) const F8E5M2: SmallFloat = format(5, 2, 15, Specials::Ieee);
pub(crate) const F8E5M2FNUZ: SmallFloat = format(5, 2, 16, Specials::NegativeZero);
pub(crate) const F6E2M3FN: SmallFloat = format(2, 3, 1, Specials::None);
pub(crate) const F6E3M2FN: SmallFloat = format(3, 2, 3, Specials::None);
pub(crate) const F4E2M1FN: SmallFloat = format(2, 1, 1, Specials::None);

const F32_MANTISSA: u32 = 23;
const F32_BIAS: i32 = 127;
const F32_INFINITY: u32 = 0x7F80_0000;
const F32_QUIET: u32 = 0x0040_0000;
const F32_NAN: u32 = F32_INFINITY | F32_QUIET;

/// The values of all codes of a format of up to 8 bits.
pub(crate) type Table = [f32; 256];

impl SmallFloat {
    const fn magnitude_bits(self) -> u32 {
        self.exponent_bits + self.mantissa_bits
    }

    /// The value of `code`, exactly. Bits above the sign are ignored.
    pub(crate) const fn decode(self, code: u32) -> f32 {
        let magnitude = code & ((1 << self.magnitude_bits()) - 1);
        let negative = code >> self.magnitude_bits() & 1;
        let exponent = magnitude >> self.mantissa_bits;
        let mantissa = magnitude & ((1 << self.mantissa_bits) - 1);
        let shift = F32_MANTISSA - self.mantissa_bits;
        let nan = match self.specials {
            Specials::Ieee => exponent + 1 == 1 << self.exponent_bits && mantissa != 0,
            Specials::AllOnes => magnitude + 1 == 1 << self.magnitude_bits(),
            Specials::NegativeZero => negative == 1 && magnitude == 0,
            Specials::None => false,
        };
        let infinite =
            matches!(self.specials, Specials::Ieee) && exponent + 1 == 1 << self.exponent_bits;
        let bits = if nan {
            F32_NAN
        } else if infinite {
            F32_INFINITY
        } else if exponent > 0 {
            ((exponent.cast_signed() - self.bias + F32_BIAS).cast_unsigned() << F32_MANTISSA)
                | mantissa << shift
        } else if mantissa == 0 {
            0
        } else {
            // A subnormal: its leading one becomes the implicit bit of a normal `f32`.
            let up = mantissa.leading_zeros() - (31 - self.mantissa_bits);
            let exponent = 1 - self.bias - up.cast_signed() + F32_BIAS;
            let mantissa = (mantissa << up & ((1 << self.mantissa_bits) - 1)) << shift;
            (exponent.cast_unsigned() << F32_MANTISSA) | mantissa
        };
        f32::from_bits(bits | negative << 31)
    }

    /// The values of all codes; those of narrower formats repeat.
    pub(crate) const fn table(self) -> Table {
        let mut table = [0.0; 256];
        let mut code = 0;
        while code < 256 {
            table[code as usize] = self.decode(code);
            code += 1;
        }
        table
    }

    pub(crate) const fn has_infinity(self) -> bool {
        matches!(self.specials, Specials::Ieee)
    }

    pub(crate) const fn has_nan(self) -> bool {
        !matches!(self.specials, Specials::None)
    }

    /// The code of the largest finite value.
    const fn largest(self) -> u32 {
        let all_ones = (1 << self.magnitude_bits()) - 1;
        match self.specials {
            Specials::Ieee => all_ones - (1 << self.mantissa_bits),
            Specials::AllOnes => all_ones - 1,
            Specials::NegativeZero | Specials::None => all_ones,
        }
    }

    /// The largest `f32` that rounds to a finite value.
    pub(crate) fn limit(self) -> f32 {
        let largest = self.decode(self.largest()).to_bits();
        let half_step = 1 << (F32_MANTISSA - self.mantissa_bits - 1);
        // The tie goes to the even code, which is the largest value or already beyond.
        f32::from_bits(largest + half_step - (self.largest() & 1))
    }

    /// How to encode under `overflow`.
    pub(crate) fn encoder(self, overflow: Overflow) -> Encoder {
        let Self { exponent_bits, mantissa_bits, bias, specials } = self;
        let all_ones = (1 << self.magnitude_bits()) - 1;
        let nan = match specials {
            Specials::Ieee => {
                (all_ones >> mantissa_bits << mantissa_bits) | 1 << (mantissa_bits - 1)
            }
            Specials::AllOnes | Specials::None => all_ones,
            Specials::NegativeZero => all_ones + 1,
        };
        let beyond = match (specials, overflow) {
            (Specials::Ieee, _) => self.largest() + 1,
            (Specials::None, _) | (_, Overflow::Refuse | Overflow::Saturate) => self.largest(),
            (_, Overflow::Wrap) => nan,
        };
        let lowest_exponent = 1 - bias;
        Encoder {
            shift: F32_MANTISSA - mantissa_bits,
            rebias: (F32_BIAS - bias).cast_unsigned() << mantissa_bits,
            smallest_normal: (F32_BIAS + lowest_exponent).cast_unsigned() << F32_MANTISSA,
            aligner: (F32_BIAS + lowest_exponent + (F32_MANTISSA - mantissa_bits).cast_signed())
                .cast_unsigned()
                << F32_MANTISSA,
            largest: self.largest(),
            beyond,
            nan,
            sign_shift: 31 - exponent_bits - mantissa_bits,
            negative_zero: specials != Specials::NegativeZero,
        }
    }
}

/// Encodes `f32` in one format under one [`Overflow`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Encoder {
    /// How many mantissa bits are rounded away.
    shift: u32,
    /// What to subtract from the shifted bits of an `f32` to correct the exponent.
    rebias: u32,
    /// The bits of the smallest normal value as an `f32`.
    smallest_normal: u32,
    /// The bits of the `f32` whose last place is the format's smallest subnormal: adding it
    /// rounds subnormals.
    aligner: u32,
    largest: u32,
    beyond: u32,
    nan: u32,
    sign_shift: u32,
    negative_zero: bool,
}

impl Encoder {
    /// The code of `value`, without branches.
    #[inline(always)]
    pub(crate) fn encode(&self, value: f32) -> u32 {
        let bits = value.to_bits();
        let magnitude = bits & 0x7FFF_FFFF;
        let odd = magnitude >> self.shift & 1;
        let rounded = magnitude + ((1 << (self.shift - 1)) - 1) + odd;
        let normal = (rounded >> self.shift).wrapping_sub(self.rebias);
        let aligned = f32::from_bits(magnitude) + f32::from_bits(self.aligner);
        let subnormal = aligned.to_bits().wrapping_sub(self.aligner);
        let code = if magnitude < self.smallest_normal { subnormal } else { normal };
        let code = if code > self.largest { self.beyond } else { code };
        let code = if magnitude > F32_INFINITY { self.nan } else { code };
        let sign = (bits & 0x8000_0000) >> self.sign_shift;
        if self.negative_zero || code != 0 { code | sign } else { code }
    }
}

/// The half-precision float nearest to `value`, ties to even; NaN becomes quiet and keeps the upper
/// bits of its payload, as the processors' own instructions have it. `encoder` is that of [`F16`].
#[inline(always)]
pub(crate) fn encode_f16(encoder: &Encoder, value: f32) -> u16 {
    let payload = if value.is_nan() { value.to_bits() >> 13 & 0x3FF } else { 0 };
    (encoder.encode(value) | payload) as u16
}

/// The largest `f32` that rounds to a finite bfloat16.
pub(crate) const BF16_LIMIT: f32 = f32::from_bits(0x7F7F_7FFF);

/// The bfloat16 nearest to `value`, ties to even; NaN stays a quiet NaN.
#[inline(always)]
pub(crate) fn encode_bf16(value: f32) -> u16 {
    let bits = value.to_bits();
    let rounded = bits.wrapping_add(0x7FFF + (bits >> 16 & 1));
    let kept = if bits & 0x7FFF_FFFF > F32_INFINITY { bits | F32_QUIET } else { rounded };
    (kept >> 16) as u16
}

/// The value of a bfloat16.
#[inline(always)]
pub(crate) fn decode_bf16(code: u16) -> f32 {
    f32::from_bits(u32::from(code) << 16)
}

/// The value of a half-precision float, without branches; NaN becomes quiet and keeps its payload,
/// as the processors' own instructions have it.
#[inline(always)]
pub(crate) fn decode_f16(code: u16) -> f32 {
    const REBIAS: f32 = f32::from_bits((F32_BIAS + F32_BIAS - 15).cast_unsigned() << F32_MANTISSA);
    let magnitude = u32::from(code & 0x7FFF);
    let finite = f32::from_bits(magnitude << 13) * REBIAS;
    let quiet = if magnitude > 0x7C00 { F32_QUIET } else { 0 };
    let special = F32_INFINITY | magnitude << 13 | quiet;
    let bits = if magnitude < 0x7C00 { finite.to_bits() } else { special };
    f32::from_bits(bits | u32::from(code & 0x8000) << 16)
}

/// The NaN of the 8-bit scale, its only code that is no power of two.
const SCALE_NAN: u8 = 0xFF;
/// The smallest `f32` that rounds to the smallest scale, 2^-127, as seen from above and below.
pub(crate) const SCALE_LOWEST: f32 = f32::from_bits(0x0030_0000);
/// The largest `f32` that rounds to the largest scale, 2^127: the tie goes to the even code.
pub(crate) const SCALE_LIMIT: f32 = f32::from_bits(0x7F40_0000);

/// The value of an 8-bit scale (e8m0fnu): 2 to the power of `code - 127`.
const fn decode_scale(code: u8) -> f32 {
    match code {
        SCALE_NAN => f32::from_bits(F32_NAN),
        0 => f32::from_bits(0x0040_0000),
        _ => f32::from_bits((code as u32) << F32_MANTISSA),
    }
}

/// The values of all 8-bit scales.
pub(crate) const fn scale_table() -> Table {
    let mut table = [0.0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = decode_scale(code as u8);
        code += 1;
    }
    table
}

/// The 8-bit scale nearest to `value`. Scales have neither sign nor zero nor infinity: what is
/// below the smallest or above the largest becomes that one, or NaN under [`Overflow::Wrap`].
#[inline(always)]
pub(crate) fn encode_scale(value: f32, overflow: Overflow) -> u8 {
    let wraps = overflow == Overflow::Wrap;
    let bits = value.to_bits();
    if value.is_nan() {
        SCALE_NAN
    } else if value < SCALE_LOWEST {
        if wraps { SCALE_NAN } else { 0 }
    } else if value > SCALE_LIMIT {
        if wraps { SCALE_NAN } else { SCALE_NAN - 1 }
    } else if bits < 0x0080_0000 {
        // Between 2^-127 and 2^-126, `f32` is subnormal; the tie goes to the even code 0.
        u8::from(bits > 0x0060_0000)
    } else {
        let odd = bits >> F32_MANTISSA & 1;
        ((bits + 0x003F_FFFF + odd) >> F32_MANTISSA) as u8
    }
}

/// Takes codes of `bits` bits (4 or 6) apart that were packed without gaps, the first in the
/// lowest bits.
pub(crate) fn unpack_codes(packed: &[u8], bits: u32, codes: &mut Vec<u8>, count: usize) {
    let mask = (1_u32 << bits) - 1;
    let mut bytes = packed.iter();
    let (mut held, mut holding) = (0_u32, 0);
    for _ in 0..count {
        if holding < bits {
            held |= u32::from(bytes.next().copied().unwrap_or(0)) << holding;
            holding += 8;
        }
        codes.push((held & mask) as u8);
        held >>= bits;
        holding -= bits;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EIGHT_BITS: [SmallFloat; 7] =
        [F8E3M4, F8E4M3, F8E4M3B11FNUZ, F8E4M3FN, F8E4M3FNUZ, F8E5M2, F8E5M2FNUZ];

    /// 2 to the power of `exponent`, exactly; Miri makes `powi` inexact on purpose.
    fn power(exponent: i32) -> f64 {
        f64::from_bits(((exponent + 1023) as u64) << 52)
    }

    /// The value of a code by the textbook formula, in `f64`; `None` for NaN.
    fn textbook(format: SmallFloat, code: u32) -> Option<f64> {
        let SmallFloat { exponent_bits, mantissa_bits, bias, specials } = format;
        let negative = code >> (exponent_bits + mantissa_bits) & 1 == 1;
        let exponent = (code >> mantissa_bits & ((1 << exponent_bits) - 1)) as i32;
        let mantissa = f64::from(code & ((1 << mantissa_bits) - 1));
        let fraction = mantissa / f64::from(1 << mantissa_bits);
        let top = exponent == (1 << exponent_bits) - 1;
        let value = match exponent {
            0 => fraction * power(1 - bias),
            _ => (1.0 + fraction) * power(exponent - bias),
        };
        let value = match specials {
            Specials::Ieee if top && mantissa > 0.0 => return None,
            Specials::Ieee if top => f64::INFINITY,
            Specials::AllOnes if top && fraction + 1.0 / f64::from(1 << mantissa_bits) == 1.0 => {
                return None;
            }
            Specials::NegativeZero if negative && value == 0.0 => return None,
            _ => value,
        };
        Some(if negative { -value } else { value })
    }

    #[test]
    fn decoding_is_the_textbook_formula() {
        for format in EIGHT_BITS {
            for code in 0..256 {
                let value = format.decode(code);
                match textbook(format, code) {
                    None => assert!(value.is_nan(), "{format:?} {code:#x}"),
                    Some(expected) => {
                        assert_eq!(f64::from(value), expected, "{format:?} {code:#x}");
                        assert_eq!(value.is_sign_negative(), expected.is_sign_negative());
                    }
                }
            }
        }
        for (format, codes) in [(F6E2M3FN, 64), (F6E3M2FN, 64), (F4E2M1FN, 16)] {
            for code in 0..codes {
                assert_eq!(Some(f64::from(format.decode(code))), textbook(format, code));
            }
        }
        assert_eq!(F4E2M1FN.table()[..8], [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0]);
        assert_eq!((F6E2M3FN.decode(31), F6E3M2FN.decode(31)), (7.5, 28.0));
    }

    #[test]
    fn the_largest_values_are_the_published_ones() {
        let largest = EIGHT_BITS.map(|format| format.decode(format.largest()));
        assert_eq!(largest, [15.5, 240.0, 30.0, 448.0, 240.0, 57344.0, 57344.0]);
        assert_eq!(F16.decode(F16.largest()), 65504.0);
        assert_eq!(F16.limit(), 65520_f32.next_down());
        assert_eq!(F8E4M3FN.limit(), 464.0);
    }

    #[test]
    fn half_precision_is_that_of_half() {
        for code in 0..=u16::MAX {
            let expected = half::f16::from_bits(code).to_f32();
            assert_eq!(decode_f16(code).to_bits(), expected.to_bits(), "{code:#x}");
            let value = F16.decode(u32::from(code));
            assert!(value == expected || value.is_nan() && expected.is_nan(), "{code:#x}");
            assert_eq!(decode_bf16(code).to_bits(), u32::from(code) << 16);
        }
    }

    #[test]
    fn every_code_survives_a_round_trip() {
        for format in EIGHT_BITS.into_iter().chain([F16]) {
            let encoder = format.encoder(Overflow::Refuse);
            for code in 0..2 << format.magnitude_bits() {
                let value = format.decode(code);
                let back = encoder.encode(value);
                assert!(back == code || value.is_nan() && format.decode(back).is_nan());
            }
        }
        for code in 0..=255 {
            assert_eq!(encode_scale(decode_scale(code), Overflow::Refuse), code);
        }
    }

    /// Between two neighbouring codes, what is nearer decides, and the even one in the middle.
    #[test]
    fn encoding_rounds_to_nearest_even() {
        for format in EIGHT_BITS.into_iter().chain([F16]) {
            let encoder = format.encoder(Overflow::Saturate);
            for code in 0..format.largest() {
                let (low, high) = (format.decode(code), format.decode(code + 1));
                let middle = low + (high - low) / 2.0;
                let even = code + (code & 1);
                assert_eq!(encoder.encode(middle), even, "{format:?} {code:#x}");
                assert_eq!(encoder.encode(middle.next_down()), code);
                assert_eq!(encoder.encode(middle.next_up()), code + 1);
                let negative = encoder.encode(-middle);
                let sign = 1 << format.magnitude_bits();
                let unsigned_zero = format.specials == Specials::NegativeZero && even == 0;
                assert_eq!(negative, if unsigned_zero { 0 } else { even | sign });
            }
        }
    }

    #[test]
    fn values_beyond_the_largest_saturate_or_become_special() {
        for format in EIGHT_BITS.into_iter().chain([F16]) {
            let code = |overflow, value| format.decode(format.encoder(overflow).encode(value));
            let largest = format.decode(format.largest());
            assert_eq!(code(Overflow::Saturate, format.limit()), largest);
            for value in [format.limit().next_up(), f32::MAX, f32::INFINITY] {
                let saturated = if format.has_infinity() { f32::INFINITY } else { largest };
                assert_eq!(code(Overflow::Saturate, value), saturated, "{format:?} {value}");
                assert_eq!(code(Overflow::Saturate, -value), -saturated);
                let wrapped = code(Overflow::Wrap, -value);
                assert!(wrapped == f32::NEG_INFINITY || !format.has_infinity() && wrapped.is_nan());
            }
            assert!(code(Overflow::Saturate, f32::NAN).is_nan());
            assert!(code(Overflow::Saturate, -f32::NAN).is_nan());
        }
    }

    #[test]
    fn scales_are_rounded_powers_of_two() {
        use Overflow::{Saturate, Wrap};
        let golden = [(1.0, 127), (1.4, 127), (1.5, 128), (3.0, 128), (3.1, 129), (1.7e38, 254)];
        for (value, code) in golden {
            assert_eq!(encode_scale(value, Saturate), code, "{value}");
        }
        for below in [0.0, -0.0, -1.0, f32::NEG_INFINITY, SCALE_LOWEST.next_down()] {
            assert_eq!((encode_scale(below, Saturate), encode_scale(below, Wrap)), (0, 255));
        }
        for above in [f32::INFINITY, f32::MAX, SCALE_LIMIT.next_up()] {
            assert_eq!((encode_scale(above, Saturate), encode_scale(above, Wrap)), (254, 255));
        }
        assert_eq!(encode_scale(SCALE_LIMIT, Wrap), 254);
        assert_eq!(encode_scale(f32::NAN, Saturate), 255);
    }

    #[test]
    fn packed_codes_start_in_the_lowest_bits() {
        let unpacked = |packed: &[u8], bits, count| {
            let mut codes = Vec::new();
            unpack_codes(packed, bits, &mut codes, count);
            codes
        };
        assert_eq!(unpacked(&[0x21, 0x43, 0x05], 4, 5), [1, 2, 3, 4, 5]);
        let packed = (1_u32 | 2 << 6 | 63 << 12 | 4 << 18).to_le_bytes();
        assert_eq!(unpacked(&packed[..3], 6, 4), [1, 2, 63, 4]);
    }

    #[test]
    fn one_number_at_a_time_rounds_to_the_nearest_bfloat16() {
        let largest = [BF16_LIMIT, BF16_LIMIT.next_up(), f32::MAX, f32::INFINITY];
        let small = [0.0, f32::from_bits(1), f32::MIN_POSITIVE, 1.0, 1.003_906_3, 1.011_718_8];
        let nans = [f32::NAN, f32::from_bits(0x7F80_0001), f32::from_bits(0x7FFF_FFFF)];
        for value in [&largest[..], &small, &nans].concat() {
            for value in [value, -value] {
                let nearest = half::bf16::from_f32(value).to_bits();
                assert_eq!(encode_bf16(value), nearest, "{value} {:08x}", value.to_bits());
            }
        }
    }

    #[test]
    fn the_least_and_the_largest_scale_fit_under_every_rule() {
        for overflow in [Overflow::Refuse, Overflow::Saturate, Overflow::Wrap] {
            assert_eq!(encode_scale(SCALE_LOWEST, overflow), 0, "{overflow:?}");
            assert_eq!(encode_scale(SCALE_LIMIT, overflow), SCALE_NAN - 1, "{overflow:?}");
        }
        assert_eq!(encode_scale(SCALE_LOWEST.next_down(), Overflow::Wrap), SCALE_NAN);
        assert_eq!(encode_scale(SCALE_LIMIT.next_up(), Overflow::Wrap), SCALE_NAN);
    }
}
