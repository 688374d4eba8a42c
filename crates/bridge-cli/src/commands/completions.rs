//! `completions`: prints a completion script.

use std::sync::LazyLock;

use arraybridge::{Device, Registry};
use clap::builder::PossibleValuesParser;
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
    let mut program = with_values(program.clone());
    let mut script = Vec::new();
    generate(shell, &mut program, name, &mut script);
    console.print(String::from_utf8_lossy(&script).trim_end())?;
    Ok(Exit::Done)
}

/// The same, with the values that some options take on this machine: the script offers them, and parsing
/// needs no list of them.
fn with_values(program: clap::Command) -> clap::Command {
    let with_values = |command: clap::Command| {
        command.mut_args(|arg| match arg.get_long() {
            Some("via") => arg.value_parser(PossibleValuesParser::new(backends())),
            Some("device") => arg.value_parser(PossibleValuesParser::new(devices())),
            _ => arg,
        })
    };
    program.mut_subcommands(with_values)
}

/// The linked backends.
fn backends() -> Vec<&'static str> {
    let registry = Registry::global().map(Registry::backends).unwrap_or_default();
    registry.iter().map(|backend| backend.name()).collect()
}

/// The devices that they have here, as they are written.
fn devices() -> Vec<&'static str> {
    static DEVICES: LazyLock<Vec<String>> = LazyLock::new(|| {
        let mut found = vec![Device::CPU.to_string()];
        for backend in Registry::global().iter().flat_map(|registry| registry.available()) {
            let devices = backend.devices().unwrap_or_default();
            for device in devices.iter().map(ToString::to_string) {
                if !found.contains(&device) {
                    found.push(device);
                }
            }
        }
        found
    });
    DEVICES.iter().map(String::as_str).collect()
}
