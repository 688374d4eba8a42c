//! With the feature torch: compiles the peers that are in C++, and lets the benchmarks find libtorch.

fn main() {
    println!("cargo::rerun-if-changed=shim");
    // Other packages of one build may turn the feature on for arraybridge alone.
    if let Ok(libraries) = std::env::var("DEP_ARRAYBRIDGE_LIBTORCH_LIB") {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{libraries}");
    }
    #[cfg(feature = "torch")]
    torch();
}

#[cfg(feature = "torch")]
fn torch() {
    let libraries = std::env::var("DEP_BRIDGE_TORCH_LIBTORCH_LIB").expect("bridge-torch says it");
    let include = std::path::Path::new(&libraries).join("../include");
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .flag(format!("-isystem{}", include.display()))
        .file("shim/dlpack.cpp")
        .compile("bench_dlpack");
    println!("cargo::rustc-link-lib=torch_cpu");
    println!("cargo::rustc-link-arg=-Wl,-rpath,{libraries}");
}
