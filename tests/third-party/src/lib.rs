//! The arraybridge backend for `nalgebra`.
//!
//! | array type | in without a copy | out without a copy |
//! | --- | --- | --- |
//! | `DMatrix<T>` | rank 2, a vector's memory, column-major without gaps | always |
//! | `DVector<T>` | rank 1, a vector's memory, without gaps | always |
//!
//! `T` is any [`Element`](bridge_core::Element) that `nalgebra` can hold. Conversions by name make a
//! `DMatrix`. nalgebra owns its elements in a `Vec`, so memory of another owner is copied into one.
//!
//! A program registers the backend by naming the crate once, `use bridge_nalgebra as _;`, or, where
//! link-time registration does not work (a Rust static library in a C program), by calling
//! [`register_all`].

#![forbid(unsafe_code)]

mod matrix;
mod vector;

use bridge_core::{Availability, Backend, Descriptor, NativeType, Registration};
use bridge_core::{float8, half, num_complex};
use nalgebra::{DMatrix, DVector};

/// The backend for `nalgebra`.
#[derive(Debug, Clone, Copy)]
pub struct Nalgebra;

const REGISTRATION: Registration = Registration::backend(&Nalgebra);

bridge_core::inventory::submit! { REGISTRATION }

pub(crate) static DESCRIPTOR: Descriptor =
    Descriptor { name: "nalgebra", aliases: &["na"], framework: "nalgebra 0.34", priority: 50 };

/// Array types of each element type, those for conversions by name first.
macro_rules! native_types {
    ($($element:ty),* $(,)?) => {
        &[
            $(NativeType::of::<DMatrix<$element>, Nalgebra>(),)*
            $(NativeType::of::<DVector<$element>, Nalgebra>(),)*
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

impl Backend for Nalgebra {
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

/// Registers the backend by hand.
///
/// # Errors
///
/// As [`bridge_core::register`].
pub fn register_all() -> bridge_core::Result<()> {
    bridge_core::register(&[REGISTRATION])
}
