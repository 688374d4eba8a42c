//! Failures of libtorch that can be provoked on every machine. `faults.rs` plants those that cannot.

use std::ptr;

use bridge_core::{Device, Error};

use super::{ON_THE_CPU, Work, bridge_torch_copied, handle_of};

#[test]
fn an_exception_becomes_an_error_with_libtorchs_message() {
    let tensor = tch::Tensor::from_slice(&[1_f32]);
    let mut made = ptr::null_mut();
    // SAFETY: the handle is alive, and the one axis is there to read; the shim writes `made` where
    // it succeeds.
    let status = unsafe {
        bridge_torch_copied(handle_of(&tensor), [7].as_ptr(), 1, ON_THE_CPU, &raw mut made)
    };
    let work = Work { operation: "try it", device: Device::cuda(1), bytes: 64 };
    let error = work.check(status).unwrap_err();
    assert!(matches!(error, Error::Framework { .. }) && made.is_null(), "{error}");
    let text = error.to_string();
    assert!(text.contains("\"torch\" failed to try it"), "{text}");
    assert!(text.contains("Dimension out of range"), "{text}");
    assert!(!text.contains("frame #0"), "a stack of C++ helps nobody: {text}");
}
