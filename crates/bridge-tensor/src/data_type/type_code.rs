//! DLPack's type codes.

/// The kind of number a [`DataType`](crate::DataType) holds: DLPack 1.3's type codes.
///
/// The numeric value is DLPack's `DLDataTypeCode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
#[non_exhaustive]
pub enum TypeCode {
    /// Signed integer.
    Int = 0,
    /// Unsigned integer.
    UInt = 1,
    /// IEEE 754 binary floating point.
    Float = 2,
    /// Opaque handle; its meaning is agreed between two frameworks.
    Opaque = 3,
    /// bfloat16: the upper half of a float32.
    BFloat = 4,
    /// Complex number: real part, then imaginary part.
    Complex = 5,
    /// Boolean, one byte, 0 or 1.
    Bool = 6,
    /// 8-bit float: 3 exponent bits, 4 mantissa bits.
    Float8E3M4 = 7,
    /// 8-bit float: 4 exponent bits, 3 mantissa bits, IEEE infinities.
    Float8E4M3 = 8,
    /// 8-bit float: as `Float8E4M3Fnuz`, exponent bias 11.
    Float8E4M3B11Fnuz = 9,
    /// 8-bit float: finite only, one NaN a sign, largest value 448.
    Float8E4M3Fn = 10,
    /// 8-bit float: finite only, one NaN, no negative zero.
    Float8E4M3Fnuz = 11,
    /// 8-bit float: 5 exponent bits, 2 mantissa bits, IEEE infinities.
    Float8E5M2 = 12,
    /// 8-bit float: as `Float8E5M2`, finite only, one NaN, no negative zero.
    Float8E5M2Fnuz = 13,
    /// 8-bit scale: a power of two, no sign, no zero.
    Float8E8M0Fnu = 14,
    /// 6-bit float: 2 exponent bits, 3 mantissa bits.
    Float6E2M3Fn = 15,
    /// 6-bit float: 3 exponent bits, 2 mantissa bits.
    Float6E3M2Fn = 16,
    /// 4-bit float: 2 exponent bits, 1 mantissa bit.
    Float4E2M1Fn = 17,
}

impl TypeCode {
    pub(super) const ALL: [Self; 18] = [
        Self::Int,
        Self::UInt,
        Self::Float,
        Self::Opaque,
        Self::BFloat,
        Self::Complex,
        Self::Bool,
        Self::Float8E3M4,
        Self::Float8E4M3,
        Self::Float8E4M3B11Fnuz,
        Self::Float8E4M3Fn,
        Self::Float8E4M3Fnuz,
        Self::Float8E5M2,
        Self::Float8E5M2Fnuz,
        Self::Float8E8M0Fnu,
        Self::Float6E2M3Fn,
        Self::Float6E3M2Fn,
        Self::Float4E2M1Fn,
    ];

    /// The code with DLPack's number `code`, or `None` where DLPack 1.3 has none.
    pub const fn from_dlpack(code: u8) -> Option<Self> {
        if (code as usize) < Self::ALL.len() { Some(Self::ALL[code as usize]) } else { None }
    }

    /// The one width DLPack gives this code, or `None` where the code comes in several widths.
    pub(super) const fn fixed_bits(self) -> Option<u8> {
        match self {
            Self::BFloat => Some(16),
            Self::Bool
            | Self::Float8E3M4
            | Self::Float8E4M3
            | Self::Float8E4M3B11Fnuz
            | Self::Float8E4M3Fn
            | Self::Float8E4M3Fnuz
            | Self::Float8E5M2
            | Self::Float8E5M2Fnuz
            | Self::Float8E8M0Fnu => Some(8),
            Self::Float6E2M3Fn | Self::Float6E3M2Fn => Some(6),
            Self::Float4E2M1Fn => Some(4),
            Self::Int | Self::UInt | Self::Float | Self::Opaque | Self::Complex => None,
        }
    }

    pub(super) const fn stem(self) -> &'static str {
        match self {
            Self::Int => "int",
            Self::UInt => "uint",
            Self::Float => "float",
            Self::Opaque => "opaque",
            Self::BFloat => "bfloat16",
            Self::Complex => "complex",
            Self::Bool => "bool",
            Self::Float8E3M4 => "float8_e3m4",
            Self::Float8E4M3 => "float8_e4m3",
            Self::Float8E4M3B11Fnuz => "float8_e4m3b11fnuz",
            Self::Float8E4M3Fn => "float8_e4m3fn",
            Self::Float8E4M3Fnuz => "float8_e4m3fnuz",
            Self::Float8E5M2 => "float8_e5m2",
            Self::Float8E5M2Fnuz => "float8_e5m2fnuz",
            Self::Float8E8M0Fnu => "float8_e8m0fnu",
            Self::Float6E2M3Fn => "float6_e2m3fn",
            Self::Float6E3M2Fn => "float6_e3m2fn",
            Self::Float4E2M1Fn => "float4_e2m1fn",
        }
    }

    /// How the short name starts: `f` in `f32`. Codes of one width have a whole short name.
    pub(super) const fn short_stem(self) -> &'static str {
        match self {
            Self::Int => "i",
            Self::UInt => "u",
            Self::Float => "f",
            Self::Opaque => "opaque",
            Self::BFloat => "bf16",
            Self::Complex => "c",
            Self::Bool => "bool",
            Self::Float8E3M4 => "f8e3m4",
            Self::Float8E4M3 => "f8e4m3",
            Self::Float8E4M3B11Fnuz => "f8e4m3b11fnuz",
            Self::Float8E4M3Fn => "f8e4m3fn",
            Self::Float8E4M3Fnuz => "f8e4m3fnuz",
            Self::Float8E5M2 => "f8e5m2",
            Self::Float8E5M2Fnuz => "f8e5m2fnuz",
            Self::Float8E8M0Fnu => "f8e8m0fnu",
            Self::Float6E2M3Fn => "f6e2m3fn",
            Self::Float6E3M2Fn => "f6e3m2fn",
            Self::Float4E2M1Fn => "f4e2m1fn",
        }
    }
}
