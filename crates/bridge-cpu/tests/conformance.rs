//! The conformance suite on the backends of this crate.

#[cfg(feature = "ndarray")]
mod ndarray {
    bridge_testkit::conformance!(bridge_cpu::ndarray::Ndarray);
}

#[cfg(feature = "candle")]
mod candle {
    bridge_testkit::conformance!(bridge_cpu::candle::Candle);
}
