//! Element values: bit patterns that survive nothing but an exact copy, and small numbers that
//! every number type holds exactly.

use bridge_core::{DataType, TypeCode};

/// The bytes of the value in memory slot `slot` of a sample. Booleans are 0 or 1; floats begin with
/// zero, a signalling NaN with a payload, and a value of all bits set; the rest is pseudo-random.
pub(crate) fn pattern(data_type: DataType, slot: usize) -> Vec<u8> {
    let size = data_type.size_in_bytes().unwrap_or(1);
    if data_type.code() == TypeCode::Bool {
        return vec![u8::from(scrambled(slot) & 4 != 0)];
    }
    let special = match (slot % 7, float_format(data_type)) {
        (1, _) => Some(u128::MAX),
        (2, Some(format)) => Some((((1 << format.exponent) - 1) << format.mantissa) | 1),
        (3, _) => Some(0),
        _ => None,
    };
    if let Some(bits) = special {
        return number_bytes(bits, size);
    }
    let mut bytes = Vec::with_capacity(size);
    for word in 0..size.div_ceil(8) {
        bytes.extend_from_slice(&scrambled(slot * 4 + word).to_ne_bytes());
    }
    bytes.truncate(size);
    bytes
}

/// The bytes of the number `n`, 0 to 3, in a type that holds it exactly; booleans hold 0 and 1.
/// `None` for types without these numbers and for packed ones.
pub fn small_number(data_type: DataType, n: u8) -> Option<Vec<u8>> {
    let size = data_type.size_in_bytes()?;
    if n > 3 || data_type.lanes() != 1 {
        return None;
    }
    match data_type.code() {
        TypeCode::Bool => (n < 2).then(|| vec![n]),
        TypeCode::Int | TypeCode::UInt => Some(number_bytes(u128::from(n), size)),
        TypeCode::Complex => {
            let part = DataType::new(TypeCode::Float, data_type.bits() / 2, 1).ok()?;
            let mut bytes = small_number(part, n)?;
            bytes.resize(size, 0);
            Some(bytes)
        }
        _ => {
            let format = float_format(data_type)?;
            let bits = match n {
                0 => 0,
                1 => format.bias << format.mantissa,
                2 => (format.bias + 1) << format.mantissa,
                _ => ((format.bias + 1) << format.mantissa) | (1 << (format.mantissa - 1)),
            };
            Some(number_bytes(bits, size))
        }
    }
}

/// Bits of exponent and mantissa, and the exponent's bias.
struct FloatFormat {
    exponent: u32,
    mantissa: u32,
    bias: u128,
}

fn float_format(data_type: DataType) -> Option<FloatFormat> {
    let (exponent, mantissa, bias) = match (data_type.code(), data_type.bits()) {
        (TypeCode::Float, 16) => (5, 10, 15),
        (TypeCode::Float, 32) => (8, 23, 127),
        (TypeCode::Float, 64) => (11, 52, 1023),
        (TypeCode::BFloat, 16) => (8, 7, 127),
        (TypeCode::Float8E3M4, 8) => (3, 4, 3),
        (TypeCode::Float8E4M3 | TypeCode::Float8E4M3Fn, 8) => (4, 3, 7),
        (TypeCode::Float8E4M3Fnuz, 8) => (4, 3, 8),
        (TypeCode::Float8E4M3B11Fnuz, 8) => (4, 3, 11),
        (TypeCode::Float8E5M2, 8) => (5, 2, 15),
        (TypeCode::Float8E5M2Fnuz, 8) => (5, 2, 16),
        _ => return None,
    };
    Some(FloatFormat { exponent, mantissa, bias })
}

fn number_bytes(bits: u128, size: usize) -> Vec<u8> {
    let mut bytes = bits.to_le_bytes().to_vec();
    bytes.resize(bytes.len().max(size), 0xff);
    bytes.truncate(size);
    if cfg!(target_endian = "big") {
        bytes.reverse();
    }
    bytes
}

/// The output of SplitMix64.
fn scrambled(seed: usize) -> u64 {
    let mut state = (seed as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_numbers_are_rusts_own() {
        for n in 0..4_u8 {
            assert_eq!(small_number(DataType::F32, n).unwrap(), f32::from(n).to_ne_bytes());
            assert_eq!(small_number(DataType::F64, n).unwrap(), f64::from(n).to_ne_bytes());
            assert_eq!(small_number(DataType::I16, n).unwrap(), i16::from(n).to_ne_bytes());
        }
        assert_eq!(small_number(DataType::BOOL, 2), None);
    }

    #[test]
    fn the_patterns_of_floats_have_a_payload() {
        let bits = u32::from_ne_bytes(pattern(DataType::F32, 2).try_into().unwrap());
        assert!(f32::from_bits(bits).is_nan());
        assert_eq!(bits, 0x7f80_0001);
    }
}
