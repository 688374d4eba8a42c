//! There for `links` in Cargo.toml alone, by which cargo refuses two versions in one program.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
}
