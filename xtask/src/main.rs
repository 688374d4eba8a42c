//! Every chore of the workspace is a subcommand of `cargo xtask`; there are no shell scripts.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people: results go to standard output, progress to standard error"
)]

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::failure::Result;
use crate::workspace::Workspace;

mod bench;
mod cargo_deny;
mod cargo_tool;
mod cells;
mod ci;
mod command;
mod cpp_compiler;
mod failure;
mod features;
#[cfg(test)]
mod floors;
mod fuzz;
mod gpu_bundle;
mod libtest;
mod libtorch;
mod loom;
mod miri;
mod mutants;
mod nextest;
mod nvidia_wheels;
mod older_torch;
mod opencl;
mod outcome;
mod package_files;
mod packages;
mod printed;
mod ptx;
mod ptx_assembly;
mod python;
mod python_interpreters;
mod python_packages;
mod python_peers;
mod python_tests;
mod python_wheel;
mod ratios;
mod requirement;
mod run_tests;
mod sanitize;
mod setup;
mod table;
mod tally;
mod test_matrix;
mod workspace;

/// The chores of the arraybridge workspace.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask", version)]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Test every crate, and every backend with each choice of its features
    TestMatrix(test_matrix::Options),
    /// Run every check of a change: format, licences, lints, documentation, then the test matrix
    Ci(ci::Options),
    /// Run the benchmarks
    Bench(bench::Options),
    /// Build a folder of tests and benchmarks to run on a machine with an NVIDIA driver only
    GpuBundle(gpu_bundle::Options),
    /// Run the tests of bridge-torch under AddressSanitizer
    Sanitize(sanitize::Options),
    /// Run the tests that try every order of the steps of threads
    Loom(loom::Options),
    /// Run the tests of the crates without a framework in another language under Miri
    Miri(miri::Options),
    /// Plant small faults, one at a time, and say which of them no test notices
    Mutants(mutants::Options),
    /// Read files and DLPack descriptors that nobody would write
    Fuzz(fuzz::Options),
    /// Run the tests of bridge-torch with an older tch and libtorch, in a copy of the workspace
    OlderTorch(older_torch::Options),
    /// Build the Python package and install it into .venv
    Python(python_wheel::Options),
    /// Make the PTX of the CUDA kernels from their source, or check it
    Ptx(ptx::Options),
    /// List what the chores need beyond Rust, or install what is named
    Setup(setup::Options),
}

fn main() -> ExitCode {
    match run(&Cli::parse().chore) {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("\nerror: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(chore: &Chore) -> Result<ExitCode> {
    let workspace = Workspace::find()?;
    match chore {
        Chore::TestMatrix(options) => test_matrix::run(&workspace, options),
        Chore::Ci(options) => ci::run(&workspace, options),
        Chore::Bench(options) => bench::run(&workspace, options),
        Chore::GpuBundle(options) => gpu_bundle::run(&workspace, options),
        Chore::Sanitize(options) => sanitize::run(&workspace, options),
        Chore::Loom(options) => loom::run(&workspace, options),
        Chore::Miri(options) => miri::run(&workspace, options),
        Chore::Mutants(options) => mutants::run(&workspace, options),
        Chore::Fuzz(options) => fuzz::run(&workspace, options),
        Chore::OlderTorch(options) => older_torch::run(&workspace, options),
        Chore::Python(options) if options.interpreters => {
            python_interpreters::test_each(&workspace, options.profile())
        }
        Chore::Python(options) => python_wheel::run(&workspace, options),
        Chore::Ptx(options) => ptx::run(&workspace, options),
        Chore::Setup(options) => setup::run(&workspace, options),
    }
}

#[cfg(test)]
mod tests {
    use super::Cli;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
