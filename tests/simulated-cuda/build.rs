//! Gives the driver the name that `cudarc` asks the loader for first, and notes where it is built.

use std::path::PathBuf;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libcuda.so");
    }
    // <target>/<profile>/build/simulated-cuda-<hash>/out
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("Cargo sets it"));
    let profile = out.ancestors().nth(3).expect("Cargo's folder is as deep as that");
    println!("cargo::rustc-env=SIMULATED_CUDA_BUILT={}", profile.join("deps").display());
}
