//! The library exports what its documentation says.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;

/// The functions that the last section of the documentation lists.
fn documented() -> Vec<&'static str> {
    let text = include_str!("../README.md");
    let (_, list) = text.split_once("## What is exported").expect("the section is there");
    list.split('`').filter(|word| word.starts_with("cu")).collect()
}

#[test]
fn every_documented_function_is_there() {
    let path = simulated_cuda::library_path();
    let path = CString::new(path.as_os_str().as_bytes()).expect("no zero byte");
    // SAFETY: the library's initializers only set up Rust's runtime.
    let library = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
    assert!(!library.is_null());
    let names = documented();
    assert!(names.len() > 100, "{} functions", names.len());
    for name in names {
        let symbol = CString::new(name).expect("no zero byte");
        // SAFETY: the library is loaded.
        let found = unsafe { libc::dlsym(library, symbol.as_ptr()) };
        assert!(!found.is_null(), "{name} is not exported");
    }
}
