//! Elements of any type, so that they can be compared with those of any other.

use std::fmt;

use arraybridge::num_complex::Complex;
use arraybridge::{Convert, CopyPolicy, DataType, ManagedTensor, Options};
use serde::{Serialize, Serializer};

use super::Rules;
use crate::failure::Outcome;

/// Elements in a type that holds each of their values.
#[derive(Debug)]
pub(super) enum Numbers {
    Signed(ManagedTensor),
    Unsigned(ManagedTensor),
    Real(ManagedTensor),
    Complex(ManagedTensor),
}

/// The same, to be looked at.
#[derive(Debug, Clone, Copy)]
pub(super) enum View<'a> {
    Signed(&'a [i64]),
    Unsigned(&'a [u64]),
    Real(&'a [f64]),
    Complex(&'a [Complex<f64>]),
}

/// The value of one element.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Number {
    Integer(i128),
    Real(f64),
    Complex(Complex<f64>),
}

/// How far a value is from the one that it is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Gap {
    pub(super) absolute: Distance,
    /// To the second value.
    pub(super) relative: Distance,
}

/// A number of at least 0 that may be infinite; that to a NaN is.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub(super) struct Distance(pub(super) f64);

impl Numbers {
    /// Casts without losing anything. What is asked for already may lie at any address: it is copied.
    pub(super) fn of(tensor: ManagedTensor) -> Outcome<Self> {
        let data_type = tensor.data_type();
        let (wide, numbers): (_, fn(ManagedTensor) -> Self) = if data_type.is_complex() {
            (DataType::C128, Self::Complex)
        } else if data_type.is_float() {
            (DataType::F64, Self::Real)
        } else if data_type == DataType::U64 {
            (DataType::U64, Self::Unsigned)
        } else {
            (DataType::I64, Self::Signed)
        };
        let options = Options::default().cast(wide).copy(CopyPolicy::Always);
        Ok(numbers(tensor.convert_to::<ManagedTensor>(options)?))
    }

    pub(super) fn view(&self) -> Outcome<View<'_>> {
        Ok(match self {
            Self::Signed(tensor) => View::Signed(tensor.as_slice()?),
            Self::Unsigned(tensor) => View::Unsigned(tensor.as_slice()?),
            Self::Real(tensor) => View::Real(tensor.as_slice()?),
            Self::Complex(tensor) => View::Complex(tensor.as_slice()?),
        })
    }
}

impl<'a> View<'a> {
    /// The elements from `start` on.
    pub(super) fn from(self, start: usize) -> Self {
        fn from<T>(all: &[T], start: usize) -> &[T] {
            all.get(start..).unwrap_or_default()
        }
        match self {
            Self::Signed(all) => Self::Signed(from(all, start)),
            Self::Unsigned(all) => Self::Unsigned(from(all, start)),
            Self::Real(all) => Self::Real(from(all, start)),
            Self::Complex(all) => Self::Complex(from(all, start)),
        }
    }

    /// The values, in order.
    pub(super) fn iter(self) -> Box<dyn Iterator<Item = Number> + 'a> {
        match self {
            Self::Signed(all) => Box::new(all.iter().map(|&value| Number::Integer(value.into()))),
            Self::Unsigned(all) => Box::new(all.iter().map(|&value| Number::Integer(value.into()))),
            Self::Real(all) => Box::new(all.iter().map(|&value| Number::Real(value))),
            Self::Complex(all) => Box::new(all.iter().map(|&value| Number::Complex(value))),
        }
    }
}

impl Number {
    /// How far this is from `other`; nothing where they count as equal.
    pub(super) fn gap(self, other: Self, rules: Rules) -> Option<Gap> {
        let (distance, size) = match (self.exact(), other.exact()) {
            (Self::Integer(a), Self::Integer(b)) if a == b => return None,
            (Self::Integer(a), Self::Integer(b)) => {
                (rounded(a.abs_diff(b)), rounded(b.unsigned_abs()))
            }
            (Self::Real(a), Self::Real(b)) if a == b => return None,
            (Self::Real(a), Self::Real(b)) => ((a - b).abs(), b.abs()),
            (a, b) => {
                let (a, b) = (a.as_complex(), b.as_complex());
                if a == b {
                    return None;
                }
                ((a - b).norm(), b.norm())
            }
        };
        if self.is_nan() && other.is_nan() && !rules.nan_differs {
            return None;
        }
        let allowed = rules.absolute + rules.relative * size;
        if distance.is_finite() && size.is_finite() && distance <= allowed {
            return None;
        }
        let distance = if distance.is_nan() { f64::INFINITY } else { distance };
        let relative = distance / size;
        let relative = if relative.is_nan() { f64::INFINITY } else { relative };
        Some(Gap { absolute: Distance(distance), relative: Distance(relative) })
    }

    /// A float or complex number that is an integer, as one: floats have no room for the largest beside each
    /// other.
    fn exact(self) -> Self {
        let real = match self {
            Self::Integer(_) => return self,
            Self::Real(value) => value,
            Self::Complex(Complex { re, im: 0.0 }) => re,
            Self::Complex(_) => return self,
        };
        // Every integer of an element type is far below 2^127.
        if real.fract() == 0.0 && real.abs() < 1e30 {
            #[expect(clippy::cast_possible_truncation, reason = "it is an integer and in range")]
            return Self::Integer(real as i128);
        }
        self
    }

    fn as_complex(self) -> Complex<f64> {
        match self {
            Self::Integer(value) => Complex::new(rounded_signed(value), 0.0),
            Self::Real(value) => Complex::new(value, 0.0),
            Self::Complex(value) => value,
        }
    }

    fn is_nan(self) -> bool {
        match self {
            Self::Integer(_) => false,
            Self::Real(value) => value.is_nan(),
            Self::Complex(value) => value.is_nan(),
        }
    }

    /// As people write it; of a type of up to 32 bits with no more digits than it has.
    pub(super) fn show(self, data_type: DataType) -> String {
        let real = |value: f64, bits: u8| {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "it was widened from an f32 or less"
            )]
            let narrow = value as f32;
            if bits <= 32 { format!("{narrow:?}") } else { format!("{value:?}") }
        };
        match self {
            Self::Integer(value) => value.to_string(),
            Self::Real(value) => real(value, data_type.bits()),
            Self::Complex(Complex { re, im }) => {
                let bits = data_type.bits() / 2;
                let sign = if im.is_sign_negative() { "" } else { "+" };
                format!("{}{sign}{}i", real(re, bits), real(im, bits))
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a distance is shown and compared with a float")]
fn rounded(value: u128) -> f64 {
    value as f64
}

#[expect(clippy::cast_precision_loss, reason = "as `rounded`")]
fn rounded_signed(value: i128) -> f64 {
    value as f64
}

impl fmt::Display for Distance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            value if value == 0.0 || (1e-3..1e6).contains(&value) => {
                // Four digits say enough.
                let shown = format!("{value:.4}");
                f.write_str(shown.trim_end_matches('0').trim_end_matches('.'))
            }
            value => write!(f, "{value:.3e}"),
        }
    }
}

/// A float as JSON has it: infinite ones and NaN are texts.
fn serialize_float<S: Serializer>(value: f64, serializer: S) -> Result<S::Ok, S::Error> {
    if value.is_finite() { serializer.serialize_f64(value) } else { serializer.collect_str(&value) }
}

impl Serialize for Distance {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_float(self.0, serializer)
    }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Self::Integer(value) => match u64::try_from(value) {
                Ok(value) => serializer.serialize_u64(value),
                Err(_) => i64::try_from(value).unwrap_or_default().serialize(serializer),
            },
            Self::Real(value) => serialize_float(value, serializer),
            Self::Complex(value) => {
                [Self::Real(value.re), Self::Real(value.im)].serialize(serializer)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXACT: Rules =
        Rules { relative: 0.0, absolute: 0.0, nan_differs: false, ignores_types: false };

    fn absolute(a: Number, b: Number, rules: Rules) -> Option<f64> {
        a.gap(b, rules).map(|gap| gap.absolute.0)
    }

    #[test]
    fn values_are_compared_exactly_across_types() {
        use Number::{Integer, Real};
        let large = (1_i128 << 53) + 1;
        assert_eq!(absolute(Integer(large), Real(9_007_199_254_740_992.0), EXACT), Some(1.0));
        assert_eq!(absolute(Integer(1 << 53), Real(9_007_199_254_740_992.0), EXACT), None);
        assert_eq!(absolute(Integer(u64::MAX.into()), Integer(-1), EXACT), Some(2_f64.powi(64)));
        assert_eq!(absolute(Real(-0.0), Real(0.0), EXACT), None);
        assert_eq!(absolute(Real(1.0), Number::Complex(Complex::new(1.0, 0.0)), EXACT), None);
        assert_eq!(absolute(Real(0.0), Number::Complex(Complex::new(3.0, 4.0)), EXACT), Some(5.0));
    }

    #[test]
    fn nan_and_infinity_are_never_near_anything_else() {
        use Number::Real;
        let tolerant = Rules { relative: 1e9, absolute: 1e9, ..EXACT };
        let (nan, infinite) = (f64::NAN, f64::INFINITY);
        assert_eq!(absolute(Real(nan), Real(nan), EXACT), None);
        assert_eq!(
            absolute(Real(nan), Real(nan), Rules { nan_differs: true, ..tolerant }),
            Some(infinite)
        );
        for (a, b) in
            [(1.0, nan), (nan, 1.0), (1.0, infinite), (infinite, 1.0), (-infinite, infinite)]
        {
            assert_eq!(absolute(Real(a), Real(b), tolerant), Some(infinite), "{a} {b}");
        }
        assert_eq!(absolute(Real(infinite), Real(infinite), EXACT), None);
    }

    #[test]
    fn tolerances_are_those_of_numpy() {
        use Number::Real;
        let rules = Rules { relative: 0.1, absolute: 1.0, ..EXACT };
        // |a - b| <= atol + rtol * |b|
        assert_eq!(absolute(Real(12.0), Real(10.0), rules), None);
        assert_eq!(absolute(Real(12.5), Real(10.0), rules), Some(2.5));
        assert_eq!(absolute(Real(10.0), Real(-10.0), rules), Some(20.0));
    }
}
