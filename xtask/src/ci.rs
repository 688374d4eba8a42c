//! `cargo xtask ci`: every check that a change has to pass, the cheapest first, the tests last.

use std::process::ExitCode;

use clap::Args;

use crate::cargo_deny::CARGO_DENY;
use crate::command::{Environment, Tool};
use crate::failure::{Failure, Result};
use crate::requirement::Provider;
use crate::test_matrix;
use crate::workspace::Workspace;

/// Options of `ci`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Leave the test matrix out
    #[arg(long)]
    checks_only: bool,
}

/// Runs the checks and stops at the first that fails; then, unless told not to, the test matrix.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    let deny = Provider::new(workspace, true)
        .provide(&[&CARGO_DENY])
        .map_err(|lack| {
            Failure::new(
                "check the dependencies with cargo-deny",
                lack.reason,
                lack.remedy,
            )
        })?;
    for check in checks(workspace, &deny) {
        check.run()?;
    }
    if options.checks_only {
        return Ok(ExitCode::SUCCESS);
    }
    test_matrix::run(workspace, &test_matrix::Options::for_ci())
}

/// The checks of this workspace and of the third party's, in the order they run.
fn checks(workspace: &Workspace, deny: &Environment) -> Vec<Tool> {
    let cargo = |args: &str| workspace.cargo().args(args.split(' '));
    let target = workspace.target.display().to_string();
    let third_party = |command: &str, rest: &str| {
        let args = format!("{command} --manifest-path tests/third-party/Cargo.toml {rest}");
        cargo(&args).env("CARGO_TARGET_DIR", &target)
    };
    vec![
        cargo("fmt --all -- --check"),
        third_party("fmt", "-- --check"),
        cargo("deny --all-features check bans licenses sources").envs(deny),
        // The same rules for a smaller tree: that it does not need some of them is no warning.
        third_party(
            "deny",
            "--config deny.toml --all-features check --allow unmatched-skip \
             --allow license-not-encountered --allow license-exception-not-encountered \
             bans licenses sources",
        )
        .envs(deny),
        cargo("clippy --workspace --all-targets -- -D warnings"),
        third_party("clippy", "--all-targets -- -D warnings"),
        cargo("doc --workspace --no-deps").env("RUSTDOCFLAGS", "-Dwarnings"),
    ]
}
