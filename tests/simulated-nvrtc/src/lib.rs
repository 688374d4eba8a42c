//! `libsimulated_nvrtc.so`: NVRTC as far as bridge-cuda calls it, for tests on the simulated driver.
//!
//! It compiles nothing. It checks what it is given, as the real one would, and answers with the kernel's
//! PTX, which bridge-cuda ships, behind the first bytes of a binary; the simulated driver takes that.
//! Architectures: sm_60, sm_70 and sm_80.

mod compiler;

use std::path::PathBuf;

/// Where the library is built, for `ARRAYBRIDGE_NVRTC`.
///
/// # Panics
///
/// Where it is not there.
pub fn library() -> PathBuf {
    let path = PathBuf::from(env!("SIMULATED_NVRTC_BUILT")).join("libsimulated_nvrtc.so");
    assert!(path.is_file(), "no {}: `cargo build -p simulated-nvrtc` makes it", path.display());
    path
}
