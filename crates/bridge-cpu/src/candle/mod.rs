//! The backend for `candle_core`, on the CPU.
//!
//! In without a copy: an allocation that a `Vec` could own, elements without gaps, axes in any
//! order. candle can only own Rust vectors, so everything else is copied into one. Out without a
//! copy: always, as a read-only tensor, since candle's in-place operations may still write to it
//! behind any other holder's back.
//!
//! Element types: `u8`, `u32`, `i16`, `i32`, `i64`, `f16`, `bf16`, `f32`, `f64`, float8 e4m3fn, which
//! candle calls `F8E4M3`, and as raw bytes float8 e8m0, float6 and float4. The others have to be
//! cast, which the error says.

mod data_types;
mod tensor;

use bridge_core::{Availability, Backend, Descriptor, DeviceKind, NativeType, Registration};
use candle_core::Tensor;

/// The backend for `candle_core`, on the CPU.
#[derive(Debug, Clone, Copy)]
pub struct Candle;

bridge_core::inventory::submit! { Registration::backend(&Candle) }

static DESCRIPTOR: Descriptor = Descriptor {
    name: "candle",
    aliases: &["candle-core", "candle_core"],
    framework: "candle-core 0.11",
    priority: 90,
};

static NATIVE_TYPES: &[NativeType] = &[NativeType::of::<Tensor, Candle>()];

impl Backend for Candle {
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
