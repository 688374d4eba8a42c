//! `cargo xtask ci`: every check that a change has to pass, the cheapest first, the tests last.

use std::process::ExitCode;

use clap::Args;

use crate::cargo_deny::CARGO_DENY;
use crate::cells::{PYTHON_PACKAGE, features_of_all};
use crate::command::{Environment, Tool};
use crate::failure::{Failure, Result};
use crate::libtorch::TORCH;
use crate::miri;
use crate::python_packages::PYTHON_FRAMEWORKS;
use crate::requirement::{Provider, Requirement};
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
///
/// PyTorch and the other frameworks of the Python package are fetched while cargo-deny is built, if they
/// are not there: one waits for the network, the other for the processor.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    let checks = Checks { workspace };
    let torch = std::thread::scope(|scope| {
        let torch = scope.spawn(|| {
            let torch = provided(workspace, &TORCH, "compile bridge-torch");
            fetch_frameworks(workspace);
            torch
        });
        run_each(&checks.format())?;
        let deny = provided(workspace, &CARGO_DENY, "check the dependencies with cargo-deny")?;
        run_each(&checks.dependencies(&deny))?;
        torch.join().expect("the thread that fetches PyTorch does not panic")
    })?;
    run_each(&checks.code(&torch))?;
    miri::run_for_ci(workspace)?;
    if options.checks_only {
        return Ok(ExitCode::SUCCESS);
    }
    test_matrix::run(workspace, &test_matrix::Options::for_ci())
}

fn run_each(tools: &[Tool]) -> Result<()> {
    tools.iter().try_for_each(Tool::run)
}

/// The variables with which cargo finds what is required, installed first when it is missing.
fn provided(
    workspace: &Workspace,
    requirement: &'static Requirement,
    what_for: &str,
) -> Result<Environment> {
    let mut provider = Provider::new(workspace, true);
    provider
        .provide(&[requirement])
        .map_err(|lack| Failure::new(what_for, lack.reason, lack.remedy))
}

/// No check of the code needs them: where they cannot be had, the test matrix says so.
fn fetch_frameworks(workspace: &Workspace) {
    if workspace.package(PYTHON_PACKAGE).is_none() {
        return;
    }
    if let Err(lack) = Provider::new(workspace, true).provide(&[&PYTHON_FRAMEWORKS]) {
        eprintln!("\n{}: {}; to do: {}", PYTHON_FRAMEWORKS.name, lack.reason, lack.remedy);
    }
}

/// The checks of this workspace and of the third party's beside it.
struct Checks<'a> {
    workspace: &'a Workspace,
}

impl Checks<'_> {
    fn format(&self) -> [Tool; 2] {
        [self.ours("fmt --all -- --check"), self.strangers("fmt", "--all -- --check")]
    }

    fn dependencies(&self, deny: &Environment) -> [Tool; 2] {
        let ours = self.ours("deny --all-features check bans licenses sources");
        // The same rules for a smaller tree: that it does not need some of them is no warning.
        let strangers = self.strangers(
            "deny",
            "--config deny.toml --all-features check --allow unmatched-skip \
             --allow license-not-encountered --allow license-exception-not-encountered \
             bans licenses sources",
        );
        [ours.envs(deny), strangers.envs(deny)]
    }

    fn code(&self, torch: &Environment) -> [Tool; 3] {
        let packages = ["arraybridge", "bridge-benches", "bridge-cli", "bridge-tests"];
        let all = features_of_all(self.workspace, &packages, &[]).join(",");
        let clippy = self.ours("clippy --workspace --all-targets --features").args([&all]);
        let document = self.ours("doc --workspace --no-deps --features").args([&all]);
        let document = document.env("RUSTDOCFLAGS", "-Dwarnings");
        [
            clippy.args(["--", "-D", "warnings"]).envs(torch),
            self.strangers("clippy", "--all-targets -- -D warnings"),
            document.envs(torch),
        ]
    }

    fn ours(&self, args: &str) -> Tool {
        self.workspace.cargo().args(args.split(' '))
    }

    /// A command in the workspace that stands for a third party's.
    fn strangers(&self, command: &str, args: &str) -> Tool {
        self.ours(&format!("{command} --manifest-path tests/third-party/Cargo.toml {args}"))
            .env("CARGO_TARGET_DIR", self.workspace.target.display().to_string())
    }
}
