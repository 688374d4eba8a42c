//! Which types hold every value of which.

use super::{DataType, TypeCode};

impl DataType {
    /// Whether every value of `self` is also a value of `wider`, so that a cast changes nothing.
    ///
    /// ```
    /// use bridge_tensor::DataType;
    ///
    /// assert!(DataType::U16.fits_in(DataType::I32));
    /// assert!(!DataType::I32.fits_in(DataType::F32)); // 24 bits of mantissa are too few
    /// ```
    pub fn fits_in(self, wider: Self) -> bool {
        if self == wider {
            return true;
        }
        if self.lanes != 1 || wider.lanes != 1 {
            return false;
        }
        match (self.numbers(), wider.numbers()) {
            (Some(from), Some(to)) => {
                (to.complex || !from.complex)
                    && (to.signed || !from.signed)
                    && to.special >= from.special
                    && to.zero >= from.zero
                    && to.negative_zero >= from.negative_zero
                    && to.significant >= from.significant
                    && to.highest >= from.highest
                    && to.lowest <= from.lowest
            }
            _ => false,
        }
    }

    /// The narrowest type in `offered` that holds every value of `self`: what to cast to where a
    /// backend lacks `self`.
    pub fn narrowest_holding(self, offered: &[Self]) -> Option<Self> {
        let family = |wider: &Self| (wider.is_float() != self.is_float(), wider.size_in_bits());
        offered.iter().copied().filter(|wider| self.fits_in(*wider)).min_by_key(family)
    }

    /// What numbers the type can hold; `None` where casts do not apply (opaque, odd widths).
    fn numbers(self) -> Option<Numbers> {
        use TypeCode as C;
        // Bits but for the sign.
        let integer = |signed: bool, bits: u8| Numbers {
            significant: bits.into(),
            highest: bits.into(),
            lowest: 0,
            signed,
            special: Special::None,
            zero: true,
            negative_zero: false,
            complex: false,
        };
        // Significant bits, exponent of the largest value plus one, exponent of the smallest
        // subnormal.
        let float = |significant, highest, lowest| Numbers {
            significant,
            highest,
            lowest,
            signed: true,
            special: Special::NanAndInfinity,
            zero: true,
            negative_zero: true,
            complex: false,
        };
        let nan_only = |numbers: Numbers| Numbers { special: Special::Nan, ..numbers };
        let one_zero = |numbers| Numbers { negative_zero: false, ..nan_only(numbers) };
        let finite = |numbers: Numbers| Numbers { special: Special::None, ..numbers };
        Some(match (self.code, self.bits) {
            (C::Bool, 8) => integer(false, 1),
            (C::Int, 8 | 16 | 32 | 64) => integer(true, self.bits - 1),
            (C::UInt, 8 | 16 | 32 | 64) => integer(false, self.bits),
            (C::Float, 16) => float(11, 16, -24),
            (C::Float, 32) => float(24, 128, -149),
            (C::Float, 64) => float(53, 1024, -1074),
            (C::BFloat, 16) => float(8, 128, -133),
            (C::Complex, 32 | 64 | 128) => {
                let part = Self::scalar(C::Float, self.bits / 2).numbers()?;
                Numbers { complex: true, ..part }
            }
            (C::Float8E3M4, 8) => float(5, 4, -6),
            (C::Float8E4M3, 8) => float(4, 8, -9),
            (C::Float8E4M3B11Fnuz, 8) => one_zero(float(4, 5, -13)),
            (C::Float8E4M3Fn, 8) => nan_only(float(4, 9, -9)),
            (C::Float8E4M3Fnuz, 8) => one_zero(float(4, 8, -10)),
            (C::Float8E5M2, 8) => float(3, 16, -16),
            (C::Float8E5M2Fnuz, 8) => one_zero(float(3, 16, -17)),
            (C::Float8E8M0Fnu, 8) => {
                Numbers { signed: false, zero: false, ..one_zero(float(1, 128, -127)) }
            }
            (C::Float6E2M3Fn, 6) => finite(float(4, 3, -3)),
            (C::Float6E3M2Fn, 6) => finite(float(3, 5, -4)),
            (C::Float4E2M1Fn, 4) => finite(float(2, 3, -1)),
            _ => return None,
        })
    }
}

/// The set of numbers a type can hold, coarse enough to compare two types.
struct Numbers {
    significant: u32,
    highest: i32,
    lowest: i32,
    signed: bool,
    special: Special,
    zero: bool,
    negative_zero: bool,
    complex: bool,
}

/// Which values that are no numbers a type has.
#[derive(PartialEq, PartialOrd)]
enum Special {
    None,
    Nan,
    NanAndInfinity,
}
