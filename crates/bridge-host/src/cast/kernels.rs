//! The loops of a cast: each maps a run of numbers to a run of others.

use super::map::map;
#[cfg(target_arch = "x86_64")]
use super::native_avx2::{f32_to_nearest_i32, i64_to_f32, u8_to_f32};
use super::number::{Float, Number, To};
use super::part::Native;
#[cfg(target_arch = "x86_64")]
use crate::processor::Processor;
use crate::small_floats::{Encoder, Table, encode_scale};
use bridge_core::Overflow;

/// Maps `count` numbers from the source to the target. Pointers need no alignment.
///
/// # Safety
///
/// `count` numbers of the type that the kernel is for can be read at the source, as many of its
/// result type can be written at the target, and the two do not overlap.
pub(super) type Kernel = unsafe fn(source: *const u8, target: *mut u8, count: usize);

/// Defines kernels that are one `map` each.
macro_rules! kernels {
    ($($(#[$doc:meta])* $name:ident<$($bound:ident: $trait:ident$(<$of:ident>)?),*>: $from:ty => $to:ty = $convert:expr;)*) => {
        $(
            $(#[$doc])*
            ///
            /// # Safety
            ///
            /// As [`Kernel`].
            pub(super) unsafe fn $name<$($bound: $trait$(<$of>)?),*>(
                source: *const u8,
                target: *mut u8,
                count: usize,
            ) {
                // SAFETY: the caller promises the same.
                unsafe { map_wide::<$from, $to>(source, target, count, $convert) };
            }
        )*
    };
}

/// Any type: what a conversion may lead to.
pub(super) trait Any {}
impl<T> Any for T {}

kernels! {
    /// Converts as Rust's `as`.
    convert<S: To<T>, T: Any>: S => T = S::to;
    /// Converts, integers out of range to the nearest value.
    convert_to_nearest<S: To<T>, T: Any>: S => T = S::to_nearest;
    /// Whether each number is anything but zero.
    truth<S: Number>: S => u8 = |number| u8::from(number.is_true());
    /// Rounds to odd.
    round_to_odd<S: Number>: S => f32 = S::to_odd_f32;
    /// The low 64 bits of each float as an integer.
    low_bits<S: Float>: S => i64 = S::low_bits;
    /// Makes each number a complex one.
    make_complex<S: Zero>: S => [S; 2] = |number| [number, S::ZERO];
}

/// Converts floats whose integer parts are in range, and any other number.
///
/// # Safety
///
/// As [`Kernel`]; where `S` is a float and `T` an integer, the integer parts are in range.
unsafe fn convert_in_range<S: To<T>, T>(source: *const u8, target: *mut u8, count: usize) {
    // SAFETY: the caller promises the same.
    unsafe { map_wide(source, target, count, |number: S| number.to_in_range()) };
}

/// Bits of a number; all zero is the number zero in every type that is part of a complex one.
pub(super) trait Zero {
    const ZERO: Self;
}
impl Zero for u16 {
    const ZERO: Self = 0;
}
impl Zero for u32 {
    const ZERO: Self = 0;
}
impl Zero for u64 {
    const ZERO: Self = 0;
}

/// Looks 8-bit codes up.
///
/// # Safety
///
/// As [`Kernel`], from bytes to `f32`.
pub(super) unsafe fn look_up(source: *const u8, target: *mut u8, count: usize, table: &Table) {
    // SAFETY: the caller promises the same.
    unsafe { map(source, target, count, |code: u8| table[usize::from(code)]) };
}

/// Encodes `f32` as 8-bit floats.
///
/// # Safety
///
/// As [`Kernel`], from `f32` to bytes.
pub(super) unsafe fn encode_small(
    source: *const u8,
    target: *mut u8,
    count: usize,
    encoder: &Encoder,
) {
    // A copy that no pointer leads to: the loops need not read it again after each store.
    let encoder = *encoder;
    // SAFETY: the caller promises the same.
    unsafe {
        map_wide(source, target, count, |value: f32| encoder.encode(value) as u8);
    };
}

/// Rounds `f64` to `f32`; what is finite stays finite.
///
/// # Safety
///
/// As [`Kernel`], from `f64` to `f32`.
pub(super) unsafe fn finite_f64_to_f32(source: *const u8, target: *mut u8, count: usize) {
    const MOST: f64 = f32::MAX as f64;
    let round = |number: f64| {
        let within = if number > MOST { MOST } else { number };
        let within = if within < -MOST { -MOST } else { within };
        (if number.abs() < f64::INFINITY { within } else { number }) as f32
    };
    // SAFETY: the caller promises the same.
    unsafe { map_wide::<f64, f32>(source, target, count, round) };
}

/// Holds finite numbers between two, of which the first is the smaller; the others stay as they are.
///
/// # Safety
///
/// As [`Kernel`], from `f32` to `f32`.
pub(super) unsafe fn hold_between(
    source: *const u8,
    target: *mut u8,
    count: usize,
    (lowest, highest): (f32, f32),
) {
    let held = move |number: f32| {
        let within = if number > highest { highest } else { number };
        let within = if within < lowest { lowest } else { within };
        if number.abs() < f32::INFINITY { within } else { number }
    };
    // SAFETY: the caller promises the same.
    unsafe { map_wide::<f32, f32>(source, target, count, held) };
}

/// Rounds `f64` to odd.
///
/// # Safety
///
/// As [`Kernel`], from `f64` to `f32`.
pub(super) unsafe fn round_f64_to_odd(source: *const u8, target: *mut u8, count: usize) {
    // SAFETY: the caller promises the same.
    unsafe { map_wide(source, target, count, f64::to_odd_f32) };
}

/// As [`map`], in the widest registers that the processor has: for conversions that compute more
/// than they move.
///
/// # Safety
///
/// As [`map`].
pub(crate) unsafe fn map_wide<S, T>(
    source: *const u8,
    target: *mut u8,
    count: usize,
    convert: impl Fn(S) -> T,
) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        /// # Safety
        ///
        /// As [`map`], and the processor has AVX2.
        #[target_feature(enable = "avx2")]
        unsafe fn avx2<S, T>(
            source: *const u8,
            target: *mut u8,
            count: usize,
            convert: impl Fn(S) -> T,
        ) {
            // SAFETY: the caller promises the same.
            unsafe { map(source, target, count, convert) };
        }
        // SAFETY: the caller promises the same, and AVX2 was detected.
        return unsafe { avx2(source, target, count, convert) };
    }
    // SAFETY: the caller promises the same.
    unsafe { map(source, target, count, convert) };
}

/// Encodes `f32` as 8-bit scales.
///
/// # Safety
///
/// As [`Kernel`], from `f32` to bytes.
pub(super) unsafe fn encode_scales(
    source: *const u8,
    target: *mut u8,
    count: usize,
    overflow: Overflow,
) {
    // SAFETY: the caller promises the same.
    unsafe {
        map(source, target, count, |value: f32| encode_scale(value, overflow));
    };
}

/// Evaluates an expression with `$type` standing for the Rust type of a [`Native`].
macro_rules! with_native {
    ($native:expr, $type:ident => $use:expr) => {
        with_native!(@ $native, $type => $use;
            I8 i8, I16 i16, I32 i32, I64 i64, U8 u8, U16 u16, U32 u32, U64 u64, F32 f32, F64 f64)
    };
    (@ $native:expr, $type:ident => $use:expr; $($variant:ident $rust:ident),*) => {
        match $native {
            $(Native::$variant => {
                type $type = $rust;
                $use
            })*
        }
    };
}
pub(super) use with_native;

/// The kernel from one number to another, for this processor.
///
/// Under [`Overflow::Refuse`] it may only run on floats that have been checked to be in range: its
/// safety requirements are that of [`Kernel`] and this.
pub(super) fn converting(from: Native, to: Native, overflow: Overflow) -> Kernel {
    #[cfg(target_arch = "x86_64")]
    if Processor::get().has_avx2() {
        match (from, to, overflow) {
            (Native::F32, Native::I32, Overflow::Saturate) => return f32_to_nearest_i32,
            (Native::I64, Native::F32, _) => return i64_to_f32,
            (Native::U8, Native::F32, _) => return u8_to_f32,
            _ => {}
        }
    }
    with_native!(from, From => with_native!(to, Into => match overflow {
        Overflow::Refuse => convert_in_range::<From, Into>,
        Overflow::Saturate => convert_to_nearest::<From, Into>,
        Overflow::Wrap => convert::<From, Into>,
    }))
}
