//! Beginning, version and errors.

use std::ffi::{c_char, c_int};

use super::super::arguments::Out;
use super::super::code::{Code, described};

export! { early:
    fn cuInit(cuda, flags: u32) {
        if flags != 0 {
            return Err(Code::INVALID_VALUE);
        }
        cuda.initialize()
    }

    fn cuDriverGetVersion(cuda, version: Out<c_int>) {
        version.set(cuda.config.driver_version)
    }
}

/// The name of an error.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn cuGetErrorName(error: c_int, name: Out<*const c_char>) -> c_int {
    answer(&name, described(error).map(|(name, _)| name.as_ptr()))
}

/// What an error means.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn cuGetErrorString(error: c_int, text: Out<*const c_char>) -> c_int {
    answer(&text, described(error).map(|(_, text)| text.as_ptr()))
}

fn answer(out: &Out<*const c_char>, text: Option<*const c_char>) -> c_int {
    let known = text.ok_or(Code::INVALID_VALUE);
    out.set(text.unwrap_or(std::ptr::null())).and(known).map_or_else(|code| code.0, |_| 0)
}
