//! What numbers an element type is made of, as far as casts are concerned.

use bridge_core::{DataType, TypeCode};

use crate::small_floats::{self as small, SmallFloat, Table};

/// The numbers that the processor computes with. Casts go from one of them to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Native {
    I8,
    I16,
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
    F32,
    F64,
}

/// One number as it lies in memory.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part {
    Native(Native),
    Bool,
    F16,
    BF16,
    /// An 8-bit float, or the code of a narrower one in a byte of its own.
    Small(SmallFloat, &'static Table),
    /// An 8-bit power of two.
    Scale(&'static Table),
}

/// An element: one number, or two of a complex number.
#[derive(Debug, Clone, Copy)]
pub(super) struct Numbers {
    pub(super) part: Part,
    pub(super) complex: bool,
}

macro_rules! tables {
    ($($name:ident)*) => {
        $(static $name: Table = small::$name.table();)*
    };
}
tables! { F8E3M4 F8E4M3 F8E4M3B11FNUZ F8E4M3FN F8E4M3FNUZ F8E5M2 F8E5M2FNUZ F6E2M3FN F6E3M2FN F4E2M1FN }
static SCALES: Table = small::scale_table();

impl Numbers {
    /// The numbers of an element, or `None` where there are none: opaque elements, several lanes,
    /// widths without arithmetic. Packed elements count as unpacked ones.
    pub(super) fn of(data_type: DataType) -> Option<Self> {
        use TypeCode as C;
        if data_type.lanes() != 1 {
            return None;
        }
        let complex = data_type.is_complex();
        let bits = if complex { data_type.bits() / 2 } else { data_type.bits() };
        let part = match (data_type.code(), bits) {
            (C::Bool, 8) => Part::Bool,
            (C::Int, 8) => Part::Native(Native::I8),
            (C::Int, 16) => Part::Native(Native::I16),
            (C::Int, 32) => Part::Native(Native::I32),
            (C::Int, 64) => Part::Native(Native::I64),
            (C::UInt, 8) => Part::Native(Native::U8),
            (C::UInt, 16) => Part::Native(Native::U16),
            (C::UInt, 32) => Part::Native(Native::U32),
            (C::UInt, 64) => Part::Native(Native::U64),
            (C::Float | C::Complex, 16) => Part::F16,
            (C::Float | C::Complex, 32) => Part::Native(Native::F32),
            (C::Float | C::Complex, 64) => Part::Native(Native::F64),
            (C::BFloat, 16) => Part::BF16,
            (C::Float8E3M4, _) => Part::Small(small::F8E3M4, &F8E3M4),
            (C::Float8E4M3, _) => Part::Small(small::F8E4M3, &F8E4M3),
            (C::Float8E4M3B11Fnuz, _) => Part::Small(small::F8E4M3B11FNUZ, &F8E4M3B11FNUZ),
            (C::Float8E4M3Fn, _) => Part::Small(small::F8E4M3FN, &F8E4M3FN),
            (C::Float8E4M3Fnuz, _) => Part::Small(small::F8E4M3FNUZ, &F8E4M3FNUZ),
            (C::Float8E5M2, _) => Part::Small(small::F8E5M2, &F8E5M2),
            (C::Float8E5M2Fnuz, _) => Part::Small(small::F8E5M2FNUZ, &F8E5M2FNUZ),
            (C::Float8E8M0Fnu, _) => Part::Scale(&SCALES),
            (C::Float6E2M3Fn, _) => Part::Small(small::F6E2M3FN, &F6E2M3FN),
            (C::Float6E3M2Fn, _) => Part::Small(small::F6E3M2FN, &F6E3M2FN),
            (C::Float4E2M1Fn, _) => Part::Small(small::F4E2M1FN, &F4E2M1FN),
            _ => return None,
        };
        Some(Self { part, complex })
    }

    /// How many numbers an element has.
    pub(super) fn parts(self) -> usize {
        if self.complex { 2 } else { 1 }
    }

    /// Bytes of an element.
    pub(super) fn size(self) -> usize {
        self.parts() * self.part.size()
    }
}

impl Part {
    /// Bytes of the number.
    pub(super) fn size(self) -> usize {
        match self {
            Self::Native(native) => native.size(),
            Self::F16 | Self::BF16 => 2,
            Self::Bool | Self::Small(..) | Self::Scale(_) => 1,
        }
    }

    pub(super) fn is_float(self) -> bool {
        match self {
            Self::Native(native) => native.is_float(),
            Self::Bool => false,
            Self::F16 | Self::BF16 | Self::Small(..) | Self::Scale(_) => true,
        }
    }

    /// The number that the processor computes with in its place, exactly.
    pub(super) fn native(self) -> Native {
        match self {
            Self::Native(native) => native,
            Self::Bool => Native::U8,
            Self::F16 | Self::BF16 | Self::Small(..) | Self::Scale(_) => Native::F32,
        }
    }
}

impl Native {
    /// Bytes of the number.
    pub(super) fn size(self) -> usize {
        match self {
            Self::I8 | Self::U8 => 1,
            Self::I16 | Self::U16 => 2,
            Self::I32 | Self::U32 | Self::F32 => 4,
            Self::I64 | Self::U64 | Self::F64 => 8,
        }
    }

    pub(super) fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F64)
    }

    /// The smallest and the largest value of an integer; `None` for floats.
    pub(super) fn range(self) -> Option<(i128, i128)> {
        Some(match self {
            Self::I8 => (i8::MIN.into(), i8::MAX.into()),
            Self::I16 => (i16::MIN.into(), i16::MAX.into()),
            Self::I32 => (i32::MIN.into(), i32::MAX.into()),
            Self::I64 => (i64::MIN.into(), i64::MAX.into()),
            Self::U8 => (0, u8::MAX.into()),
            Self::U16 => (0, u16::MAX.into()),
            Self::U32 => (0, u32::MAX.into()),
            Self::U64 => (0, u64::MAX.into()),
            Self::F32 | Self::F64 => return None,
        })
    }
}
