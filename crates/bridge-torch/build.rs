//! Compiles the C++ shim against the libtorch that torch-sys has found.

use std::path::{Path, PathBuf};
use std::{env, fs};

const SOURCES: [&str; 4] =
    ["shim/tensor.cpp", "shim/cuda.cpp", "shim/message.cpp", "shim/version.cpp"];

fn main() {
    println!("cargo::rerun-if-changed=shim");
    if env::var_os("CARGO_FEATURE__DOC_ONLY").is_some() {
        return; // documentation and type checks need no library
    }
    let libraries = env::var_os("DEP_TCH_LIBTORCH_LIB").map(PathBuf::from).expect(
        "torch-sys found libtorch and does not say where: this platform is none that it knows",
    );
    let root = libraries.parent().expect("the folder of libraries lies in that of libtorch");
    println!("cargo::rerun-if-env-changed=LIBTORCH_INCLUDE");
    let include = env::var_os("LIBTORCH_INCLUDE").map_or_else(|| root.to_owned(), PathBuf::from);
    let include = include.join("include");

    let faults = env::var_os("CARGO_FEATURE__FAULTS").map(|_| "shim/faults.cpp");
    let mut shim = cc::Build::new();
    if faults.is_some() {
        shim.define("BRIDGE_TORCH_FAULTS", None);
    }
    shim.cpp(true)
        .std("c++17")
        .include("shim")
        // As system headers: their warnings are not ours to mend.
        .flag(format!("-isystem{}", include.display()))
        .flag(format!("-isystem{}", include.join("torch/csrc/api/include").display()))
        .flag(format!("-D_GLIBCXX_USE_CXX11_ABI={}", cxx11_abi(root)))
        .files(SOURCES.into_iter().chain(faults))
        .compile("bridge_torch");
    // The shim calls what tch does not: these must not be dropped before it is linked.
    println!("cargo::rustc-link-search=native={}", libraries.display());
    println!("cargo::rustc-link-lib=torch_cpu");
    println!("cargo::rustc-link-lib=c10");

    // For the programs of this package, and for those of dependents that read it: see link.rs.
    println!("cargo::rustc-link-arg=-Wl,-rpath,{}", libraries.display());
    println!("cargo::metadata=libtorch_lib={}", libraries.display());
}

/// Which of the two layouts of `std::string` libtorch was compiled with. A wrong guess does not link.
fn cxx11_abi(root: &Path) -> String {
    println!("cargo::rerun-if-env-changed=LIBTORCH_CXX11_ABI");
    if let Ok(asked) = env::var("LIBTORCH_CXX11_ABI") {
        return asked;
    }
    let recorded = root.join("share/cmake/Torch/TorchConfig.cmake");
    println!("cargo::rerun-if-changed={}", recorded.display());
    let old =
        fs::read_to_string(recorded).is_ok_and(|text| text.contains("-D_GLIBCXX_USE_CXX11_ABI=0"));
    if old { "0" } else { "1" }.to_owned()
}
