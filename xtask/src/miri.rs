//! `cargo xtask miri`: runs tests under Miri, which finds undefined behaviour, data races and leaks in the
//! Rust code that a test runs.

use std::process::ExitCode;

use clap::Args;

use crate::command::{Environment, Tool};
use crate::failure::{Failure, Result};
use crate::packages::{IN_RUST_ALONE, ONLY_IN_ALL_OF_MIRI};
use crate::requirement::{Presence, Provider, Requirement};
use crate::run_tests::Runner;
use crate::workspace::Workspace;

/// Options of `miri`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Leave out what takes minutes, as the checks of a change do
    #[arg(long)]
    sampled: bool,
    /// Run only the tests whose name contains this
    name: Option<String>,
}

impl Options {
    /// What CI asks for.
    pub(crate) fn for_ci() -> Self {
        Self { sampled: true, name: None }
    }
}

pub(crate) const MIRI: Requirement = Requirement {
    name: "miri",
    purpose: "Miri, of Rust's nightly toolchain (cargo xtask miri)",
    detect,
    remedy: "run `cargo xtask setup miri`, which needs rustup",
    install: Some(install),
};

/// Installs Miri where it is missing, and runs the tests.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    Provider::new(workspace, true)
        .provide(&[&MIRI])
        .map_err(|lack| Failure::new("run tests under Miri", lack.reason, lack.remedy))?;
    tests(workspace, Runner::detect(workspace), options).run()?;
    println!("Miri found nothing.");
    Ok(ExitCode::SUCCESS)
}

/// The sample that the checks run. Where Miri cannot be had, that is said, with the reason, and the
/// other checks go on: a machine without the network of rustup can still check a change.
pub(crate) fn run_for_ci(workspace: &Workspace) -> Result<()> {
    match Provider::new(workspace, true).provide(&[&MIRI]) {
        Ok(_) => tests(workspace, Runner::detect(workspace), &Options::for_ci()).run(),
        Err(lack) => {
            eprintln!("\nMiri: unavailable: {}; to do: {}\n", lack.reason, lack.remedy);
            Ok(())
        }
    }
}

fn detect(workspace: &Workspace) -> Presence {
    match nightly(workspace).args(["miri", "--version"]).capture() {
        Ok(version) => {
            Presence::Found { place: version.trim().to_owned(), env: Environment::new() }
        }
        Err(_) => Presence::Missing { reason: "not in the nightly toolchain".to_owned() },
    }
}

/// Adds to the nightly toolchain that is there, whichever it is; only without one, the newest is
/// fetched.
fn install(workspace: &Workspace) -> Result<()> {
    let rustup = || Tool::new("rustup", &workspace.root);
    if rustup().args(["run", "nightly", "rustc", "--version"]).capture().is_ok() {
        let add = ["component", "add", "--toolchain", "nightly", "miri", "rust-src"];
        return rustup().args(add).run();
    }
    let add = ["toolchain", "install", "nightly", "--profile", "minimal", "--no-self-update"];
    let components = ["--component", "miri", "--component", "rust-src"];
    rustup().args(add.into_iter().chain(components)).run()
}

fn nightly(workspace: &Workspace) -> Tool {
    Tool::new("rustup", &workspace.root).args(["run", "nightly", "cargo"])
}

fn tests(workspace: &Workspace, runner: Runner, options: &Options) -> Tool {
    let (run, sample): (&[&str], &[&str]) = match runner {
        Runner::Nextest => (
            &["nextest", "run"],
            &["--filterset", "not (binary(conformance) | binary(layout) | test(ten_thousand))"],
        ),
        Runner::CargoTest => (&["test"], &["--lib"]),
    };
    let mut args: Vec<String> = Vec::new();
    for (package, features) in IN_RUST_ALONE {
        args.extend(["--package".to_owned(), package.to_owned()]);
        if !features.is_empty() {
            args.extend(["--features".to_owned(), format!("{package}/{features}")]);
        }
    }
    if !options.sampled {
        args.extend(
            ONLY_IN_ALL_OF_MIRI.iter().flat_map(|name| ["--package", name].map(str::to_owned)),
        );
    }
    let sample = if options.sampled { sample } else { &[] };
    args.extend(options.name.clone());
    nightly(workspace)
        .args(["miri"].iter().chain(run).chain(&["--no-fail-fast"]).chain(sample).copied())
        .args(args)
        // Files and clocks are read by tests; an address that went through an integer is DLPack's way.
        .env("MIRIFLAGS", "-Zmiri-disable-isolation -Zmiri-permissive-provenance")
        .env("PROPTEST_CASES", "4")
        // A folder of its own: another compiler would make cargo build everything anew.
        .env("CARGO_TARGET_DIR", workspace.target.join("miri").display().to_string())
}

#[cfg(test)]
mod tests {
    use super::{Options, Runner, tests};
    use crate::workspace::tests::example;

    #[test]
    fn only_the_sample_leaves_tests_out() {
        for (runner, option) in [(Runner::Nextest, "--filterset"), (Runner::CargoTest, "--lib")] {
            let line = |sampled| tests(&example(), runner, &Options { sampled, name: None }).line();
            assert!(line(true).contains(option), "{}", line(true));
            assert!(!line(true).contains("bridge-memory"), "{}", line(true));
            assert!(!line(false).contains(option), "{}", line(false));
            assert!(line(false).contains("--package bridge-memory"), "{}", line(false));
            assert!(line(false).contains("--features bridge-cpu/ndarray"), "{}", line(false));
        }
    }
}
