//! The build script of every package whose programs link bridge-torch: they find libtorch when they
//! run, without LD_LIBRARY_PATH. Cargo hands link arguments to the package alone that prints them, so
//! each says it for itself; a package outside this workspace copies these lines.

#![allow(clippy::print_stdout, reason = "that is how a build script talks to cargo")]

fn main() {
    println!("cargo::rerun-if-changed=Cargo.toml");
    for library in ["DEP_BRIDGE_TORCH_LIBTORCH_LIB", "DEP_ARRAYBRIDGE_LIBTORCH_LIB"] {
        if let Ok(folder) = std::env::var(library) {
            println!("cargo::rustc-link-arg=-Wl,-rpath,{folder}");
            // For dependents of this package, where it has `links`.
            if std::env::var_os("CARGO_MANIFEST_LINKS").is_some() {
                println!("cargo::metadata=libtorch_lib={folder}");
            }
        }
    }
}
