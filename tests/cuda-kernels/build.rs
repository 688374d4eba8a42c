//! Compiles bridge-cuda's kernels for the CPU.

fn main() {
    let kernels = "../../crates/bridge-cuda/src/kernels";
    for file in [
        "src/host.cpp".to_owned(),
        format!("{kernels}/kernels.h"),
        format!("{kernels}/entries.h"),
        format!("{kernels}/arithmetic.h"),
    ] {
        println!("cargo::rerun-if-changed={file}");
    }
    cc::Build::new()
        .cpp(true)
        .file("src/host.cpp")
        .include(kernels)
        .std("c++17")
        .opt_level(2)
        // The kernels read memory as several types, as CUDA allows.
        .flag_if_supported("-fno-strict-aliasing")
        .flag_if_supported("-ffp-contract=off")
        .flag_if_supported("-fwrapv")
        .flag_if_supported("-Wno-unused-function")
        .flag_if_supported("-Wno-unused-parameter")
        .compile("cuda_kernels_on_cpu");
}
