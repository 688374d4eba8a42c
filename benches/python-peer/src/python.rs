//! The Python that the benchmarks and the tests of the program compare with.

use std::path::{Path, PathBuf};

/// What to do where there is none.
pub const REMEDY: &str = "set ARRAYBRIDGE_PYTHON, or run `cargo xtask setup python-peers`";

/// The Python that `ARRAYBRIDGE_PYTHON` names, whatever it is, else that of the workspace's `.venv`, if
/// there is one.
pub fn python() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("ARRAYBRIDGE_PYTHON") {
        return Some(named.into());
    }
    let folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    folders.map(|folder| folder.join(".venv/bin/python")).find(|python| python.exists())
}
