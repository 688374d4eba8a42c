//! `completions`: prints a completion script.

use clap_complete::{Shell, generate};

use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Outcome;

/// Prints the script that completes the arguments of `program`.
pub(crate) fn run(
    shell: Shell,
    program: &mut clap::Command,
    console: &mut Console<'_>,
) -> Outcome<Exit> {
    let name = program.get_bin_name().unwrap_or_else(|| program.get_name()).to_owned();
    let mut script = Vec::new();
    generate(shell, program, name, &mut script);
    console.print(String::from_utf8_lossy(&script).trim_end())?;
    Ok(Exit::Done)
}
