//! The arithmetic of rescaling: one number in, one number out.

use std::marker::PhantomData;

/// A float that is computed with.
pub(super) trait Real: Copy + PartialOrd + Send + Sync + 'static {
    const ZERO: Self;
    fn of(value: f64) -> Self;
    fn wide(self) -> f64;
    fn is_finite(self) -> bool;
    fn is_nan(self) -> bool;
    /// Zero; NaN where the number is not finite.
    fn times_zero(self) -> Self;
    fn plus(self, other: Self) -> Self;
    /// Toward zero; what is outside, and NaN, becomes one of the ends.
    fn stretched<T: Whole>(self, stretch: &Stretch<Self, T>) -> T;
    fn span(low: Self, high: Self) -> Span<Self>;
}

/// An integer that floats become.
pub(super) trait Whole: Copy + Send + Sync + 'static {
    /// What values are multiplied by when they are stretched, and what is then taken off, where there is such a
    /// rule for the type.
    const STRETCH: Option<(f64, f64)>;
    /// How many steps its range has.
    const STEPS: f64;
    /// Toward zero.
    ///
    /// # Safety
    ///
    /// The value is not NaN, and lies between the ends that [`Stretch::onto`] has for the type in `f64`.
    unsafe fn cut(value: f64) -> Self;
    /// As [`cut`](Self::cut), of single precision.
    ///
    /// # Safety
    ///
    /// As of `cut`, in `f32`.
    unsafe fn cut_single(value: f32) -> Self;
    /// So many steps above the smallest, toward zero, and at most the largest.
    ///
    /// # Safety
    ///
    /// The steps are not NaN, not negative and at most `STEPS`.
    unsafe fn above_least(steps: f64) -> Self;
}

/// Where the values lie, and by how much they are scaled first, so that no difference overflows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span<F> {
    low: F,
    width: F,
    first: F,
}

/// Values of a span onto an integer type, as the Python package arraybridge computes it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stretch<F, T> {
    span: Span<F>,
    scale: F,
    offset: F,
    least: F,
    most: F,
    onto: PhantomData<T>,
}

impl<F: Real, T: Whole> Stretch<F, T> {
    /// Of values between these two. Types that the Python package has no rule for keep 0 to 1.
    ///
    /// Signed types end 128 below their largest value: a margin that int32 needs in single precision
    /// and that it gives int16 too.
    pub(super) fn onto(low: F, high: F) -> Self {
        let (scale, offset) = T::STRETCH.unwrap_or((1.0, 0.0));
        let margin = if offset > 0.0 { 128.0 } else { 0.0 };
        Self {
            span: F::span(low, high),
            scale: F::of(scale),
            offset: F::of(offset),
            least: F::of(-offset),
            most: F::of(scale - offset - margin),
            onto: PhantomData,
        }
    }
}

macro_rules! reals {
    ($($real:ident $cut:ident;)*) => {$(
        impl Real for $real {
            const ZERO: Self = 0.0;

            #[allow(
                clippy::cast_possible_truncation,
                trivial_numeric_casts,
                reason = "constants of the rules, which single precision rounds; the macro makes f64 too"
            )]
            fn of(value: f64) -> Self {
                value as $real
            }

            #[inline(always)]
            fn wide(self) -> f64 {
                f64::from(self)
            }

            #[inline(always)]
            fn is_finite(self) -> bool {
                $real::is_finite(self)
            }

            #[inline(always)]
            fn is_nan(self) -> bool {
                $real::is_nan(self)
            }

            #[inline(always)]
            fn times_zero(self) -> Self {
                self * 0.0
            }

            #[inline(always)]
            fn plus(self, other: Self) -> Self {
                self + other
            }

            fn span(low: Self, high: Self) -> Span<Self> {
                let first = if (high - low).is_finite() { 1.0 } else { 0.5 };
                Span { low: low * first, width: high * first - low * first, first }
            }

            #[inline(always)]
            fn stretched<T: Whole>(self, to: &Stretch<Self, T>) -> T {
                let part = (self * to.span.first - to.span.low) / to.span.width;
                let place = part * to.scale - to.offset;
                // NaN is not above: it becomes the lower end.
                let place = if place > to.least { place } else { to.least };
                let place = if place < to.most { place } else { to.most };
                // SAFETY: the value is not NaN, and between the ends.
                unsafe { T::$cut(place) }
            }
        }
    )*};
}

reals! {
    f32 cut_single;
    f64 cut;
}

macro_rules! wholes {
    ($($whole:ident by $near:ident to $most:expr, $unsigned:ident by $step:ident: $stretch:expr;)*) => {$(
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_possible_wrap,
            clippy::cast_lossless,
            clippy::cast_precision_loss,
            trivial_numeric_casts,
            reason = "values are held within the type before; the macro makes every type"
        )]
        impl Whole for $whole {
            const STRETCH: Option<(f64, f64)> = $stretch;
            const STEPS: f64 = $unsigned::MAX as f64;

            #[inline(always)]
            unsafe fn cut(value: f64) -> Self {
                // SAFETY: it is in the range of the rule, or from 0 to 1, for which there is room.
                unsafe { value.to_int_unchecked::<$near>() }.min($most) as $whole
            }

            #[inline(always)]
            unsafe fn cut_single(value: f32) -> Self {
                // SAFETY: as in `cut`; the upper end may be rounded up, for which there is room as well.
                unsafe { value.to_int_unchecked::<$near>() }.min($most) as $whole
            }

            #[inline(always)]
            unsafe fn above_least(steps: f64) -> Self {
                // SAFETY: it is in the range of the unsigned type, for which there is room; of 64 bits, the range ends
                // one further on in `f64`, which is below the end of 128.
                let steps = unsafe { steps.to_int_unchecked::<$step>() };
                (steps.min($unsigned::MAX as $step) as $unsigned ^ $whole::MIN as $unsigned) as $whole
            }
        }
    )*};
}

// By way of signed types that the processor converts floats to at once, with room for all values.
wholes! {
    u8 by i32 to 255, u8 by i32: Some((255.0, 0.0));
    u16 by i32 to 65_535, u16 by i32: Some((65_535.0, 0.0));
    u32 by i64 to 4_294_967_295, u32 by i64: Some((4_294_967_295.0, 0.0));
    u64 by i64 to 1, u64 by i128: None;
    i8 by i32 to 127, u8 by i32: None;
    i16 by i32 to 32_767, u16 by i32: Some((65_535.0, 32_768.0));
    i32 by i32 to i32::MAX, u32 by i64: Some((4_294_967_295.0, 2_147_483_648.0));
    i64 by i64 to 1, u64 by i128: None;
}

impl Span<f64> {
    /// Where `value` lies, from 0 to 1; what lies outside is at the nearer end. NaN stays NaN.
    #[inline(always)]
    pub(super) fn place_of(&self, value: f64) -> f64 {
        ((value * self.first - self.low) / self.width).clamp(0.0, 1.0)
    }
}

/// A place from 0 to 1 on the whole range of `T`, to the nearest. NaN becomes the smallest.
#[inline(always)]
pub(super) fn spread<T: Whole>(place: f64) -> T {
    let steps = (place * T::STEPS + 0.5).floor();
    let steps = if steps > 0.0 { steps } else { 0.0 };
    let steps = if steps < T::STEPS { steps } else { T::STEPS };
    // SAFETY: it is not NaN, and between the two.
    unsafe { T::above_least(steps) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stretch<F: Real, T: Whole>(values: [F; 3]) -> [T; 3] {
        let stretch = Stretch::onto(values[0], values[2]);
        values.map(|value| value.stretched(&stretch))
    }

    const UNIT: [f64; 3] = [0.0, 0.5, 1.0];

    #[test]
    fn the_golden_values_of_the_python_package() {
        assert_eq!(stretch::<_, u8>(UNIT), [0, 127, 255]);
        assert_eq!(stretch::<_, u16>(UNIT), [0, 32_767, 65_535]);
        assert_eq!(stretch::<_, i16>(UNIT), [-32_768, 0, 32_639]);
        assert_eq!(stretch::<_, u32>(UNIT), [0, 2_147_483_647, 4_294_967_295]);
        assert_eq!(stretch::<_, i32>(UNIT), [-2_147_483_648, 0, 2_147_483_519]);
        assert_eq!(stretch::<_, i8>(UNIT), [0, 0, 1]);
        assert_eq!(stretch::<_, u64>(UNIT), [0, 0, 1]);
        assert_eq!(stretch::<_, i64>(UNIT), [0, 0, 1]);
        assert_eq!(stretch::<_, u8>([0.0_f32, 100.0, 200.0]), [0, 127, 255]);
    }

    #[test]
    fn single_precision_rounds_as_it_does_there_and_ends_where_the_type_does() {
        let unit = [0.0_f32, 0.5, 1.0];
        assert_eq!(stretch::<_, i32>(unit), [-2_147_483_648, 0, 2_147_483_520]);
        assert_eq!(stretch::<_, u32>(unit), [0, 2_147_483_648, 4_294_967_295]);
    }

    #[test]
    fn values_whose_difference_overflows_are_stretched_all_the_same() {
        assert_eq!(stretch::<_, u8>([f32::MIN, 0.0, f32::MAX]), [0, 127, 255]);
        assert_eq!(stretch::<_, u8>([f64::MIN, 0.0, f64::MAX]), [0, 127, 255]);
    }

    #[test]
    fn a_range_reaches_both_ends_of_a_type_and_rounds_to_the_nearest() {
        let on = |value| spread::<u8>(f64::span(-1.0, 1.0).place_of(value));
        assert_eq!([-9.0, -1.0, 0.0, 1.0, f64::INFINITY].map(on), [0, 0, 128, 255, 255]);
        assert_eq!(UNIT.map(spread::<i16>), [-32_768, 0, 32_767]);
        assert_eq!(UNIT.map(spread::<i8>), [-128, 0, 127]);
        assert_eq!(UNIT.map(spread::<i64>), [i64::MIN, 0, i64::MAX]);
        let bytes = f64::span(0.0, 255.0);
        let back = (0..=255_u8).all(|n| spread::<u8>(bytes.place_of(f64::from(n))) == n);
        assert!(back, "a range of the type itself changes nothing");
        assert_eq!(spread::<u64>(1.0), u64::MAX);
        assert_eq!(spread::<i32>(1.0), i32::MAX);
    }
}
