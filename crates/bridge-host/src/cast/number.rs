//! Conversions between the processor's numbers, one value at a time.

/// A number that the processor computes with.
pub(super) trait Number: Copy + PartialOrd + 'static {
    /// Whether it is anything but zero; NaN is.
    fn is_true(self) -> bool;

    /// The `f32` nearest to it toward zero, its last bit set where that is not exact: rounding
    /// this once more, to at most 22 bits, gives what rounding the number itself would.
    fn to_odd_f32(self) -> f32;
}

/// Conversion to another number, as Rust's `as` does it.
pub(super) trait To<T>: Number {
    /// Integers keep their low bits; floats become integers toward zero, the nearest where out of
    /// range, NaN becomes 0; floats are rounded to nearest, ties to even.
    fn to(self) -> T;

    /// As [`to`](Self::to), but integers out of range become the nearest value.
    fn to_nearest(self) -> T;

    /// As [`to`](Self::to), for floats whose integer part is known to be in range: a shorter way.
    ///
    /// # Safety
    ///
    /// Where this is a float and `T` an integer, the integer part is in range, and not NaN.
    unsafe fn to_in_range(self) -> T {
        self.to()
    }
}

/// A float as an integer.
pub(super) trait Float: Number {
    /// The integer toward zero, its lowest 64 bits; infinities and NaN become 0.
    fn low_bits(self) -> i64;
}

macro_rules! integers_to {
    ($source:ident: $($target:ident)*) => {
        $(impl To<$target> for $source {
            #[inline(always)]
            fn to(self) -> $target {
                self as $target
            }

            #[inline(always)]
            fn to_nearest(self) -> $target {
                const LOW: $source = if ($target::MIN as i128) > ($source::MIN as i128) {
                    $target::MIN as $source
                } else {
                    $source::MIN
                };
                const HIGH: $source = if ($target::MAX as i128) < ($source::MAX as i128) {
                    $target::MAX as $source
                } else {
                    $source::MAX
                };
                self.clamp(LOW, HIGH) as $target
            }
        })*
        floats_to!($source: f32 f64);
    };
}

macro_rules! floats_to {
    ($source:ident: $($target:ident)*) => {
        $(impl To<$target> for $source {
            #[inline(always)]
            fn to(self) -> $target {
                self as $target
            }

            #[inline(always)]
            fn to_nearest(self) -> $target {
                self as $target
            }
        })*
    };
}

macro_rules! floats_to_integers {
    ($source:ident: $($target:ident)*) => {
        $(impl To<$target> for $source {
            #[inline(always)]
            fn to(self) -> $target {
                self as $target
            }

            /// As `as`, in comparisons and a conversion that the processor has vectors for.
            #[inline(always)]
            fn to_nearest(self) -> $target {
                const LOWEST: $source = $target::MIN as $source;
                /// The largest float in range: the largest integer rounds up where it is inexact.
                const HIGHEST: $source = {
                    let near = $target::MAX as $source;
                    if near as i128 > $target::MAX as i128 { near.next_down() } else { near }
                };
                let number = if self.is_nan() { 0.0 } else { self };
                let from_below = if number < LOWEST { LOWEST } else { number };
                let within = if from_below > HIGHEST { HIGHEST } else { from_below };
                // SAFETY: it lies between two floats in range, and is not NaN.
                let near = unsafe { within.to_int_unchecked() };
                if number > HIGHEST { $target::MAX } else { near }
            }

            #[inline(always)]
            unsafe fn to_in_range(self) -> $target {
                // SAFETY: the caller promises that the integer part is in range.
                unsafe { self.to_int_unchecked() }
            }
        })*
    };
}

macro_rules! integers {
    ($($source:ident: $odd:expr;)*) => {
        $(
            integers_to!($source: i8 i16 i32 i64 u8 u16 u32 u64);

            impl Number for $source {
                #[inline(always)]
                fn is_true(self) -> bool {
                    self != 0
                }

                #[inline(always)]
                fn to_odd_f32(self) -> f32 {
                    let odd: fn($source) -> f32 = $odd;
                    odd(self)
                }
            }
        )*
    };
}

integers! {
    i8: f32::from;
    u8: f32::from;
    i16: f32::from;
    u16: f32::from;
    i32: |value| f64::from(value).to_odd_f32();
    u32: |value| f64::from(value).to_odd_f32();
    i64: |value| {
        let magnitude = magnitude_to_odd_f32(value.unsigned_abs());
        if value < 0 { -magnitude } else { magnitude }
    };
    u64: magnitude_to_odd_f32;
}
floats_to!(f32: f32 f64);
floats_to!(f64: f32 f64);
floats_to_integers!(f32: i8 i16 i32 i64 u8 u16 u32 u64);
floats_to_integers!(f64: i8 i16 i32 i64 u8 u16 u32 u64);

/// Keeps the 24 highest bits, the last one set where any other was.
fn magnitude_to_odd_f32(magnitude: u64) -> f32 {
    let shift = 40_u32.saturating_sub(magnitude.leading_zeros());
    let lost = magnitude & ((1 << shift) - 1);
    let kept = (magnitude >> shift) | u64::from(lost != 0);
    // Both factors and the product are exact: 24 bits, a power of two, and at most 2^64.
    kept as f32 * f32::from_bits((127 + shift) << 23)
}

impl Number for f32 {
    #[inline(always)]
    fn is_true(self) -> bool {
        self != 0.0
    }

    #[inline(always)]
    fn to_odd_f32(self) -> f32 {
        self
    }
}

impl Number for f64 {
    #[inline(always)]
    fn is_true(self) -> bool {
        self != 0.0
    }

    #[inline(always)]
    fn to_odd_f32(self) -> f32 {
        let near = self as f32;
        // One step back toward zero where rounding went away from it; from infinity that is to
        // the largest finite value. NaN stays NaN.
        let away = u32::from(f64::from(near.abs()) > self.abs());
        let inexact = u32::from(f64::from(near) != self);
        f32::from_bits((near.to_bits() - away) | inexact)
    }
}

impl Float for f32 {
    #[inline(always)]
    fn low_bits(self) -> i64 {
        f64::from(self).low_bits()
    }
}

impl Float for f64 {
    #[inline(always)]
    fn low_bits(self) -> i64 {
        const TWO_TO_63: f64 = 9_223_372_036_854_775_808.0;
        if self.abs() < TWO_TO_63 {
            return self as i64;
        }
        let bits = self.to_bits();
        let exponent = (bits >> 52 & 0x7FF) as u32;
        let mantissa = (bits & ((1 << 52) - 1)) | 1 << 52;
        // At least 2^63, the mantissa is shifted up by 11 or more; from 64 on, infinity and NaN
        // included, no low bit is left.
        let magnitude = mantissa.checked_shl(exponent - 1075).unwrap_or(0).cast_signed();
        if self.is_sign_negative() { magnitude.wrapping_neg() } else { magnitude }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_to_odd_keeps_what_a_second_rounding_needs() {
        assert_eq!(1.0_f64.to_odd_f32(), 1.0);
        assert_eq!((1.0 + 1e-12_f64).to_odd_f32(), 1_f32.next_up());
        assert_eq!((1.0 - 1e-12_f64).to_odd_f32(), 1_f32.next_down());
        assert_eq!((-1.0 - 1e-12_f64).to_odd_f32(), -1_f32.next_up());
        assert_eq!(1e300_f64.to_odd_f32(), f32::MAX);
        assert_eq!((-1e-300_f64).to_odd_f32(), -f32::from_bits(1));
        assert_eq!(f64::NEG_INFINITY.to_odd_f32(), f32::NEG_INFINITY);
        assert!(f64::NAN.to_odd_f32().is_nan());
        assert_eq!((-0.0_f64).to_odd_f32().to_bits(), (-0.0_f32).to_bits());

        assert_eq!(u64::MAX.to_odd_f32(), 18_446_744_073_709_551_616_f32.next_down());
        assert_eq!(i64::MIN.to_odd_f32(), -9_223_372_036_854_775_808_f32);
        assert_eq!(((1_i64 << 40) + 1).to_odd_f32(), 1_099_511_627_776_f32.next_up());
        assert_eq!((-(1_i64 << 24)).to_odd_f32(), -16_777_216.0);
        assert_eq!((16_777_217_i32).to_odd_f32(), 16_777_216_f32.next_up().next_down() + 0.0 + 2.0);
        assert_eq!(0_u64.to_odd_f32(), 0.0);
    }

    #[test]
    fn floats_become_the_nearest_integers_as_rust_has_them() {
        fn check<S: To<T> + std::fmt::Debug, T: PartialEq + std::fmt::Debug>(value: S) {
            assert_eq!(value.to_nearest(), value.to(), "{value:?}");
        }
        let edges = (0..=66).flat_map(|power| {
            let edge = 2_f64.powi(power);
            [edge, edge.next_down(), edge.next_up(), edge - 1.0, edge - 0.5, edge + 0.5, 0.0]
        });
        let specials = [f64::NAN, f64::INFINITY, 1e300, f64::MIN_POSITIVE, 0.9];
        for value in edges.chain(specials).flat_map(|value| [value, -value]) {
            let single = value as f32;
            let around = [single, single.next_down(), single.next_up()];
            macro_rules! each {
                ($($target:ident)*) => {
                    $(
                        check::<f64, $target>(value);
                        around.into_iter().for_each(check::<f32, $target>);
                    )*
                };
            }
            each!(i8 i16 i32 i64 u8 u16 u32 u64);
        }
    }

    #[test]
    fn floats_keep_the_low_bits_of_their_integers() {
        let golden = [
            (300.7, 300),
            (-1.5, -1),
            (9_223_372_036_854_775_808.0, i64::MIN),
            (-9_223_372_036_854_775_808.0, i64::MIN),
            (18_446_744_073_709_551_616.0, 0),
            (13_835_058_055_282_163_712.0, 0xC000_0000_0000_0000_u64 as i64),
            (-27_670_116_110_564_327_424.0, 1_i64 << 63),
            (1e300, 0),
            (f64::INFINITY, 0),
            (f64::NEG_INFINITY, 0),
            (f64::NAN, 0),
        ];
        for (value, bits) in golden {
            assert_eq!(value.low_bits(), bits, "{value}");
        }
    }
}
