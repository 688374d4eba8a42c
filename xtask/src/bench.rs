//! `cargo xtask bench`: runs the benchmarks and says each peer's time as a multiple of ours.

use std::process::ExitCode;

use clap::Args;

use crate::command::{Environment, Tool};
use crate::failure::{Failure, Result};
use crate::libtorch::TORCH;
use crate::ratios;
use crate::requirement::Provider;
use crate::table::{self, Header};
use crate::workspace::Workspace;

/// Options of `bench`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Stop each benchmark as soon as its result is roughly known
    #[arg(long)]
    quick: bool,
    /// Print the ratios as a GitHub table, as docs/results has them
    #[arg(long)]
    markdown: bool,
    /// Run the benchmarks of torch too, which need libtorch
    #[arg(long)]
    torch: bool,
    /// Run only the benchmarks whose name contains this
    name: Option<String>,
}

/// Runs `cargo bench`, lets criterion print, and prints the ratios last. Ratios of earlier runs
/// stay in the table until they are measured again.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    let env = if options.torch {
        Provider::new(workspace, true)
            .provide(&[&TORCH])
            .map_err(|lack| Failure::new("run the benchmarks of torch", lack.reason, lack.remedy))?
    } else {
        Environment::new()
    };
    tool(workspace, options).envs(&env).run()?;
    let criterion = workspace.target.join("criterion");
    let rows = ratios::rows(&criterion);
    let header = Header { names: &ratios::COLUMNS, numbers: &[2, 3] };
    let print = if options.markdown { table::markdown } else { table::text };
    println!("\n{}\n\nReports: {}", print(&header, &rows), criterion.display());
    Ok(ExitCode::SUCCESS)
}

fn tool(workspace: &Workspace, options: &Options) -> Tool {
    let for_criterion =
        options.quick.then_some("--quick").into_iter().chain(options.name.as_deref());
    workspace
        .cargo()
        .args(["bench", "--package", "bridge-benches", "--bench", "*"])
        .args(
            if options.torch { &["--features", "torch", "--"][..] } else { &["--"] }
                .iter()
                .copied(),
        )
        .args(for_criterion)
}

#[cfg(test)]
mod tests {
    use super::{Options, tool};
    use crate::workspace::tests::example;

    #[test]
    fn criterion_gets_the_flag_and_the_name() {
        let line = |quick, name: Option<&str>| {
            let name = name.map(str::to_owned);
            tool(&example(), &Options { quick, markdown: false, torch: false, name }).line()
        };
        let cargo = "bench --package bridge-benches --bench '*' --";
        assert!(line(false, None).ends_with(cargo));
        assert!(line(true, Some("copy")).ends_with(&format!("{cargo} --quick copy")));
    }
}
