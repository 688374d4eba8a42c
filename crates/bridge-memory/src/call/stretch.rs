//! The arithmetic of rescaling: numbers in, numbers out.

/// A float that is computed with.
pub(super) trait Real: Copy + PartialOrd {
    fn of(value: f64) -> Self;
    fn wide(self) -> f64;
    fn is_finite(self) -> bool;
    fn stretched(self, stretch: &Stretch<Self>) -> Self;
    fn span(low: Self, high: Self) -> Span<Self>;
}

/// Integers that a float is rounded or cut to.
pub(super) trait Whole: bridge_core::Element {
    const LEAST: f64;
    const MOST: f64;
    /// What the Python package multiplies by and subtracts, where it has such a rule for the type.
    const STRETCH: Option<(f64, f64)>;
    /// Toward zero; what is out of range becomes the nearest end, and NaN zero.
    fn cut(value: f64) -> Self;
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
pub(super) struct Stretch<F> {
    span: Span<F>,
    scale: F,
    offset: F,
    least: F,
    most: F,
}

impl<F: Real> Stretch<F> {
    /// Onto `T`. Types that the Python package has no rule for keep 0 to 1.
    ///
    /// Signed types end 128 below their largest value: a margin that int32 needs in single precision
    /// and that it gives int16 too.
    pub(super) fn onto<T: Whole>(low: F, high: F) -> Self {
        let (scale, offset) = T::STRETCH.unwrap_or((1.0, 0.0));
        let margin = if offset > 0.0 { 128.0 } else { 0.0 };
        Self {
            span: F::span(low, high),
            scale: F::of(scale),
            offset: F::of(offset),
            least: F::of(-offset),
            most: F::of(scale - offset - margin),
        }
    }
}

macro_rules! reals {
    ($($real:ident)*) => {$(
        impl Real for $real {
            #[allow(clippy::cast_possible_truncation, trivial_numeric_casts)]
            fn of(value: f64) -> Self {
                value as $real
            }

            fn wide(self) -> f64 {
                f64::from(self)
            }

            fn is_finite(self) -> bool {
                $real::is_finite(self)
            }

            fn span(low: Self, high: Self) -> Span<Self> {
                let first = if (high - low).is_finite() { 1.0 } else { 0.5 };
                Span { low: low * first, width: high * first - low * first, first }
            }

            fn stretched(self, to: &Stretch<Self>) -> Self {
                let part = (self * to.span.first - to.span.low) / to.span.width;
                (part * to.scale - to.offset).clamp(to.least, to.most)
            }
        }
    )*};
}

reals!(f32 f64);

macro_rules! wholes {
    ($($whole:ident: $stretch:expr;)*) => {$(
        impl Whole for $whole {
            #[allow(clippy::cast_lossless, clippy::cast_precision_loss)]
            const LEAST: f64 = $whole::MIN as f64;
            #[allow(clippy::cast_lossless, clippy::cast_precision_loss)]
            const MOST: f64 = $whole::MAX as f64;
            const STRETCH: Option<(f64, f64)> = $stretch;

            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            fn cut(value: f64) -> Self {
                value as $whole
            }
        }
    )*};
}

wholes! {
    u8: Some((255.0, 0.0));
    u16: Some((65_535.0, 0.0));
    u32: Some((4_294_967_295.0, 0.0));
    u64: None;
    i8: None;
    i16: Some((65_535.0, 32_768.0));
    i32: Some((4_294_967_295.0, 2_147_483_648.0));
    i64: None;
}

/// The smallest and the largest of finite values, or the place of the first that is not finite; `None`
/// where there is none.
pub(super) fn ends<F: Real>(values: &[F]) -> Result<Option<(F, F)>, usize> {
    let Some(&first) = values.first() else { return Ok(None) };
    let mut ends = (first, first);
    for (place, &value) in values.iter().enumerate() {
        if !value.is_finite() {
            return Err(place);
        }
        if value < ends.0 {
            ends.0 = value;
        }
        if value > ends.1 {
            ends.1 = value;
        }
    }
    Ok(Some(ends))
}

/// Where `value` lies between `low` and `high`, from 0 to 1; what lies outside is at the nearer end. NaN
/// stays NaN.
pub(super) fn place_in(low: f64, high: f64, value: f64) -> f64 {
    let Span { low, width, first } = f64::span(low, high);
    ((value * first - low) / width).clamp(0.0, 1.0)
}

/// A place from 0 to 1 on the whole range of `T`, to the nearest.
pub(super) fn spread<T: Whole>(place: f64) -> T {
    T::cut((T::LEAST + place * (T::MOST - T::LEAST)).round_ties_even())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stretch<F: Real, T: Whole>(values: [F; 3]) -> [T; 3] {
        let (low, high) = ends(&values).unwrap().unwrap();
        let stretch = Stretch::onto::<T>(low, high);
        values.map(|value| T::cut(value.stretched(&stretch).wide()))
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
        // The Python package overflows to 0 at the upper end.
        assert_eq!(stretch::<_, u32>(unit), [0, 2_147_483_648, 4_294_967_295]);
    }

    #[test]
    fn values_whose_difference_overflows_are_stretched_all_the_same() {
        assert_eq!(stretch::<_, u8>([f32::MIN, 0.0, f32::MAX]), [0, 127, 255]);
        assert_eq!(stretch::<_, u8>([f64::MIN, 0.0, f64::MAX]), [0, 127, 255]);
    }

    #[test]
    fn the_first_value_that_is_not_finite_is_named() {
        assert_eq!(ends(&[1.0, f64::NAN, f64::INFINITY]), Err(1));
        assert_eq!(ends(&[f32::NEG_INFINITY]), Err(0));
        assert_eq!(ends::<f32>(&[]), Ok(None));
        assert_eq!(ends(&[2.0, -1.0, 1.0]), Ok(Some((-1.0, 2.0))));
    }

    #[test]
    fn a_range_reaches_both_ends_of_a_type_and_rounds_to_the_nearest() {
        let on = |value| spread::<u8>(place_in(-1.0, 1.0, value));
        assert_eq!([-9.0, -1.0, 0.0, 1.0, f64::INFINITY].map(on), [0, 0, 128, 255, 255]);
        let on = |value| spread::<i16>(place_in(0.0, 1.0, value));
        assert_eq!([0.0, 0.5, 1.0].map(on), [-32_768, 0, 32_767]);
        let back = (0..=255_u8).all(|n| spread::<u8>(place_in(0.0, 255.0, f64::from(n))) == n);
        assert!(back, "a range of the type itself changes nothing");
        assert_eq!(spread::<u64>(1.0), u64::MAX);
    }
}
