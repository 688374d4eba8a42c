//! What `cargo xtask test-matrix --json` prints on a machine where it installs something.
#![cfg(unix)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// A workspace without members, as cargo describes it.
const METADATA: &str = r#"{"workspace_root":".","target_directory":"target","packages":[]}"#;

/// Puts a program into `folder` that prints `says` and ends well.
fn program(folder: &Path, name: &str, says: &str) {
    let path = folder.join(name);
    fs::write(&path, format!("#!/bin/sh\necho '{says}'\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn json_stands_alone_on_standard_output_though_the_installers_talk() {
    let machine = tempfile::tempdir().unwrap();
    let programs = machine.path();
    program(programs, "cargo", METADATA);
    program(programs, "id", "0");
    for talkative in ["apt-get", "python3", "python3.12", "uv"] {
        program(programs, talkative, "Reading package lists...");
    }
    let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["test-matrix", "--json", "--install"])
        .current_dir(programs)
        .env("PATH", programs)
        .env("CARGO", programs.join("cargo"))
        .env("OCL_ICD_VENDORS", programs.join("no-drivers"))
        .env_remove("LIBTORCH")
        .env_remove("LIBTORCH_USE_PYTORCH")
        .output()
        .unwrap();
    let matrix: serde_json::Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}:\n{}", String::from_utf8_lossy(&output.stdout)));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("Reading package lists..."), "nothing was installed:\n{said}");
    let cells = matrix["cells"].as_array().unwrap();
    let opencl = cells.iter().find(|cell| cell["cell"] == "opencl").unwrap();
    assert_eq!(opencl["status"], "unavailable", "{opencl}");
}
