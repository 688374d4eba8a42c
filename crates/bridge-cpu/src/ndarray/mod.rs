//! The backend for `ndarray`.
//!
//! | array type | in without a copy | out without a copy |
//! | --- | --- | --- |
//! | `Array<T, D>` | an allocation that a `Vec<T>` could own, elements without gaps | always |
//! | [`SharedArray<T>`] | always | always; read-only while there are clones |
//!
//! `T` is any [`Element`](bridge_core::Element): all integers, `f32`, `f64`, `half::f16` and `bf16`,
//! `float8` types, complex numbers, `bool`. Bytes are checked to be 0 or 1 before they are shown as
//! `bool`. Conversions by name make a `SharedArray`.

mod owned;
mod placement;
mod shared;

pub use shared::SharedArray;

use bridge_core::{Availability, Backend, Descriptor, NativeType, Registration};

/// The backend for `ndarray`.
#[derive(Debug, Clone, Copy)]
pub struct Ndarray;

bridge_core::inventory::submit! { Registration::backend(&Ndarray) }

static DESCRIPTOR: Descriptor =
    Descriptor { name: "ndarray", aliases: &["nd"], framework: "ndarray 0.17", priority: 100 };

/// Array types of each element type, those for conversions by name first.
macro_rules! native_types {
    ($($element:ty),* $(,)?) => {
        &[
            $(NativeType::of::<SharedArray<$element>, Ndarray>(),)*
            $(
                NativeType::of::<::ndarray::ArrayD<$element>, Ndarray>(),
                NativeType::of::<::ndarray::Array1<$element>, Ndarray>(),
                NativeType::of::<::ndarray::Array2<$element>, Ndarray>(),
                NativeType::of::<::ndarray::Array3<$element>, Ndarray>(),
                NativeType::of::<::ndarray::Array4<$element>, Ndarray>(),
            )*
        ]
    };
}

static NATIVE_TYPES: &[NativeType] = native_types![
    f32,
    f64,
    half::f16,
    half::bf16,
    i8,
    i16,
    i32,
    i64,
    u8,
    u16,
    u32,
    u64,
    bool,
    num_complex::Complex<f32>,
    num_complex::Complex<f64>,
    float8::F8E4M3,
    float8::F8E5M2,
];

impl Backend for Ndarray {
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
