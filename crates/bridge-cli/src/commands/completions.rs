//! `arraybridge completions`: prints a completion script.

use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::{Shell, generate};

use crate::args::Cli;
use crate::failure::Outcome;
use crate::output;

pub(crate) fn run(shell: Shell) -> Outcome<ExitCode> {
    let mut script = Vec::new();
    generate(shell, &mut Cli::command(), "arraybridge", &mut script);
    output::print(String::from_utf8_lossy(&script).trim_end())?;
    Ok(ExitCode::SUCCESS)
}
