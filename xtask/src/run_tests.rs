//! Runs tests with cargo-nextest, or with `cargo test` where that is not installed.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::cells::Targets;
use crate::command::{Environment, Lines, Tool};
use crate::failure::Result;
use crate::features::exactly;
use crate::libtest::Text;
use crate::nextest::Events;
use crate::tally::Tally;
use crate::workspace::Workspace;

/// The program that runs unit and integration tests.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Runner {
    /// Each test in a process of its own, so that a crash is one failed test.
    Nextest,
    /// What comes with Rust.
    CargoTest,
}

/// What a run brought.
#[derive(Debug, Default)]
pub(crate) struct TestRun {
    pub(crate) tally: Tally,
    /// Whether the runner exited with 0.
    pub(crate) ended_well: bool,
}

impl TestRun {
    /// Whether it went wrong in a way that no failed test explains, as a build that fails does.
    pub(crate) fn broke_down(&self) -> bool {
        !self.ended_well && self.tally.total().failed == 0
    }
}

impl Runner {
    /// cargo-nextest where it is installed.
    pub(crate) fn detect(workspace: &Workspace) -> Self {
        if workspace.cargo().args(["nextest", "--version"]).capture().is_ok() {
            Self::Nextest
        } else {
            eprintln!("cargo-nextest is not installed: the tests run with `cargo test`");
            Self::CargoTest
        }
    }

    /// Builds and runs the unit and integration tests that `select` (cargo's own arguments)
    /// chooses; one failed test does not end the run.
    pub(crate) fn run(
        self,
        workspace: &Workspace,
        select: &[String],
        env: &Environment,
    ) -> Result<TestRun> {
        match self {
            Self::Nextest => nextest(workspace, select, env),
            Self::CargoTest => cargo_test(workspace, select, env),
        }
    }
}

/// The arguments that choose these tests of `package` with exactly these features.
pub(crate) fn alone(package: &str, features: &[String], targets: Targets) -> Vec<String> {
    let mut args = vec!["--package".to_owned(), package.to_owned()];
    if targets == Targets::Library {
        args.push("--lib".to_owned());
    }
    args.extend(exactly(package, features));
    args
}

/// Runs the examples in the documentation of the packages that `select` chooses.
pub(crate) fn doc_tests(
    workspace: &Workspace,
    select: &[String],
    env: &Environment,
) -> Result<TestRun> {
    let tool = workspace.cargo().args(["test", "--doc", "--no-fail-fast"]);
    read_text(workspace, tool.args(select).envs(env), Text::default())
}

fn nextest(workspace: &Workspace, select: &[String], env: &Environment) -> Result<TestRun> {
    let tool = workspace
        .cargo()
        .args(["nextest", "run", "--no-fail-fast", "--no-tests", "pass"])
        .args(["--message-format", "libtest-json-plus", "--message-format-version", "0.1"])
        .args(select)
        .envs(env)
        .env("NEXTEST_EXPERIMENTAL_LIBTEST_JSON", "1");
    let mut events = Events::default();
    let ended_well = tool.each_line(Lines::Stdout, |line| events.see(line))?;
    Ok(TestRun { tally: events.finish(), ended_well })
}

fn cargo_test(workspace: &Workspace, select: &[String], env: &Environment) -> Result<TestRun> {
    let library_alone = select.iter().any(|word| word == "--lib");
    let targets = (!library_alone).then_some("--tests");
    let tool = || workspace.cargo().args(["test"]).args(targets).args(select).envs(env);
    let mut binaries = BTreeMap::new();
    let build = tool().args(["--no-run", "--message-format", "json-render-diagnostics"]);
    let built = build.each_line(Lines::Stdout, |line| {
        if let Some((binary, package)) = test_binary(workspace, line) {
            binaries.insert(binary, package);
        }
    })?;
    if !built {
        return Ok(TestRun::default());
    }
    read_text(workspace, tool().args(["--no-fail-fast"]), Text::with_binaries(binaries))
}

fn read_text(workspace: &Workspace, tool: Tool, mut text: Text) -> Result<TestRun> {
    let owner = |library: &str| {
        let package = workspace.package_of_library(library);
        package.map_or_else(|| library.to_owned(), |package| package.name.clone())
    };
    // Colour codes would hide the words that are read.
    let tool = tool.env("CARGO_TERM_COLOR", "never");
    let ended_well = tool.each_line(Lines::Both, |line| {
        eprintln!("{line}");
        text.see(line, owner);
    })?;
    Ok(TestRun { tally: text.finish(), ended_well })
}

/// The file name of a test binary and the package it belongs to, from cargo's report of a build.
fn test_binary(workspace: &Workspace, line: &str) -> Option<(String, String)> {
    #[derive(Deserialize)]
    struct Artifact {
        manifest_path: String,
        executable: String,
    }
    let artifact: Artifact = serde_json::from_str(line).ok()?;
    let binary = artifact.executable.rsplit(['/', '\\']).next()?.to_owned();
    let package = workspace.package_at(&artifact.manifest_path);
    Some((binary, package.map_or(artifact.manifest_path, |package| package.name.clone())))
}

#[cfg(test)]
mod tests {
    use super::{Targets, TestRun, alone, test_binary};
    use crate::workspace::tests::example;

    #[test]
    fn only_an_end_that_no_failed_test_explains_is_a_breakdown() {
        let mut run = TestRun::default();
        assert!(run.broke_down());
        run.tally.of_mut("a").failed = 1;
        assert!(!run.broke_down());
        assert!(!TestRun { ended_well: true, ..TestRun::default() }.broke_down());
    }

    #[test]
    fn a_package_alone_has_exactly_its_features() {
        let line = |targets| alone("arraybridge", &["candle".to_owned()], targets).join(" ");
        let features = "--no-default-features --features arraybridge/candle";
        assert_eq!(line(Targets::All), format!("--package arraybridge {features}"));
        assert_eq!(line(Targets::Library), format!("--package arraybridge --lib {features}"));
    }

    #[test]
    fn a_test_binary_belongs_to_the_package_of_its_manifest() {
        let line = r#"{"reason":"compiler-artifact","manifest_path":"/w/crates/bridge/Cargo.toml",
            "executable":"/w/target/debug/deps/matrix-16"}"#;
        let found = test_binary(&example(), line).unwrap();
        assert_eq!(found, ("matrix-16".to_owned(), "arraybridge".to_owned()));
        let library = r#"{"reason":"compiler-artifact","manifest_path":"/w","executable":null}"#;
        assert_eq!(test_binary(&example(), library), None);
    }
}
