//! `cargo xtask sanitize`: runs the tests of bridge-torch under AddressSanitizer, which comes with
//! the Rust compiler: accesses to freed memory, double frees and leaks, in the shim, in tch's path and
//! in what libtorch frees for us.

use std::path::Path;
use std::process::ExitCode;

use clap::Args;

use crate::command::{Environment, Lines, Tool};
use crate::failure::{Failure, Result};
use crate::libtorch::TORCH;
use crate::requirement::Provider;
use crate::workspace::Workspace;

/// Options of `sanitize`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Run only the tests whose name contains this
    name: Option<String>,
}

/// What is compiled with the sanitizer is for this target alone; build scripts are not.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Tests that plant a mistake, and what the sanitizer must say of it.
const PLANTED: [(&str, &str); 2] =
    [("planted_use_after_free", "heap-use-after-free"), ("planted_leak", "detected memory leaks")];

/// First lets it find two planted mistakes, so that silence means something; then runs the tests.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    let torch = Provider::new(workspace, true).provide(&[&TORCH]).map_err(|lack| {
        Failure::new("build bridge-torch with AddressSanitizer", lack.reason, lack.remedy)
    })?;
    let tests = |args: &[&str]| tests(workspace, &torch, args);
    for (planted, says) in PLANTED {
        let mut found = false;
        let tool = tests(&["--lib", "--", "--ignored", "--exact", &planted_path(planted)]);
        let passed = tool.each_line(Lines::Both, |line| {
            eprintln!("{line}");
            found |= line.contains(says);
        })?;
        if passed || !found {
            return Err(Failure::new(
                format!("find the planted mistake {planted}"),
                format!("AddressSanitizer did not say \"{says}\""),
                "see that the C++ compiler and the C library of this machine support it",
            ));
        }
    }
    eprintln!("\nBoth planted mistakes were found. The tests:");
    let names: Vec<&str> = options.name.as_deref().into_iter().collect();
    // Resident memory says nothing under a sanitizer, which keeps what is freed.
    let skipped = ["--skip", "a_hundred_thousand_round_trips"];
    tests(&[&["--tests", "--no-fail-fast", "--"], names.as_slice(), &skipped].concat()).run()?;
    println!("AddressSanitizer found nothing.");
    Ok(ExitCode::SUCCESS)
}

fn planted_path(name: &str) -> String {
    format!("shim::faults::{name}")
}

fn tests(workspace: &Workspace, torch: &Environment, args: &[&str]) -> Tool {
    let suppressions = workspace.root.join("xtask/src/libtorch_leaks.txt");
    workspace
        .cargo()
        .args(["test", "--package", "bridge-torch", "--features", "_faults", "--target", TARGET])
        .args(args.iter().copied())
        .envs(torch)
        // The flag is not stable yet; the compiler is the same.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", "-Zsanitizer=address")
        // A folder of its own: other flags would make cargo build everything anew.
        .env("CARGO_TARGET_DIR", workspace.target.join("sanitize").display().to_string())
        .env("ASAN_OPTIONS", "detect_leaks=1:detect_odr_violation=0:allocator_may_return_null=1")
        .env("LSAN_OPTIONS", lsan(&suppressions))
}

fn lsan(suppressions: &Path) -> String {
    format!("suppressions={}:print_suppressions=0", suppressions.display())
}

#[cfg(test)]
mod tests {
    use super::tests;
    use crate::workspace::tests::example;

    #[test]
    fn the_tests_run_with_the_sanitizer_and_the_planted_mistakes() {
        let line = tests(&example(), &Vec::new(), &["--tests"]).line();
        assert!(line.contains("test --package bridge-torch --features _faults"), "{line}");
        assert!(line.ends_with("--tests"), "{line}");
    }
}
