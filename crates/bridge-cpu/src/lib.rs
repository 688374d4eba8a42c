//! Backends for array frameworks on the CPU.
//!
//! # Crate features
//!
//! Each adds a backend and changes nothing else; none is on by default.
//!
//! - `ndarray`: [`ndarray`] arrays, owned or as a [`ndarray::SharedArray`].
//! - `candle`: `candle_core::Tensor` on the CPU.
//!
//! A program registers the backends by naming the crate once, `use bridge_cpu as _;`, or, where
//! link-time registration does not work (a Rust static library in a C program), by calling
//! [`register_all`].

#[cfg(feature = "candle")]
pub mod candle;
#[cfg(feature = "ndarray")]
pub mod ndarray;

/// Registers this crate's backends by hand.
///
/// # Errors
///
/// As [`bridge_core::register`].
pub fn register_all() -> bridge_core::Result<()> {
    bridge_core::register(&[
        #[cfg(feature = "ndarray")]
        bridge_core::Registration::backend(&ndarray::Ndarray),
        #[cfg(feature = "candle")]
        bridge_core::Registration::backend(&candle::Candle),
    ])
}
