//! Values that a cast would change although they are in the range of the new type: integers that a
//! floating-point type has only a neighbour of, fractions that an integer type lacks, numbers that are
//! neither 0 nor 1 and become booleans.
//!
//! Floats that are rounded to narrower floats are none of them: that is what such a cast is for. What is out
//! of range is the overflow rule's.

use arraybridge::{Convert, DataType, ManagedTensor, Options, Overflow, TypeCode};

use crate::failure::{Failure, Outcome};
use crate::formats::bytes_of;
use crate::room::Room;

/// Which values a cast from one type to another would change.
#[derive(Debug, Clone, Copy)]
pub(super) struct Exactness {
    from: DataType,
    to: DataType,
    lack: Lack,
}

/// What the new type lacks.
#[derive(Debug, Clone, Copy)]
enum Lack {
    /// Integers of more significant bits than this, up to the highest that is in range.
    LongIntegers { significant: u32, highest: u64 },
    /// Fractions between the two.
    Fractions { above: f64, below: f64 },
    /// All but 0 and 1.
    Numbers,
}

/// What a cast would change.
#[derive(Debug, Default)]
pub(super) struct Inexact {
    /// How many elements.
    pub(super) count: u64,
    /// Why the first of them is refused.
    pub(super) first: Option<Failure>,
}

/// Fails where bytes of booleans are neither 0 nor 1, and hands the tensor back as it was.
pub(super) fn check_booleans(tensor: ManagedTensor, room: &Room) -> Outcome<ManagedTensor> {
    let shared = tensor.into_shared();
    let (alias, _) = in_its_order(ManagedTensor::alias(&shared))?;
    bytes_of(alias, room, |_| Ok(()))?;
    Ok(shared.try_unwrap().unwrap_or_else(|shared| ManagedTensor::alias(&shared)))
}

/// The tensor, a column-major one with its axes in reverse, and whether that is so.
fn in_its_order(tensor: ManagedTensor) -> Outcome<(ManagedTensor, bool)> {
    let is_reversed = !tensor.layout().is_row_major() && tensor.layout().is_column_major();
    if !is_reversed {
        return Ok((tensor, false));
    }
    let axes: Vec<usize> = (0..tensor.shape().len()).rev().collect();
    Ok((tensor.permuted(&axes)?, true))
}

impl Exactness {
    /// The values that a cast from `from` to `to` would change; `None` where there are none.
    pub(super) fn of(from: DataType, to: DataType, overflow: Overflow) -> Option<Self> {
        let numbers = from.is_integer() || from.is_float();
        let lack = if !numbers || from.fits_in(to) {
            return None;
        } else if to == DataType::BOOL {
            Lack::Numbers
        } else if from.is_integer() {
            let (significant, highest) = integers_of(to)?;
            // What is out of range has been refused, or is to be changed.
            let highest = if overflow == Overflow::Refuse { u64::MAX } else { highest };
            Lack::LongIntegers { significant, highest }
        } else if to.is_integer() {
            let (above, below) = fractions_for(to);
            Lack::Fractions { above, below }
        } else {
            return None;
        };
        Some(Self { from, to, lack })
    }

    /// Counts them, and hands the tensor back as it was.
    pub(super) fn count(
        self,
        tensor: ManagedTensor,
        room: &Room,
    ) -> Outcome<(ManagedTensor, Inexact)> {
        let shared = tensor.into_shared();
        let found = self.find(ManagedTensor::alias(&shared), room)?;
        // The alias is gone, so that the tensor has one holder again.
        let tensor = shared.try_unwrap().unwrap_or_else(|shared| ManagedTensor::alias(&shared));
        Ok((tensor, found))
    }

    fn find(self, mut tensor: ManagedTensor, room: &Room) -> Outcome<Inexact> {
        let shape = tensor.shape().to_vec();
        let is_native =
            self.from.is_integer() || matches!(self.from, DataType::F32 | DataType::F64);
        let asked = room.asked();
        if !is_native {
            // Every value of the smaller floats is one of float32.
            let options = asked.options(Options::default().cast(DataType::F32));
            tensor = tensor.convert_to(options)?;
        }
        let (tensor, is_reversed) = in_its_order(tensor)?;
        let data_type = tensor.data_type();
        let (count, first) =
            bytes_of(tensor, room, |bytes| Ok(self.find_in_bytes(bytes, data_type)))?;
        let first = first.map(|(place, value)| {
            let index = if is_reversed { row_major_index(place, &shape) } else { place };
            self.refusal(index, &value)
        });
        Ok(Inexact { count, first })
    }

    /// How many of the elements in these bytes would change, and the place and the value of the first.
    fn find_in_bytes(self, bytes: &[u8], data_type: DataType) -> (u64, Option<(usize, String)>) {
        macro_rules! find {
            ($number:ident, $would_change:expr) => {
                find(bytes, $number::from_ne_bytes, $would_change, |value| value.to_string())
            };
        }
        macro_rules! find_integers {
            ($number:ident, $unsigned:ident, $magnitude:expr) => {
                match self.lack {
                    Lack::LongIntegers { significant, highest } => {
                        let highest = $unsigned::try_from(highest).unwrap_or($unsigned::MAX);
                        let magnitude: fn($number) -> $unsigned = $magnitude;
                        find!($number, |value| {
                            let magnitude = magnitude(value);
                            let lowest_bit = magnitude & magnitude.wrapping_neg();
                            // Not below 2^significant when divided by the power of two in it; for 0 the
                            // right side is the highest number.
                            let is_long =
                                magnitude >> significant > lowest_bit.wrapping_sub(1);
                            is_long & (magnitude <= highest)
                        })
                    }
                    _ => find!($number, |value| (value != 0) & (value != 1)),
                }
            };
        }
        macro_rules! find_floats {
            ($number:ident, $digits:expr) => {
                match self.lack {
                    Lack::Fractions { above, below } => {
                        /// From here on there are no fractions.
                        const WHOLE: $number = (1_u64 << ($digits - 1)) as $number;
                        let (above, below) = (above as $number, below as $number);
                        find!($number, |value: $number| {
                            let magnitude = value.abs();
                            let has_fraction =
                                (magnitude < WHOLE) & ((magnitude + WHOLE) - WHOLE != magnitude);
                            has_fraction & (value > above) & (value < below)
                        })
                    }
                    _ => find!($number, |value| (value != 0.0) & (value != 1.0)),
                }
            };
        }
        match data_type {
            DataType::I8 => find_integers!(i8, u8, i8::unsigned_abs),
            DataType::I16 => find_integers!(i16, u16, i16::unsigned_abs),
            DataType::I32 => find_integers!(i32, u32, i32::unsigned_abs),
            DataType::I64 => find_integers!(i64, u64, i64::unsigned_abs),
            DataType::U8 => find_integers!(u8, u8, |value| value),
            DataType::U16 => find_integers!(u16, u16, |value| value),
            DataType::U32 => find_integers!(u32, u32, |value| value),
            DataType::U64 => find_integers!(u64, u64, |value| value),
            DataType::F64 => find_floats!(f64, f64::MANTISSA_DIGITS),
            _ => find_floats!(f32, f32::MANTISSA_DIGITS),
        }
    }

    fn refusal(self, index: usize, value: &str) -> Failure {
        let Self { from, to, .. } = self;
        let (why, allowed) = match self.lack {
            Lack::LongIntegers { significant, .. } => (
                format!(
                    "{to} has {significant} significant bits: above {} it lacks integers",
                    1_u64 << significant
                ),
                "takes the nearest that it has",
            ),
            Lack::Fractions { .. } => {
                (format!("{to} has no fractions"), "drops what is behind the point")
            }
            Lack::Numbers => ("a bool is 0 or 1".to_owned(), "makes all but 0 true"),
        };
        let wider = from
            .narrowest_holding(&[DataType::F32, DataType::F64])
            .map_or_else(String::new, |wider| format!("cast with --dtype {wider}, or "));
        Failure::new(format!("element {index} is {value}, and {to} has no such value"))
            .why(format!("{why}; the cast is from {from}"))
            .remedy(format!("{wider}allow it with --inexact allow, which {allowed}"))
    }
}

/// How many elements would change, and the place of the first and its text.
fn find<const SIZE: usize, T: Copy>(
    bytes: &[u8],
    read: impl Fn([u8; SIZE]) -> T,
    would_change: impl Fn(T) -> bool,
    show: impl Fn(T) -> String,
) -> (u64, Option<(usize, String)>) {
    let (elements, _) = bytes.as_chunks::<SIZE>();
    let changes = |element: &[u8; SIZE]| would_change(read(*element));
    // Without an early exit the loop can be vectorised; few elements at a time, so that the sum of a
    // block fits a small number.
    let count = elements
        .chunks(1 << 12)
        .map(|block| {
            let count = block.iter().fold(0_u32, |sum, element| sum + u32::from(changes(element)));
            u64::from(count)
        })
        .sum();
    if count == 0 {
        return (0, None);
    }
    let first = elements.iter().position(changes);
    (count, first.map(|place| (place, show(read(elements[place])))))
}

/// The significant bits of a floating-point type, and the highest integer that is in its range.
fn integers_of(data_type: DataType) -> Option<(u32, u64)> {
    use TypeCode as C;
    let bits = if data_type.is_complex() { data_type.bits() / 2 } else { data_type.bits() };
    Some(match (data_type.code(), bits) {
        (C::Float | C::Complex, 16) => (11, 65_504),
        (C::Float | C::Complex, 32) => (24, u64::MAX),
        (C::Float | C::Complex, 64) => (53, u64::MAX),
        (C::BFloat, _) => (8, u64::MAX),
        (C::Float8E3M4, _) => (5, 15),
        (C::Float8E4M3 | C::Float8E4M3Fnuz, _) => (4, 240),
        (C::Float8E4M3B11Fnuz, _) => (4, 30),
        (C::Float8E4M3Fn, _) => (4, 448),
        (C::Float8E5M2 | C::Float8E5M2Fnuz, _) => (3, 57_344),
        (C::Float8E8M0Fnu, _) => (1, u64::MAX),
        _ => return None,
    })
}

/// The bounds of the fractions whose integer part an integer type has.
fn fractions_for(integer: DataType) -> (f64, f64) {
    let bits = i32::from(integer.bits());
    if integer.code() == TypeCode::Int {
        let end = 2_f64.powi(bits - 1);
        (-end - 1.0, end)
    } else {
        (-1.0, 2_f64.powi(bits))
    }
}

/// The row-major index of the element at this place of column-major ones.
fn row_major_index(place: usize, shape: &[usize]) -> usize {
    let mut rest = place;
    let mut index = vec![0; shape.len()];
    for (axis, &extent) in shape.iter().enumerate() {
        index[axis] = rest % extent;
        rest /= extent;
    }
    index.iter().zip(shape).fold(0, |sum, (index, extent)| sum * extent + index)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a value comes back from a cast to `to` as it was.
    fn comes_back(value: i64, to: DataType) -> bool {
        let back = |value: i64| -> arraybridge::Result<i64> {
            let source = ManagedTensor::from_vec(vec![value], &[1])?;
            let cast: ManagedTensor = source.convert_to(Options::default().cast(to))?;
            let options = Options::default().cast(DataType::I64).overflow(Overflow::Wrap);
            let real: ManagedTensor = cast.convert_to(options)?;
            Ok(real.as_slice::<i64>()?[0])
        };
        back(value).is_ok_and(|found| found == value)
    }

    /// Every integer of 13 bits and those around powers of two, against the library's casts.
    #[test]
    fn integers_are_told_exact_as_their_casts_have_them() {
        let around = |power: u32| (-3..=3).map(move |near| (1_i64 << power) + near);
        let mut values: Vec<i64> = (-4200..4200).collect();
        values.extend((12..63).flat_map(around));
        values.extend(
            (12..60).flat_map(|power| [5_i64 << power, 255 << (power - 5), 257 << (power - 6)]),
        );
        values.extend([i64::MAX, i64::MIN, i64::MIN + 1, i64::MAX - 1023]);
        for to in DataType::NAMED.iter().copied().filter(|to| to.is_float()) {
            if to.size_in_bytes().is_none() {
                continue; // nothing is cast to packed elements
            }
            let exactness = Exactness::of(DataType::I64, to, Overflow::Refuse).unwrap();
            for &value in &values {
                let source = ManagedTensor::from_vec(vec![value], &[1]).unwrap();
                let in_range = source.convert_to::<ManagedTensor>(Options::default().cast(to));
                if in_range.is_err() {
                    continue; // it is the overflow rule's
                }
                let (count, _) = exactness.find_in_bytes(&value.to_ne_bytes(), DataType::I64);
                assert_eq!(count == 0, comes_back(value, to), "{value} as {to}");
            }
        }
    }

    #[test]
    fn what_is_out_of_range_is_the_overflow_rules() {
        for (value, to, count) in [
            (449_i64, DataType::F8E4M3FN, 0),
            (447, DataType::F8E4M3FN, 1),
            (70_001, DataType::F16, 0),
            (i64::MAX, DataType::BF16, 1),
        ] {
            let exactness = Exactness::of(DataType::I64, to, Overflow::Saturate).unwrap();
            let found = exactness.find_in_bytes(&value.to_ne_bytes(), DataType::I64).0;
            assert_eq!(found, count, "{value} as {to}");
        }
        let fractions = |value: f64, to| {
            let exactness = Exactness::of(DataType::F64, to, Overflow::Saturate).unwrap();
            exactness.find_in_bytes(&value.to_ne_bytes(), DataType::F64).0
        };
        for (value, to, count) in [
            (255.5, DataType::U8, 1),
            (256.5, DataType::U8, 0),
            (-0.5, DataType::U8, 1),
            (-1.5, DataType::U8, 0),
            (-128.5, DataType::I8, 1),
            (-129.5, DataType::I8, 0),
            (f64::NAN, DataType::I8, 0),
            (f64::INFINITY, DataType::I8, 0),
            (4_503_599_627_370_495.5, DataType::I64, 1),
            (1e300, DataType::I64, 0),
            (-0.0, DataType::I64, 0),
            (f64::MIN_POSITIVE, DataType::I64, 1),
        ] {
            assert_eq!(fractions(value, to), count, "{value} as {to}");
        }
    }

    #[test]
    fn places_become_row_major_indices() {
        // Of shape [2, 3], column-major: (0, 0), (1, 0), (0, 1), (1, 1), ...
        let indices: Vec<usize> = (0..6).map(|place| row_major_index(place, &[2, 3])).collect();
        assert_eq!(indices, [0, 3, 1, 4, 2, 5]);
    }
}
