//! `cargo xtask python`: builds the Python package and installs it into `.venv`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use crate::command::Tool;
use crate::failure::{Failure, Result};
use crate::python::{PythonEnvironment, interpreter_of};
use crate::python_packages::PYTHON_TOOLS;
use crate::python_tests::{FOLDER, scratch};
use crate::requirement::Provider;
use crate::workspace::Workspace;

/// Options of `python`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Build with optimisation, as for measurements and for users
    #[arg(long)]
    release: bool,
    /// Run the tests that need no framework but NumPy under each Python from 3.11 to 3.14 that is here
    #[arg(long)]
    pub(crate) interpreters: bool,
}

impl Options {
    pub(crate) fn profile(&self) -> Profile {
        if self.release { Profile::Release } else { Profile::Dev }
    }
}

/// How the native module is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    Dev,
    Release,
    /// As for users, and without symbols: it is to be small.
    Stripped,
}

/// Builds the package, installs it, and says how it is used.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    provide(workspace)?;
    let wheel = into_venv(workspace, options.profile())?;
    let python = PythonEnvironment::of_workspace(workspace).program("python3");
    println!(
        "Installed {}\n\n    {python} -c 'import arraybridge; print(arraybridge.__file__)'\n    \
         cargo xtask test-matrix -p bridge-python      # its tests",
        wheel.display()
    );
    Ok(ExitCode::SUCCESS)
}

/// Builds the package for the Python of `.venv` by pip, as those do who install it from a clone, and installs it there.
pub(crate) fn into_venv(workspace: &Workspace, profile: Profile) -> Result<PathBuf> {
    let python = PythonEnvironment::of_workspace(workspace);
    let wheel = build(workspace, |folder| pip(workspace, folder, profile))?;
    python.install_with(installing(&wheel))?;
    Ok(wheel)
}

/// Builds the package for users of one version of Python, "3.12", without symbols, and gives the wheel.
pub(crate) fn stripped(workspace: &Workspace, version: &str) -> Result<PathBuf> {
    provide(workspace)?;
    for_interpreter(workspace, &interpreter(workspace, version)?, Profile::Stripped)
}

/// The interpreter of a version.
pub(crate) fn interpreter(workspace: &Workspace, version: &str) -> Result<String> {
    interpreter_of(workspace, version).ok_or_else(|| {
        Failure::new(
            format!("build the Python package for {version}"),
            format!("no python{version} on PATH or in pyenv"),
            format!("install it, for instance with `pyenv install {version}`"),
        )
    })
}

/// Builds the package for an interpreter, and gives the wheel.
pub(crate) fn for_interpreter(
    workspace: &Workspace,
    interpreter: &str,
    profile: Profile,
) -> Result<PathBuf> {
    build(workspace, |folder| maturin(workspace, interpreter, folder, profile))
}

fn provide(workspace: &Workspace) -> Result<()> {
    Provider::new(workspace, true)
        .provide(&[&PYTHON_TOOLS])
        .map_err(|lack| Failure::new("build the Python package", lack.reason, lack.remedy))?;
    Ok(())
}

/// Its version stays while it changes, so that it replaces the one that is there.
pub(crate) fn installing(wheel: &Path) -> [String; 3] {
    ["--no-deps".to_owned(), "--reinstall".to_owned(), wheel.display().to_string()]
}

/// Has a wheel built into a folder that is empty.
fn build(workspace: &Workspace, builder: impl FnOnce(&Path) -> Tool) -> Result<PathBuf> {
    let folder = scratch(workspace).join("wheels");
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(|error| {
            Failure::new("remove the last wheel", error.to_string(), "see what is in its way")
        })?;
    }
    builder(&folder).run()?;
    wheel_in(&folder)
}

/// What maturin is told of a profile.
fn arguments(profile: Profile) -> &'static [&'static str] {
    match profile {
        Profile::Dev => &["--profile", "dev"],
        Profile::Release => &["--release"],
        Profile::Stripped => &["--release", "--strip"],
    }
}

/// What `pip install ./crates/bridge-python` does to get a wheel, but that the maturin of `.venv` is not installed once
/// more, and that it builds where every other chore builds.
fn pip(workspace: &Workspace, out: &Path, profile: Profile) -> Tool {
    let python = PythonEnvironment::of_workspace(workspace);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::iter::once(python.programs()).chain(std::env::split_paths(&path));
    let path = std::env::join_paths(path).unwrap_or_default();
    python
        .tool("python3")
        .args(["-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"])
        .args(["--no-deps", "--no-build-isolation", "--wheel-dir", &out.display().to_string()])
        .args([format!("./{FOLDER}")])
        .env("PATH", path.to_string_lossy())
        .env("MATURIN_PEP517_ARGS", arguments(profile).join(" "))
        .env("CARGO_TARGET_DIR", workspace.target.display().to_string())
}

/// Builds the wheel for an interpreter, where every other chore builds.
fn maturin(workspace: &Workspace, interpreter: &str, out: &Path, profile: Profile) -> Tool {
    let manifest = format!("{FOLDER}/Cargo.toml");
    PythonEnvironment::of_workspace(workspace)
        .tool("maturin")
        .args(["build", "--manifest-path", &manifest, "--interpreter", interpreter])
        // For this machine: what a published wheel may link to is checked where it is published.
        .args(["--compatibility", "linux", "--out", &out.display().to_string()])
        .args(arguments(profile).iter().copied())
        .env("CARGO_TARGET_DIR", workspace.target.display().to_string())
}

fn wheel_in(folder: &Path) -> Result<PathBuf> {
    let files = fs::read_dir(folder).into_iter().flatten().flatten().map(|file| file.path());
    let mut wheels = files.filter(|path| path.extension().is_some_and(|one| one == "whl"));
    wheels.next().ok_or_else(|| {
        Failure::new(
            "build the Python package",
            format!("maturin left no wheel in {}", folder.display()),
            "see what it printed above",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::{Profile, maturin, pip, wheel_in};
    use crate::workspace::tests::example;
    use std::path::Path;

    #[test]
    fn the_profile_is_dev_unless_release_is_asked_for() {
        let line = |profile| {
            maturin(&example(), "/w/.venv/bin/python3", Path::new("/out"), profile).line()
        };
        let (dev, release, stripped) =
            (line(Profile::Dev), line(Profile::Release), line(Profile::Stripped));
        assert!(dev.contains("--profile dev") && !dev.contains("--release"), "{dev}");
        assert!(release.contains("--release") && !release.contains("--profile"), "{release}");
        assert!(release.contains("--interpreter /w/.venv/bin/python3"), "{release}");
        assert!(stripped.contains("--release --strip") && !release.contains("--strip"));
    }

    #[test]
    fn pip_builds_for_the_environment_that_it_belongs_to() {
        let line = pip(&example(), Path::new("/out"), Profile::Dev).line();
        assert!(line.contains("python3 -m pip wheel"), "{line}");
        assert!(line.contains("--wheel-dir /out ./crates/bridge-python"), "{line}");
    }

    #[test]
    fn a_build_without_a_wheel_is_a_failure() {
        let folder = tempfile::tempdir().unwrap();
        assert!(wheel_in(folder.path()).unwrap_err().to_string().contains("left no wheel"));
        let wheel = folder.path().join("a-1-py3-none-any.whl");
        std::fs::write(&wheel, "").unwrap();
        assert_eq!(wheel_in(folder.path()).unwrap(), wheel);
    }
}
