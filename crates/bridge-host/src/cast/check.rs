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

#[derive(Debug, Clone, Copy)]
enum Bounds {
    Integer {
        lowest: i128,
        highest: i128,
    },
    Float {
        lowest: f64,
        highest: f64,
        infinite: bool,
        nan: bool,
    },
}

impl Check {
    /// What of `native` a number `target` can hold, after rounding; `None` where it is everything.
    /// For the small floats, `native` must be `F32`.
    pub(super) fn of(native: Native, target: Part) -> Option<Self> {
        let float = |limit: f32, infinite, nan| {
            let highest = f64::from(limit);
            Bounds::Float {
                lowest: -highest,
                highest,
                infinite,
                nan,
            }
        };
        let bounds = match (target, native.range()) {
            (Part::Bool, _) | (Part::Native(Native::F64), _) => return None,
            (Part::Native(Native::F32), _) if native != Native::F64 => return None,
            (Part::Native(Native::F32), _) => {
                // The largest `f64` that rounds to a finite `f32`: the tie goes to infinity.
                let step = f64::from(f32::MAX) - f64::from(f32::MAX.next_down());
                let highest = (f64::from(f32::MAX) + step / 2.0).next_down();
                Bounds::Float {
                    lowest: -highest,
                    highest,
                    infinite: true,
                    nan: true,
                }
            }
            (Part::Native(integer), from) => {
                let (low, high) = integer.range()?;
                match from {
                    Some((lowest, highest)) if low <= lowest && highest <= high => return None,
                    Some(_) => Bounds::Integer {
                        lowest: low,
                        highest: high,
                    },
                    None => rounding_toward_zero(native, low, high),
                }
            }
            (Part::F16, _) => float(F16.limit(), true, true),
            (Part::BF16, _) => float(BF16_LIMIT, true, true),
            (Part::Small(format, _), _) => {
                float(format.limit(), format.has_infinity(), format.has_nan())
            }
            (Part::Scale(_), _) => Bounds::Float {
                lowest: f64::from(SCALE_LOWEST),
                highest: f64::from(SCALE_LIMIT),
                infinite: false,
                nan: true,
            },
        };
        Some(Self { native, bounds })
    }

    /// The first of `count` numbers that does not fit.
    ///
    /// # Safety
    ///
    /// `count` numbers of the type that the check was made for can be read at `numbers`, which
    /// need not be aligned.
    pub(super) unsafe fn first_misfit(&self, numbers: *const u8, count: usize) -> Option<usize> {
        // SAFETY: the type is that of the numbers.
        with_native!(self.native, T => unsafe { first_misfit::<T>(numbers, count, &self.bounds) })
    }
}

/// The interval of floats whose integer part lies between `low` and `high`.
fn rounding_toward_zero(native: Native, low: i128, high: i128) -> Bounds {
    // `high + 1` is a power of two and exact; the next float below it is the last that fits.
    // `low - 1` may be inexact, and then rounds to `low`, which fits.
    let (below, above) = (low - 1, high + 1);
    let (lowest, highest) = if native == Native::F32 {
        let lowest = if below as f32 as i128 == below {
            (below as f32).next_up()
        } else {
            low as f32
        };
        (f64::from(lowest), f64::from((above as f32).next_down()))
    } else {
        let lowest = if below as f64 as i128 == below {
            (below as f64).next_up()
        } else {
            low as f64
        };
        (lowest, (above as f64).next_down())
    };
    Bounds::Float {
        lowest,
        highest,
        infinite: false,
        nan: false,
    }
}

trait Checked: Copy {
    /// The test of one number, with the bounds already of its own type.
    fn fits(bounds: &Bounds) -> impl Fn(Self) -> bool;
}

macro_rules! checked_integers {
    ($($integer:ident)*) => {
        $(impl Checked for $integer {
            #[inline(always)]
            fn fits(bounds: &Bounds) -> impl Fn(Self) -> bool {
                // Only floats have bounds of floats.
                let (low, high) = match *bounds {
                    Bounds::Integer { lowest, highest } => (lowest, highest),
                    Bounds::Float { .. } => unreachable!("integers are checked against integers"),
                };
                let low = low.max($integer::MIN.into()) as $integer;
                let high = high.min($integer::MAX.into()) as $integer;
                move |number| (low <= number) & (number <= high)
            }
        })*
    };
}
checked_integers!(i8 i16 i32 i64 u8 u16 u32 u64);

macro_rules! checked_floats {
    ($($float:ident)*) => {
        $(impl Checked for $float {
            #[inline(always)]
            fn fits(bounds: &Bounds) -> impl Fn(Self) -> bool {
                let (low, high, infinite, nan) = match *bounds {
                    Bounds::Float { lowest, highest, infinite, nan } => {
                        (lowest as $float, highest as $float, infinite, nan)
                    }
                    Bounds::Integer { .. } => unreachable!("floats are checked against floats"),
                };
                move |number| {
                    ((low <= number) & (number <= high))
                        | (infinite & (number.abs() == $float::INFINITY))
                        | (nan & number.is_nan())
                }
            }
        })*
    };
}
checked_floats!(f32 f64);

/// # Safety
///
/// As [`Check::first_misfit`], for the type `T`.
unsafe fn first_misfit<T: Checked>(
    numbers: *const u8,
    count: usize,
    bounds: &Bounds,
) -> Option<usize> {
    let fits = T::fits(bounds);
    let numbers = numbers.cast::<T>();
    // SAFETY: the caller promises `count` numbers; the read needs no alignment.
    let fits_at = |place: usize| fits(unsafe { numbers.add(place).read_unaligned() });
    // Without an early exit the loop can be vectorised; the exact place is sought only on failure.
    let all_fit = (0..count).fold(true, |fit, place| fit & fits_at(place));
    if all_fit {
        None
    } else {
        (0..count).find(|&place| !fits_at(place))
    }
}
