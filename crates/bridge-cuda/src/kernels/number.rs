//! The numbers that an element consists of, for the casting kernels.

use bridge_core::{DataType, TypeCode};

/// One number; kinds are numbered as `Kind` of arithmetic.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Number {
    pub(crate) kind: u32,
    /// Its bits in memory.
    pub(crate) bits: usize,
    /// How many an element has: two where it is complex.
    pub(crate) parts: usize,
}

impl Number {
    /// The numbers of an element; `None` where the kernels know none.
    pub(crate) fn of(data_type: DataType) -> Option<Self> {
        use TypeCode as C;
        if data_type.lanes() != 1 {
            return None;
        }
        let parts = if data_type.is_complex() { 2 } else { 1 };
        let bits = usize::from(data_type.bits()) / parts;
        let kind = match (data_type.code(), bits) {
            (C::Bool, 8) => 0,
            (C::Int, 8) => 1,
            (C::Int, 16) => 2,
            (C::Int, 32) => 3,
            (C::Int, 64) => 4,
            (C::UInt, 8) => 5,
            (C::UInt, 16) => 6,
            (C::UInt, 32) => 7,
            (C::UInt, 64) => 8,
            (C::Float | C::Complex, 16) => 9,
            (C::BFloat, 16) => 10,
            (C::Float | C::Complex, 32) => 11,
            (C::Float | C::Complex, 64) => 12,
            (C::Float8E3M4, _) => 13,
            (C::Float8E4M3, _) => 14,
            (C::Float8E4M3B11Fnuz, _) => 15,
            (C::Float8E4M3Fn, _) => 16,
            (C::Float8E4M3Fnuz, _) => 17,
            (C::Float8E5M2, _) => 18,
            (C::Float8E5M2Fnuz, _) => 19,
            (C::Float6E2M3Fn, _) => 20,
            (C::Float6E3M2Fn, _) => 21,
            (C::Float4E2M1Fn, _) => 22,
            (C::Float8E8M0Fnu, _) => 23,
            _ => return None,
        };
        Some(Self { kind, bits, parts })
    }

    /// Bytes of one number; 0 where several share a byte.
    pub(crate) fn bytes(self) -> usize {
        self.bits / 8
    }
}
