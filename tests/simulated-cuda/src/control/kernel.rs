//! Calls a kernel that was registered as a Rust function.

use std::ffi::c_int;

use crate::interface::launch::{Launch, RawLaunch};

/// What the driver calls.
///
/// # Safety
/// The launch is valid during the call, and was registered with a `fn(&Launch) -> Result<(), i32>` as its user
/// value.
pub(super) unsafe extern "C" fn run(launch: *const RawLaunch) -> c_int {
    // SAFETY: the driver gives a launch that is valid during the call.
    let raw = unsafe { &*launch };
    // SAFETY: only `register_kernel` registers this function, with such a function as user value.
    let kernel: fn(&Launch<'_>) -> Result<(), i32> = unsafe { std::mem::transmute(raw.user) };
    kernel(&Launch::of(raw)).err().unwrap_or(0)
}
