//! Element types: what one element of a tensor is.

mod names;
mod type_code;
mod widening;

pub use type_code::TypeCode;

/// The type of one element: a DLPack dtype of code, bits and lanes.
///
/// A plain number has one lane. Several lanes make a vector element, such as torch's
/// `float4_e2m1fn_x2`, which is 4 bits × 2 lanes. Types are printed and parsed in the array
/// API's long form (`float32`) and in the short form (`f32`):
///
/// ```
/// use bridge_tensor::DataType;
///
/// let half: DataType = "f16".parse()?;
/// assert_eq!(half, DataType::F16);
/// assert_eq!(half.to_string(), "float16");
/// assert_eq!(half.short_name(), "f16");
/// assert_eq!(half.size_in_bytes(), Some(2));
/// # Ok::<(), bridge_tensor::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DataType {
    code: TypeCode,
    bits: u8,
    lanes: u16,
}

/// Why there is no such element type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DataTypeError {
    /// The text names no element type.
    #[error(
        "\"{asked}\" is not a data type: write it as in float32 or f32, int64 or i64, bfloat16, \
         bool, complex64, float8_e4m3fn"
    )]
    Unknown {
        /// The text that was read.
        asked: String,
    },

    /// DLPack has no such element type.
    #[error("no data type has code {code}, {bits} bits and {lanes} lanes: {reason}")]
    Invalid {
        /// DLPack's type code.
        code: u8,
        /// Bits of a lane.
        bits: u8,
        /// Lanes.
        lanes: u16,
        /// What is wrong with it.
        reason: String,
    },
}

macro_rules! named_types {
    ($($(#[$doc:meta])* $name:ident = ($code:ident, $bits:expr);)*) => {
        impl DataType {
            $($(#[$doc])* pub const $name: Self = Self::scalar(TypeCode::$code, $bits);)*

            /// Every type that has a constant here, in DLPack's order of codes.
            pub const NAMED: &[Self] = &[$(Self::$name),*];
        }
    };
}

named_types! {
    /// 8-bit signed integer.
    I8 = (Int, 8);
    /// 16-bit signed integer.
    I16 = (Int, 16);
    /// 32-bit signed integer.
    I32 = (Int, 32);
    /// 64-bit signed integer.
    I64 = (Int, 64);
    /// 8-bit unsigned integer.
    U8 = (UInt, 8);
    /// 16-bit unsigned integer.
    U16 = (UInt, 16);
    /// 32-bit unsigned integer.
    U32 = (UInt, 32);
    /// 64-bit unsigned integer.
    U64 = (UInt, 64);
    /// IEEE half precision.
    F16 = (Float, 16);
    /// IEEE single precision.
    F32 = (Float, 32);
    /// IEEE double precision.
    F64 = (Float, 64);
    /// bfloat16.
    BF16 = (BFloat, 16);
    /// Two half-precision floats.
    C32 = (Complex, 32);
    /// Two single-precision floats.
    C64 = (Complex, 64);
    /// Two double-precision floats.
    C128 = (Complex, 128);
    /// Boolean in one byte.
    BOOL = (Bool, 8);
    /// 8-bit float e3m4.
    F8E3M4 = (Float8E3M4, 8);
    /// 8-bit float e4m3 with infinities.
    F8E4M3 = (Float8E4M3, 8);
    /// 8-bit float e4m3b11fnuz.
    F8E4M3B11FNUZ = (Float8E4M3B11Fnuz, 8);
    /// 8-bit float e4m3fn, largest value 448: what torch and candle call e4m3.
    F8E4M3FN = (Float8E4M3Fn, 8);
    /// 8-bit float e4m3fnuz.
    F8E4M3FNUZ = (Float8E4M3Fnuz, 8);
    /// 8-bit float e5m2.
    F8E5M2 = (Float8E5M2, 8);
    /// 8-bit float e5m2fnuz.
    F8E5M2FNUZ = (Float8E5M2Fnuz, 8);
    /// 8-bit power-of-two scale.
    F8E8M0FNU = (Float8E8M0Fnu, 8);
    /// 6-bit float e2m3fn.
    F6E2M3FN = (Float6E2M3Fn, 6);
    /// 6-bit float e3m2fn.
    F6E3M2FN = (Float6E3M2Fn, 6);
    /// 4-bit float e2m1fn.
    F4E2M1FN = (Float4E2M1Fn, 4);
}

impl DataType {
    /// Two [`F4E2M1FN`](Self::F4E2M1FN) in one byte, as one element: torch's `float4_e2m1fn_x2`.
    pub const F4E2M1FN_X2: Self = Self { lanes: 2, ..Self::F4E2M1FN };

    const fn scalar(code: TypeCode, bits: u8) -> Self {
        Self { code, bits, lanes: 1 }
    }

    /// Makes a type from its DLPack parts.
    ///
    /// # Errors
    ///
    /// [`DataTypeError::Invalid`] where `bits` or `lanes` is zero, or where DLPack gives the code
    /// another width (a 32-bit bool, say).
    #[inline]
    pub fn new(code: TypeCode, bits: u8, lanes: u16) -> Result<Self, DataTypeError> {
        let fits = match code.fixed_bits() {
            Some(fixed) => fixed == bits,
            None => bits != 0 && (code != TypeCode::Complex || bits.is_multiple_of(2)),
        };
        match fits && lanes != 0 {
            true => Ok(Self { code, bits, lanes }),
            false => Err(impossible(code, bits, lanes)),
        }
    }

    /// Makes a type from DLPack's raw numbers, as they come over a C interface.
    ///
    /// # Errors
    ///
    /// [`DataTypeError::Invalid`] as [`new`](Self::new), and for a code DLPack 1.3 does not have.
    #[inline]
    pub fn from_dlpack(code: u8, bits: u8, lanes: u16) -> Result<Self, DataTypeError> {
        match TypeCode::from_dlpack(code) {
            Some(known) => Self::new(known, bits, lanes),
            None => Err(DataTypeError::Invalid {
                code,
                bits,
                lanes,
                reason: "DLPack 1.3 has codes 0 to 17".to_owned(),
            }),
        }
    }

    /// The kind of number.
    pub const fn code(self) -> TypeCode {
        self.code
    }

    /// Bits of one lane.
    pub const fn bits(self) -> u8 {
        self.bits
    }

    /// Lanes of one element; 1 for a plain number.
    pub const fn lanes(self) -> u16 {
        self.lanes
    }

    /// The same type with `lanes` lanes.
    ///
    /// # Errors
    ///
    /// [`DataTypeError::Invalid`] where `lanes` is zero.
    pub fn with_lanes(self, lanes: u16) -> Result<Self, DataTypeError> {
        Self::new(self.code, self.bits, lanes)
    }

    /// Bits of one element: bits × lanes.
    #[inline]
    pub const fn size_in_bits(self) -> usize {
        self.bits as usize * self.lanes as usize
    }

    /// Bytes of one element, or `None` where elements do not begin and end with bytes (packed 4-bit
    /// and 6-bit floats).
    #[inline]
    pub const fn size_in_bytes(self) -> Option<usize> {
        let bits = self.size_in_bits();
        if bits.is_multiple_of(8) { Some(bits / 8) } else { None }
    }

    /// Bytes that `count` packed elements take, the last byte counted whole; `None` where the
    /// number does not fit a `usize`.
    #[inline]
    pub const fn bytes_for(self, count: usize) -> Option<usize> {
        match self.size_in_bytes() {
            Some(size) => count.checked_mul(size),
            None => match count.checked_mul(self.size_in_bits()) {
                Some(bits) => Some(bits.div_ceil(8)),
                None => None,
            },
        }
    }

    /// The alignment in bytes that the matching Rust or C type needs: that of one lane, and of
    /// one part for complex numbers. Types without such a match need 1.
    #[inline]
    pub const fn alignment(self) -> usize {
        let bits = match self.code {
            TypeCode::Complex => self.bits as usize / 2,
            _ => self.bits as usize,
        };
        match bits {
            16 => 2,
            32 => 4,
            64 => 8,
            128 => 16,
            _ => 1,
        }
    }

    /// Whether elements are real floating-point numbers, bfloat16 and the small floats included.
    pub const fn is_float(self) -> bool {
        !matches!(
            self.code,
            TypeCode::Int | TypeCode::UInt | TypeCode::Opaque | TypeCode::Complex | TypeCode::Bool
        )
    }

    /// Whether elements are signed or unsigned integers; a bool is not.
    pub const fn is_integer(self) -> bool {
        matches!(self.code, TypeCode::Int | TypeCode::UInt)
    }

    /// Whether elements are complex numbers.
    pub const fn is_complex(self) -> bool {
        matches!(self.code, TypeCode::Complex)
    }
}

/// Why DLPack has no such type.
#[cold]
fn impossible(code: TypeCode, bits: u8, lanes: u16) -> DataTypeError {
    let reason = match code.fixed_bits() {
        _ if bits == 0 => "an element of zero bits holds nothing".to_owned(),
        _ if lanes == 0 => "an element needs at least one lane".to_owned(),
        Some(fixed) => format!("{} has {fixed} bits", code.stem()),
        None => "a complex number has two parts of equal width".to_owned(),
    };
    DataTypeError::Invalid { code: code as u8, bits, lanes, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_named_type_prints_and_parses_in_both_forms() {
        for &data_type in DataType::NAMED {
            assert_eq!(data_type.to_string().parse::<DataType>().unwrap(), data_type);
            assert_eq!(data_type.short_name().parse::<DataType>().unwrap(), data_type);
        }
        let pair = DataType::F4E2M1FN.with_lanes(2).unwrap();
        assert_eq!(pair, DataType::F4E2M1FN_X2);
        assert_eq!(pair.to_string(), "float4_e2m1fn_x2");
        assert_eq!("f4e2m1fn_x2".parse::<DataType>().unwrap(), pair);
        assert_eq!(pair.size_in_bytes(), Some(1));
    }

    #[test]
    fn the_codes_are_dlpacks() {
        let codes = |names: &[DataType]| -> Vec<u8> {
            names.iter().map(|data_type| data_type.code() as u8).collect()
        };
        use DataType as D;
        assert_eq!(codes(&[D::I8, D::U8, D::F32, D::BF16, D::C64, D::BOOL]), [0, 1, 2, 4, 5, 6]);
        assert_eq!(codes(&[D::F8E4M3FN, D::F8E5M2, D::F8E8M0FNU, D::F4E2M1FN]), [10, 12, 14, 17]);
        assert!(DataType::from_dlpack(18, 8, 1).is_err());
    }

    #[test]
    fn impossible_types_are_refused() {
        for (code, bits, lanes) in [(0, 0, 1), (0, 8, 0), (6, 1, 1), (5, 63, 1), (4, 32, 1)] {
            assert!(DataType::from_dlpack(code, bits, lanes).is_err(), "{code} {bits} {lanes}");
        }
        for text in [
            "",
            "float",
            "float8",
            "int4",
            "f3x",
            "int9999",
            "object",
            "float32_x",
            "float32_x0",
            "i",
            "32",
        ] {
            assert!(text.parse::<DataType>().is_err(), "{text}");
        }
    }

    #[test]
    fn widening_never_changes_a_value() {
        use DataType as D;
        let fits = [
            (D::U8, D::F16),
            (D::BOOL, D::U8),
            (D::BF16, D::F32),
            (D::F16, D::F32),
            (D::F8E4M3FN, D::F16),
            (D::F8E5M2, D::F16),
            (D::F32, D::C64),
            (D::U32, D::F64),
            (D::F8E4M3FN, D::BF16),
            (D::F4E2M1FN, D::F8E4M3FN),
        ];
        for (narrow, wide) in fits {
            assert!(narrow.fits_in(wide), "{narrow} in {wide}");
            assert!(!wide.fits_in(narrow), "{wide} in {narrow}");
        }
        for (from, to) in [
            (D::U8, D::I8),
            (D::F16, D::BF16),
            (D::I64, D::F64),
            (D::F8E4M3, D::F8E4M3FN),
            (D::BOOL, D::F8E8M0FNU),
        ] {
            assert!(!from.fits_in(to), "{from} in {to}");
        }
        assert_eq!(D::U16.narrowest_holding(&[D::F32, D::I64, D::U32]), Some(D::U32));
        assert_eq!(D::C64.narrowest_holding(&[D::F64]), None);
    }

    #[test]
    fn packed_elements_share_bytes() {
        assert_eq!(DataType::F4E2M1FN.bytes_for(5), Some(3));
        assert_eq!(DataType::F6E2M3FN.bytes_for(4), Some(3));
        assert_eq!(DataType::F64.bytes_for(usize::MAX), None);
        assert_eq!(DataType::F6E3M2FN.size_in_bytes(), None);
    }
}
