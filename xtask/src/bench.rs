//! `cargo xtask bench`: runs the benchmarks, each beside its peers.

use std::process::ExitCode;

use clap::Args;

use crate::command::Tool;
use crate::failure::Result;
use crate::workspace::Workspace;

/// Options of `bench`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Stop each benchmark as soon as its result is roughly known
    #[arg(long)]
    quick: bool,
    /// Run only the benchmarks whose name contains this
    name: Option<String>,
}

/// Runs `cargo bench` and lets criterion print.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    tool(workspace, options).run()?;
    println!("\nReports: {}", workspace.target.join("criterion").display());
    Ok(ExitCode::SUCCESS)
}

fn tool(workspace: &Workspace, options: &Options) -> Tool {
    let for_criterion =
        options.quick.then_some("--quick").into_iter().chain(options.name.as_deref());
    workspace
        .cargo()
        .args(["bench", "--package", "bridge-benches", "--bench", "*", "--"])
        .args(for_criterion)
}

#[cfg(test)]
mod tests {
    use super::{Options, tool};
    use crate::workspace::tests::example;

    #[test]
    fn criterion_gets_the_flag_and_the_name() {
        let line = |quick, name: Option<&str>| {
            tool(&example(), &Options { quick, name: name.map(str::to_owned) }).line()
        };
        let cargo = "bench --package bridge-benches --bench '*' --";
        assert!(line(false, None).ends_with(cargo));
        assert!(line(true, Some("copy")).ends_with(&format!("{cargo} --quick copy")));
    }
}
