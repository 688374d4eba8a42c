//! The program `arraybridge`: converts array files (`.npy`, `.npz`, `.safetensors`, `.pt`) and explains,
//! measures and verifies conversions between the linked frameworks.
//!
//! `docs/program.md` describes the commands, the exit codes and the JSON forms.

mod args;
mod commands;
mod convert;
mod failure;
mod formats;
mod output;
mod signals;
mod size;
mod tables;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    signals::install();
    let done = match cli.command {
        Command::Matrix(args) => commands::matrix::run(&args),
        Command::Doctor(args) => commands::doctor::run(&args),
        Command::Plan(args) => commands::plan::run(&args),
        Command::Convert(args) => commands::convert::run(&args),
        Command::Completions { shell } => commands::completions::run(shell),
    };
    match done {
        Ok(code) => code,
        Err(failure) => {
            failure.print();
            failure.exit_code()
        }
    }
}
