//! Notes where the library is built.

use std::path::PathBuf;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // <target>/<profile>/build/simulated-nvrtc-<hash>/out
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("Cargo sets it"));
    let profile = out.ancestors().nth(3).expect("Cargo's folder is as deep as that");
    println!("cargo::rustc-env=SIMULATED_NVRTC_BUILT={}", profile.join("deps").display());
}
