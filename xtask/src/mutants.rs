//! `cargo xtask mutants`: plants small faults, one at a time, and says which of them no test notices.

use std::process::ExitCode;

use clap::Args;

use crate::cargo_tool::CargoTool;
use crate::failure::{Failure, Result};
use crate::packages::IN_RUST_ALONE;
use crate::requirement::{Provider, Requirement};
use crate::workspace::Workspace;

const CARGO_MUTANTS: CargoTool = CargoTool { name: "mutants", version: "27.1.0" };

pub(crate) const MUTANTS: Requirement = Requirement {
    name: "cargo-mutants",
    purpose: "plants faults for the tests to notice (cargo xtask mutants)",
    detect: |workspace| CARGO_MUTANTS.detect(workspace),
    remedy: "run `cargo xtask setup cargo-mutants`",
    install: Some(|workspace| CARGO_MUTANTS.install(workspace)),
};

/// Options of `mutants`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Plant faults in these packages only
    #[arg(long = "package", short, value_name = "PACKAGE")]
    packages: Vec<String>,
    /// One of so many equal parts of the faults, as 1/8
    #[arg(long)]
    shard: Option<String>,
    /// Plant faults only where the change since this commit or branch is
    #[arg(long, value_name = "COMMIT")]
    since: Option<String>,
}

/// Installs cargo-mutants where it is missing, and runs it. It fails where a fault is not noticed.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    let env = Provider::new(workspace, true)
        .provide(&[&MUTANTS])
        .map_err(|lack| Failure::new("run cargo-mutants", lack.reason, lack.remedy))?;
    let mut tool = workspace.cargo().args(arguments(workspace, options)).envs(&env);
    if let Some(commit) = &options.since {
        let changed = workspace.target.join("since.diff");
        let diff = crate::command::Tool::new("git", &workspace.root).args(["diff", commit]);
        std::fs::write(&changed, diff.capture()?).map_err(|error| {
            Failure::new(format!("write {}", changed.display()), error.to_string(), "make room")
        })?;
        tool = tool.args(["--in-diff".to_owned(), changed.display().to_string()]);
    }
    tool.run()?;
    println!("Every fault was noticed.");
    Ok(ExitCode::SUCCESS)
}

fn arguments(workspace: &Workspace, options: &Options) -> Vec<String> {
    let mut args = vec!["mutants".to_owned(), "--no-shuffle".to_owned()];
    args.extend(["--test-tool".to_owned(), "nextest".to_owned(), "--all-features".to_owned()]);
    let output = workspace.target.join("mutants").display().to_string();
    args.extend(["--output".to_owned(), output]);
    if options.packages.is_empty() {
        let names = IN_RUST_ALONE.iter().map(|(name, _)| *name).chain(["bridge-host"]);
        args.extend(names.flat_map(|name| ["--package".to_owned(), name.to_owned()]));
    } else {
        let named = options.packages.iter();
        args.extend(named.flat_map(|name| ["--package".to_owned(), name.clone()]));
    }
    if let Some(shard) = &options.shard {
        args.extend(["--shard".to_owned(), shard.clone()]);
    }
    args
}

#[cfg(test)]
mod tests {
    use super::{Options, arguments};
    use crate::workspace::tests::example;

    #[test]
    fn a_named_package_stands_for_all_others() {
        let named = |packages: &[&str]| {
            let packages = packages.iter().map(|&name| name.to_owned()).collect();
            let options = Options { packages, shard: Some("1/8".into()), since: None };
            arguments(&example(), &options).join(" ")
        };
        assert!(named(&[]).contains("--package bridge-host"), "{}", named(&[]));
        assert!(!named(&["bridge-core"]).contains("bridge-host"));
        assert!(named(&["bridge-core"]).ends_with("--package bridge-core --shard 1/8"));
    }
}
