//! `cargo xtask bench`: runs the benchmarks and says each peer's time as a multiple of ours.

use std::process::ExitCode;

use clap::{Args, ValueEnum};

use crate::command::Tool;
use crate::failure::{Failure, Result};
use crate::libtorch::TORCH;
use crate::opencl::OPENCL;
use crate::ratios;
use crate::requirement::{Provider, Requirement};
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
    /// Run the benchmarks of these backends too: torch, opencl, cuda
    #[arg(long, value_delimiter = ',')]
    with: Vec<Backend>,
    /// Run only the benchmarks whose name contains this
    name: Option<String>,
}

/// Runs `cargo bench`, lets criterion print, and prints the ratios last. Ratios of earlier runs
/// stay in the table until they are measured again.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    let needed: Vec<_> = options.with.iter().filter_map(|backend| backend.requirement()).collect();
    let env = Provider::new(workspace, true).provide(&needed).map_err(|lack| {
        Failure::new("run the benchmarks of these backends", lack.reason, lack.remedy)
    })?;
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
        .args(["bench", "--package", "bridge-benches", "--benches"])
        .args(more(&options.with))
        .args(["--"])
        .args(for_criterion)
}

/// What cargo is told of backends: those of CUDA are a package, the others features.
fn more(with: &[Backend]) -> Vec<String> {
    let (cuda, others): (Vec<Backend>, Vec<Backend>) =
        with.iter().copied().partition(|&backend| backend == Backend::Cuda);
    let mut words = Vec::new();
    if !cuda.is_empty() {
        words.extend(["--package".to_owned(), "bridge-benches-cuda".to_owned()]);
    }
    if !others.is_empty() {
        let names: Vec<_> = others.iter().map(|one| format!("{one:?}").to_lowercase()).collect();
        words.extend(["--features".to_owned(), names.join(",")]);
    }
    words
}

/// A backend whose benchmarks are built on request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Backend {
    Torch,
    Opencl,
    Cuda,
}

impl Backend {
    /// What its benchmarks need. Those of CUDA say themselves what they cannot measure.
    fn requirement(self) -> Option<&'static Requirement> {
        match self {
            Self::Torch => Some(&TORCH),
            Self::Opencl => Some(&OPENCL),
            Self::Cuda => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Backend, Options, more, tool};
    use crate::workspace::tests::example;

    #[test]
    fn criterion_gets_the_flag_and_the_name() {
        let line = |quick, name: Option<&str>| {
            let name = name.map(str::to_owned);
            tool(&example(), &Options { quick, markdown: false, with: Vec::new(), name }).line()
        };
        let cargo = "bench --package bridge-benches --benches --";
        assert!(line(false, None).ends_with(cargo));
        assert!(line(true, Some("copy")).ends_with(&format!("{cargo} --quick copy")));
    }

    #[test]
    fn backends_become_features_and_cuda_a_package() {
        assert!(more(&[]).is_empty());
        assert_eq!(more(&[Backend::Torch, Backend::Opencl]), ["--features", "torch,opencl"]);
        let all = more(&[Backend::Cuda, Backend::Torch]);
        assert_eq!(all, ["--package", "bridge-benches-cuda", "--features", "torch"]);
    }
}
