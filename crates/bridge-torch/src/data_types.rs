//! torch's element types and DLPack's.

use bridge_core::{DataType, Error, Result};

macro_rules! data_types {
    ($($name:ident = $number:literal,)*) => {
        /// Every element type that torch can be handed.
        pub(crate) const DATA_TYPES: &[DataType] = &[$(DataType::$name),*];

        /// torch's number for an element type, as in `c10::ScalarType`.
        #[inline]
        pub(crate) fn scalar_type_of(data_type: DataType) -> Option<i32> {
            match data_type {
                $(DataType::$name => Some($number),)*
                _ => None,
            }
        }

        #[inline]
        fn known(scalar_type: i32) -> Option<DataType> {
            match scalar_type {
                $($number => Some(DataType::$name),)*
                _ => None,
            }
        }
    };
}

// Those that tch's `Kind` lacks (27 to 29, 44, 45) pass as well: they are asked for by number only.
data_types! {
    F32 = 6,
    F64 = 7,
    I64 = 4,
    I32 = 3,
    U8 = 0,
    BOOL = 11,
    F16 = 5,
    BF16 = 15,
    I8 = 1,
    I16 = 2,
    U16 = 27,
    U32 = 28,
    U64 = 29,
    C32 = 8,
    C64 = 9,
    C128 = 10,
    F8E5M2 = 23,
    F8E4M3FN = 24,
    F8E5M2FNUZ = 25,
    F8E4M3FNUZ = 26,
    F8E8M0FNU = 44,
    F4E2M1FN_X2 = 45,
}

/// The DLPack type with exactly torch's values.
///
/// # Errors
///
/// [`Error::Unsupported`] for types that DLPack lacks: bits, quantized numbers, integers
/// of fewer than 8 bits.
#[inline]
pub(crate) fn data_type_of(scalar_type: i32) -> Result<DataType> {
    known(scalar_type).ok_or_else(|| Error::Unsupported {
        what: format!("torch's element type number {scalar_type}, of bits or parts of a byte,"),
        remedy: "view it as bytes in torch first, with view_dtype(Kind::Uint8)".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_lead_there_and_back() {
        for &data_type in DATA_TYPES {
            let number = scalar_type_of(data_type).unwrap();
            assert_eq!(data_type_of(number).unwrap(), data_type);
        }
    }

    #[test]
    fn types_that_dlpack_lacks_are_errors() {
        for number in [12, 16, 18, 22, 30, 43, 46, -1] {
            let text = data_type_of(number).unwrap_err().to_string();
            assert!(text.contains("view_dtype"), "{text}");
        }
        assert_eq!(data_type_of(45).unwrap().to_string(), "float4_e2m1fn_x2");
    }
}
