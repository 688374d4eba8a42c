//! `cargo xtask older-torch`: the tests of bridge-torch with the older tch and libtorch that its
//! requirements allow, in a copy of the workspace, so that `Cargo.lock` and `.venv` stay as they are.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use clap::Args;

use crate::command::Tool;
use crate::failure::{Failure, Result};
use crate::libtorch;
use crate::python::{Dependencies, PythonEnvironment};
use crate::workspace::Workspace;

/// Options of `older-torch`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The release of tch and torch-sys
    #[arg(long, default_value = "0.24.0")]
    tch: String,
    /// The release of PyTorch whose libtorch it is made for
    #[arg(long, default_value = "2.11.0")]
    torch: String,
}

/// Installs PyTorch into a folder of its own (5 GB), unless it is there, and tests a copy of the
/// workspace against it.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    let folder = workspace.target.join("older-torch");
    let copy = folder.join("copy");
    let python = PythonEnvironment::at(workspace, folder.join(format!("torch-{}", options.torch)));
    if python.evaluate("import torch").is_err() {
        let torch = format!("torch=={}", options.torch);
        python.install(&["numpy", &torch], Dependencies::Installed)?;
    }
    copy_sources(workspace, &copy)?;
    for tool in tools(&copy, options) {
        tool.envs(&libtorch::environment(&python.programs()))
            .env("CARGO_TARGET_DIR", folder.join("target").display().to_string())
            .run()?;
    }
    println!("bridge-torch passes with tch {} and PyTorch {}.", options.tch, options.torch);
    Ok(ExitCode::SUCCESS)
}

/// What is run in the copy.
fn tools(copy: &Path, options: &Options) -> Vec<Tool> {
    let cargo = |args: &[&str]| Tool::cargo(copy).args(args.iter().copied());
    let update = |package| cargo(&["update", package, "--precise", &options.tch]);
    // With the planted faults: each step of the shim fails against these headers too.
    let test = ["test", "--package", "bridge-torch", "--features", "_faults", "--no-fail-fast"];
    vec![update("tch"), update("torch-sys"), cargo(&test)]
}

/// Copies every file that git knows or would.
fn copy_sources(workspace: &Workspace, copy: &Path) -> Result<()> {
    let failed = |what: &str, error: std::io::Error| {
        Failure::new(format!("copy {what}"), error.to_string(), "see what is in its way")
    };
    if copy.exists() {
        fs::remove_dir_all(copy).map_err(|error| failed("over the last copy", error))?;
    }
    let list = ["ls-files", "--cached", "--others", "--exclude-standard"];
    let files = Tool::new("git", &workspace.root).args(list).capture()?;
    for file in files.lines() {
        let (from, to) = (workspace.root.join(file), copy.join(file));
        if !from.is_file() {
            continue; // deleted, and git does not know it yet
        }
        let folder = to.parent().unwrap_or(copy);
        fs::create_dir_all(folder).map_err(|error| failed(file, error))?;
        fs::copy(&from, &to).map_err(|error| failed(file, error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Options, tools};
    use std::path::Path;

    #[test]
    fn both_crates_are_set_to_the_release_before_the_tests_run() {
        let options = Options { tch: "0.24.0".into(), torch: "2.11.0".into() };
        let lines: Vec<_> =
            tools(Path::new("/copy"), &options).iter().map(super::Tool::line).collect();
        assert!(lines[0].ends_with("update tch --precise 0.24.0"), "{lines:?}");
        assert!(lines[1].ends_with("update torch-sys --precise 0.24.0"), "{lines:?}");
        assert!(lines[2].contains("test --package bridge-torch"), "{lines:?}");
    }
}
