//! The numbers that kernels compute with, and which values of one fit another.

use bridge_core::{DataType, TypeCode};

/// A number as it lies in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Number {
    Integer { bits: u32, signed: bool },
    Bool,
    F16,
    BF16,
    F32,
    F64,
}

impl Number {
    /// The number that an element is; `None` for those that kernels do not compute with.
    pub(super) fn of(data_type: DataType) -> Option<Self> {
        let bits = u32::from(data_type.bits());
        let whole = matches!(bits, 8 | 16 | 32 | 64);
        match data_type.code() {
            _ if data_type.lanes() != 1 => None,
            TypeCode::Int if whole => Some(Self::Integer { bits, signed: true }),
            TypeCode::UInt if whole => Some(Self::Integer { bits, signed: false }),
            TypeCode::Bool => Some(Self::Bool),
            TypeCode::BFloat => Some(Self::BF16),
            TypeCode::Float if bits == 16 => Some(Self::F16),
            TypeCode::Float if bits == 32 => Some(Self::F32),
            TypeCode::Float if bits == 64 => Some(Self::F64),
            _ => None,
        }
    }

    /// OpenCL C's type of the number in memory.
    pub(super) fn stored(self) -> &'static str {
        match self {
            Self::Integer { bits: 8, signed: true } => "char",
            Self::Integer { bits: 16, signed: true } => "short",
            Self::Integer { bits: 32, signed: true } => "int",
            Self::Integer { signed: true, .. } => "long",
            Self::Integer { bits: 8, .. } | Self::Bool => "uchar",
            Self::Integer { bits: 16, .. } | Self::F16 | Self::BF16 => "ushort",
            Self::Integer { bits: 32, .. } => "uint",
            Self::Integer { .. } => "ulong",
            Self::F32 => "float",
            Self::F64 => "double",
        }
    }

    /// The number that is computed with in its place, exactly.
    pub(super) fn computed(self) -> Self {
        match self {
            Self::Bool => Self::Integer { bits: 8, signed: false },
            Self::F16 | Self::BF16 => Self::F32,
            other => other,
        }
    }

    /// The smallest and the largest integer; `None` for floats.
    pub(super) fn range(self) -> Option<(i128, i128)> {
        match self {
            Self::Integer { bits, signed: true } => {
                Some((-(1 << (bits - 1)), (1 << (bits - 1)) - 1))
            }
            Self::Integer { bits, signed: false } => Some((0, (1 << bits) - 1)),
            Self::Bool => Some((0, 1)),
            _ => None,
        }
    }
}

/// An integer as a constant of OpenCL C, in an integer type that holds it.
pub(super) fn literal(value: i128, of: Number) -> String {
    let stored = of.stored();
    if value == i64::MIN.into() {
        return format!("(({stored})(-{}L - 1L))", i64::MAX);
    }
    let suffix = if value > i64::MAX.into() { "UL" } else { "L" };
    format!("(({stored})({value}{suffix}))")
}

/// The interval of floats whose integer part lies between `low` and `high`, bounds included, as
/// constants of OpenCL C.
pub(super) fn floats_with_integer_part_in(wide: bool, low: i128, high: i128) -> (String, String) {
    // `high + 1` is a power of two and exact; the next float below it is the last that fits.
    // `low - 1` may be inexact, and then rounds to `low`, which fits.
    let (below, above) = (low - 1, high + 1);
    if wide {
        let exact = below as f64 as i128 == below;
        let lowest = if exact { (below as f64).next_up() } else { low as f64 };
        (f64_literal(lowest), f64_literal((above as f64).next_down()))
    } else {
        let exact = below as f32 as i128 == below;
        let lowest = if exact { (below as f32).next_up() } else { low as f32 };
        (f32_literal(lowest), f32_literal((above as f32).next_down()))
    }
}

pub(super) fn f32_literal(value: f32) -> String {
    format!("as_float({:#010x}u)", value.to_bits())
}

pub(super) fn f64_literal(value: f64) -> String {
    format!("as_double({:#018x}UL)", value.to_bits())
}
