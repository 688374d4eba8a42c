//! `cargo xtask loom`: runs the tests that try every order in which threads can take their steps.

use std::process::ExitCode;

use clap::Args;

use crate::command::Tool;
use crate::failure::Result;
use crate::workspace::Workspace;

/// Options of `loom`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Follow orders with so many preemptions at most
    #[arg(long, default_value_t = 3)]
    preemptions: u32,
    /// Run only the tests whose name contains this
    name: Option<String>,
}

/// Builds bridge-memory with loom's primitives in place of the standard library's, and runs its
/// tests.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    tests(workspace, options).run()?;
    println!("loom found nothing.");
    Ok(ExitCode::SUCCESS)
}

fn tests(workspace: &Workspace, options: &Options) -> Tool {
    let args = ["test", "--release", "--package", "bridge-memory", "--test", "loom"];
    workspace
        .cargo()
        .args(args)
        .args(options.name.clone())
        .env("RUSTFLAGS", "--cfg loom")
        .env("LOOM_MAX_PREEMPTIONS", options.preemptions.to_string())
        // A folder of its own: the flag makes cargo build everything anew.
        .env("CARGO_TARGET_DIR", workspace.target.join("loom").display().to_string())
}

#[cfg(test)]
mod tests {
    use super::{Options, tests};
    use crate::workspace::tests::example;

    #[test]
    fn the_flag_and_the_name_reach_cargo() {
        let options = Options { preemptions: 2, name: Some("promise".to_owned()) };
        let line = tests(&example(), &options).line();
        assert!(line.contains("--test loom") && line.ends_with("promise"), "{line}");
    }
}
