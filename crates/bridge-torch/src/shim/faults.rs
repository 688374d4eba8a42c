//! Tests of what catches mistakes: exceptions by type, and those of memory by `cargo xtask sanitize`.

use bridge_core::{Device, Error};

use super::Work;

unsafe extern "C" {
    fn bridge_torch_fault_throw(what: i32) -> i32;
    fn bridge_torch_fault_memory(what: i32) -> i32;
}

fn thrown(what: i32) -> Error {
    let work = Work { operation: "fail", device: Device::cuda(1), bytes: 64 };
    // SAFETY: the shim throws and catches.
    work.check(unsafe { bridge_torch_fault_throw(what) }).unwrap_err()
}

#[test]
fn out_of_memory_is_known_by_its_type() {
    for what in [0, 1] {
        let error = thrown(what);
        let Error::OutOfMemory { device, requested } = error else {
            panic!("{error}");
        };
        assert_eq!((device, requested), (Device::cuda(1), 64));
    }
}

#[test]
fn every_other_exception_brings_its_message() {
    let says = ["a check of libtorch's", "an exception of the library's", "unknown type"];
    for (what, says) in (2..).zip(says) {
        let text = thrown(what).to_string();
        assert!(text.contains("\"torch\" failed to fail") && text.contains(says), "{text}");
        assert!(!text.contains("frame #0"), "a stack of C++ helps nobody: {text}");
    }
}

/// `cargo xtask sanitize` runs these, each of which must end its program.
#[test]
#[ignore = "a mistake on purpose"]
fn planted_use_after_free() {
    // SAFETY: none: it reads what has been freed.
    std::hint::black_box(unsafe { bridge_torch_fault_memory(0) });
}

#[test]
#[ignore = "a mistake on purpose"]
fn planted_leak() {
    // SAFETY: the shim only loses the memory.
    std::hint::black_box(unsafe { bridge_torch_fault_memory(1) });
}
