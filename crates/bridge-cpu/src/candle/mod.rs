//! The backend for `candle_core`, on the CPU.
//!
//! In without a copy: an allocation that a `Vec` could own, elements without gaps, axes in any
//! order. candle can only own Rust vectors, so everything else is copied into one.
//!
//! Out without a copy: always, as a read-only tensor. It holds the read lock of the tensor's storage,
//! so nobody can change or free what it shows. Other handles of the storage can be read meanwhile;
//! **candle's in-place operations on them (`inplace_op1`, `slice_set`, `zero_set`, `Var::set`, …) wait
//! until it is dropped**, forever where the waiting thread is the one that holds it. Who keeps another
//! handle to write through asks for a copy, with `CopyPolicy::Always`, or drops the converted array first.
//!
//! A tensor whose storage has become too short or of another type, as `Tensor::from_storage` and
//! in-place operations can make it, is refused.
//!
//! Element types: `u8`, `u32`, `i16`, `i32`, `i64`, `f16`, `bf16`, `f32`, `f64`, float8 e4m3fn, which
//! candle calls `F8E4M3`, and as raw bytes float8 e8m0, float6 and float4. The others have to be
//! cast; the error names the type that holds every value.

mod data_types;
mod errors;
mod locked;
mod tensor;

use bridge_core::{Availability, Backend, Descriptor, NativeType, Registration};
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

    fn is_out_of_memory(&self, error: &(dyn std::error::Error + 'static)) -> bool {
        errors::is_out_of_memory(error)
    }
}
