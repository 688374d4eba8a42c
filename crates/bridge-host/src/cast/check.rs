//! Whether numbers fit the element type that they are cast to.

use super::kernels::with_native;
use super::part::{Native, Part};
use crate::small_floats::{BF16_LIMIT, F16, SCALE_LIMIT, SCALE_LOWEST};

/// Which numbers of one type another can hold: an interval, and the values that are no numbers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Check {
    native: Native,
    bounds: Bounds,
}

/// The numbers that fit. All bounds are included.
#[derive(Debug, Clone, Copy)]
enum Bounds {
    Integers {
        lowest: i128,
        highest: i128,
    },
    /// Floats between the bounds; NaN and infinities do not fit.
    Floats {
        lowest: f64,
        highest: f64,
    },
    /// Floats between the bounds, and NaN.
    FloatsAndNan {
        lowest: f64,
        highest: f64,
    },
    /// Floats up to a magnitude, infinities, and NaN.
    FloatsAndSpecials {
        highest: f64,
    },
}

impl Check {
    /// What of `native` a number `target` can hold, after rounding; `None` where it is everything.
    /// For the small floats, `native` must be `F32`.
    pub(super) fn of(native: Native, target: Part) -> Option<Self> {
        let bounds = match (target, native.range()) {
            (Part::Bool, _) | (Part::Native(Native::F64), _) => return None,
            (Part::Native(Native::F32), _) if native != Native::F64 => return None,
            (Part::Native(Native::F32), _) => {
                // The largest `f64` that rounds to a finite `f32`: the tie goes to infinity.
                let step = f64::from(f32::MAX) - f64::from(f32::MAX.next_down());
                let highest = (f64::from(f32::MAX) + step / 2.0).next_down();
                Bounds::FloatsAndSpecials { highest }
            }
            (Part::Native(integer), from) => {
                let (low, high) = integer.range()?;
                match from {
                    Some((lowest, highest)) if low <= lowest && highest <= high => return None,
                    Some(_) => Bounds::Integers { lowest: low, highest: high },
                    None => rounding_toward_zero(native, low, high),
                }
            }
            (Part::F16, _) => Bounds::FloatsAndSpecials { highest: F16.limit().into() },
            (Part::BF16, _) => Bounds::FloatsAndSpecials { highest: BF16_LIMIT.into() },
            (Part::Small(format, _), _) => {
                let highest = f64::from(format.limit());
                let lowest = -highest;
                match (format.has_infinity(), format.has_nan()) {
                    (true, _) => Bounds::FloatsAndSpecials { highest },
                    (false, true) => Bounds::FloatsAndNan { lowest, highest },
                    (false, false) => Bounds::Floats { lowest, highest },
                }
            }
            (Part::Scale(_), _) => {
                Bounds::FloatsAndNan { lowest: SCALE_LOWEST.into(), highest: SCALE_LIMIT.into() }
            }
        };
        Some(Self { native, bounds })
    }

    /// The smallest and the largest `f32` that fit a small float, of those that are finite.
    pub(super) fn finite_ends(&self) -> Option<(f32, f32)> {
        match self.bounds {
            Bounds::Integers { .. } => None,
            Bounds::Floats { lowest, highest } | Bounds::FloatsAndNan { lowest, highest } => {
                Some((lowest as f32, highest as f32))
            }
            Bounds::FloatsAndSpecials { highest } => Some((-highest as f32, highest as f32)),
        }
    }

    /// The first of `count` numbers that does not fit.
    ///
    /// # Safety
    ///
    /// `count` numbers of the type that the check was made for can be read at `numbers`, which
    /// need not be aligned.
    pub(super) unsafe fn first_misfit(&self, numbers: *const u8, count: usize) -> Option<usize> {
        // SAFETY: the type is that of the numbers.
        with_native!(self.native, T => unsafe { T::first_misfit(numbers, count, &self.bounds) })
    }
}

/// The interval of floats whose integer part lies between `low` and `high`.
fn rounding_toward_zero(native: Native, low: i128, high: i128) -> Bounds {
    // `high + 1` is a power of two and exact; the next float below it is the last that fits.
    // `low - 1` may be inexact, and then rounds to `low`, which fits.
    let (below, above) = (low - 1, high + 1);
    let (lowest, highest) = if native == Native::F32 {
        let lowest =
            if below as f32 as i128 == below { (below as f32).next_up() } else { low as f32 };
        (f64::from(lowest), f64::from((above as f32).next_down()))
    } else {
        let lowest =
            if below as f64 as i128 == below { (below as f64).next_up() } else { low as f64 };
        (lowest, (above as f64).next_down())
    };
    Bounds::Floats { lowest, highest }
}

trait Checked: Copy {
    /// The first of `count` numbers that is out of bounds.
    ///
    /// # Safety
    ///
    /// As [`Check::first_misfit`], for this type.
    unsafe fn first_misfit(numbers: *const u8, count: usize, bounds: &Bounds) -> Option<usize>;
}

macro_rules! checked_integers {
    ($($integer:ident)*) => {
        $(impl Checked for $integer {
            unsafe fn first_misfit(
                numbers: *const u8,
                count: usize,
                bounds: &Bounds,
            ) -> Option<usize> {
                let Bounds::Integers { lowest, highest } = *bounds else {
                    unreachable!("integers have bounds of integers")
                };
                let low = lowest.max($integer::MIN.into()) as $integer;
                let high = highest.min($integer::MAX.into()) as $integer;
                // SAFETY: the caller promises the same.
                unsafe { first(numbers, count, |n: $integer| (n < low) | (n > high)) }
            }
        })*
    };
}
checked_integers!(i8 i16 i32 i64 u8 u16 u32 u64);

macro_rules! checked_floats {
    ($($float:ident)*) => {
        $(impl Checked for $float {
            unsafe fn first_misfit(
                numbers: *const u8,
                count: usize,
                bounds: &Bounds,
            ) -> Option<usize> {
                const INFINITY: $float = $float::INFINITY;
                // SAFETY: the caller promises the same.
                unsafe {
                    match *bounds {
                        Bounds::Floats { lowest, highest } => {
                            let (low, high) = (lowest as $float, highest as $float);
                            first(numbers, count, |n: $float| !((low <= n) & (n <= high)))
                        }
                        Bounds::FloatsAndNan { lowest, highest } => {
                            let (low, high) = (lowest as $float, highest as $float);
                            first(numbers, count, |n: $float| (n < low) | (n > high))
                        }
                        Bounds::FloatsAndSpecials { highest } => {
                            let high = highest as $float;
                            first(numbers, count, |n: $float| (n.abs() > high) & (n.abs() < INFINITY))
                        }
                        Bounds::Integers { .. } => unreachable!("floats have bounds of floats"),
                    }
                }
            }
        })*
    };
}
checked_floats!(f32 f64);

/// The first of `count` numbers that `misfits`.
///
/// # Safety
///
/// As [`Check::first_misfit`], for the type `T`.
unsafe fn first<T: Copy>(
    numbers: *const u8,
    count: usize,
    misfits: impl Fn(T) -> bool,
) -> Option<usize> {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        /// # Safety
        ///
        /// As [`first`], and the processor has AVX2.
        #[target_feature(enable = "avx2")]
        unsafe fn wide<T: Copy>(
            numbers: *const T,
            count: usize,
            misfits: impl Fn(T) -> bool,
        ) -> Option<usize> {
            // SAFETY: the caller promises the same.
            unsafe { first_on_any(numbers, count, misfits) }
        }
        // SAFETY: the caller promises the same, and AVX2 was detected.
        return unsafe { wide(numbers.cast::<T>(), count, misfits) };
    }
    // SAFETY: the caller promises the same.
    unsafe { first_on_any(numbers.cast::<T>(), count, misfits) }
}

/// As [`first`], on any processor.
///
/// # Safety
///
/// As [`first`].
#[inline(always)]
unsafe fn first_on_any<T: Copy>(
    numbers: *const T,
    count: usize,
    misfits: impl Fn(T) -> bool,
) -> Option<usize> {
    // SAFETY: the caller promises `count` numbers; the read needs no alignment.
    let misfit_at = |place: usize| misfits(unsafe { numbers.add(place).read_unaligned() });
    // Without an early exit the loop can be vectorised; the exact place is sought only on failure.
    let any = (0..count).fold(0_u32, |any, place| any | u32::from(misfit_at(place)));
    if any == 0 { None } else { (0..count).find(|&place| misfit_at(place)) }
}
