//! The arraybridge backend for Arrow.
//!
//! | array type | in without a copy | out without a copy |
//! | --- | --- | --- |
//! | [`PrimitiveArray`] of numbers (`Float64Array`, `Int32Array`, …) | rank 1, without gaps | without nulls |
//! | [`FixedSizeListArray`] of numbers | rank 2, row-major without gaps | without nulls |
//!
//! Numbers are the signed and unsigned integers of 8 to 64 bits and the floats of 16 to 64. Arrow has no
//! bfloat16, float8 and complex numbers, and packs booleans into bits, which no tensor shares. Dates, times
//! and decimals are left out: as tensors they would be plain integers, and their unit be lost.
//!
//! Arrow's buffers are immutable and can have any owner. So memory comes in from every owner, and what goes
//! out is read-only and keeps its array alive. An array with null entries is refused, since a tensor has no
//! place for them; one whose validity bitmap has no null is not.
//!
//! A program registers the backend by naming the crate once: `use bridge_arrow as _;`.

mod list;
mod memory;
mod number;
mod primitive;

use arrow_array::FixedSizeListArray;
use arrow_array::PrimitiveArray;
use arrow_array::types::{
    Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use bridge_core::{Availability, Backend, Descriptor, NativeType, Registration};

pub use self::number::Number;

/// The backend for Arrow.
#[derive(Debug, Clone, Copy)]
pub struct Arrow;

const REGISTRATION: Registration = Registration::backend(&Arrow);

bridge_core::inventory::submit! { REGISTRATION }

pub(crate) static DESCRIPTOR: Descriptor =
    Descriptor { name: "arrow", aliases: &["arrow-rs"], framework: "arrow-array 60", priority: 40 };

/// Fixed-size lists first: conversions by name make one of a matrix.
static NATIVE_TYPES: &[NativeType] = &[
    NativeType::of::<FixedSizeListArray, Arrow>(),
    NativeType::of::<PrimitiveArray<Int8Type>, Arrow>(),
    NativeType::of::<PrimitiveArray<Int16Type>, Arrow>(),
    NativeType::of::<PrimitiveArray<Int32Type>, Arrow>(),
    NativeType::of::<PrimitiveArray<Int64Type>, Arrow>(),
    NativeType::of::<PrimitiveArray<UInt8Type>, Arrow>(),
    NativeType::of::<PrimitiveArray<UInt16Type>, Arrow>(),
    NativeType::of::<PrimitiveArray<UInt32Type>, Arrow>(),
    NativeType::of::<PrimitiveArray<UInt64Type>, Arrow>(),
    NativeType::of::<PrimitiveArray<Float16Type>, Arrow>(),
    NativeType::of::<PrimitiveArray<Float32Type>, Arrow>(),
    NativeType::of::<PrimitiveArray<Float64Type>, Arrow>(),
];

impl Backend for Arrow {
    fn descriptor(&self) -> &'static Descriptor {
        &DESCRIPTOR
    }

    fn availability(&self) -> Availability {
        Availability::HOST
    }

    fn native_types(&self) -> &'static [NativeType] {
        NATIVE_TYPES
    }
}
