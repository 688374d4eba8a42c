//! Failures of libtorch that can be provoked on every machine. `faults.rs` plants those that cannot.

use std::ptr;

use bridge_core::{Device, Error, TensorError};

use super::{Work, bridge_torch_cuda_cast, bridge_torch_cuda_copy, handle_of};

const WORK: Work = Work { operation: "try it", device: Device::cuda(1), bytes: 64 };

/// Copies `count` elements of `size` bytes, all of them the same one, backwards on the host: for that
/// libtorch allocates room for them all, before it writes to the target.
fn copied(count: i64, size: i32) -> Result<(), Error> {
    let (source, mut target) = ([0_u8; 16], [0_u8; 16]);
    // SAFETY: every element read is the first of the source; more than one is never written, since
    // the room for them cannot be had.
    let status = unsafe {
        bridge_torch_cuda_copy(
            source.as_ptr().cast(),
            -1,
            target.as_mut_ptr().cast(),
            -1,
            [count].as_ptr(),
            [0].as_ptr(),
            [true].as_ptr(),
            1,
            size,
        )
    };
    WORK.check(status)
}

#[test]
fn host_memory_that_libtorch_cannot_get_is_out_of_memory_on_the_cpu() {
    assert!(copied(1, 4).is_ok());
    let error = copied(1 << 50, 4).unwrap_err();
    let Error::Tensor(TensorError::OutOfMemory { device, requested }) = error else {
        panic!("{error}");
    };
    assert_eq!((device, requested), (Device::CPU, 1 << 52));
}

#[test]
fn an_exception_becomes_an_error_with_libtorchs_message() {
    let error = copied(1, 3).unwrap_err().to_string();
    assert!(error.contains("\"torch\" failed to try it"), "{error}");
    assert!(error.contains("elements of 3 bytes"), "{error}");
    assert!(!error.contains("frame #0"), "a stack of C++ helps nobody: {error}");
}

#[test]
fn an_exception_of_a_kernel_does_too() {
    let tensor = tch::Tensor::from_slice(&[1_f32]);
    let mut made = ptr::null_mut();
    const QINT8: i32 = 12;
    // SAFETY: the handle is alive; the shim writes `made` where it succeeds.
    let status = unsafe { bridge_torch_cuda_cast(handle_of(&tensor), QINT8, &raw mut made) };
    let error = WORK.check(status).unwrap_err();
    assert!(matches!(error, Error::Framework { .. }) && made.is_null(), "{error}");
}
