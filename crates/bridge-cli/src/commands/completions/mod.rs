//! `completions`: prints a completion script. What the script cannot know beforehand, the names of arrays in
//! the files on the line, it asks the program for, by `complete-names`.

mod line;
mod names;

use std::sync::LazyLock;

use arraybridge::{Device, Registry};
use clap::CommandFactory;
use clap::builder::PossibleValuesParser;
use clap_complete::{Shell, generate};

use crate::args::Cli;
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Outcome;

pub(crate) use self::names::{NamesArgs, complete};

/// Prints the script that completes the arguments of `program`.
pub(crate) fn run(
    shell: Shell,
    program: &clap::Command,
    console: &mut Console<'_>,
) -> Outcome<Exit> {
    let name = program.get_bin_name().unwrap_or_else(|| program.get_name()).to_owned();
    let mut script = Vec::new();
    generate(shell, &mut with_values(shown()), &name, &mut script);
    let script = with_names(shell, &name, String::from_utf8_lossy(&script).trim_end());
    console.print(&script)?;
    Ok(Exit::Done)
}

/// The program without what only scripts call.
fn shown() -> clap::Command {
    let whole = Cli::command();
    let shown = whole.get_subcommands().filter(|command| !command.is_hide_set());
    clap::Command::new("arraybridge").version(env!("CARGO_PKG_VERSION")).subcommands(shown.cloned())
}

/// The script, with what asks for the names of arrays in the files on the line.
fn with_names(shell: Shell, program: &str, script: &str) -> String {
    let addition = |text: &str| {
        // The function that clap_complete has made is called so.
        let function = program.replace('-', "__");
        text.replace("FUNCTION", &function).replace("PROGRAM", program)
    };
    match shell {
        Shell::Bash => format!("{script}\n{}", addition(include_str!("names.bash")).trim_end()),
        Shell::Fish => format!("{script}\n{}", addition(include_str!("names.fish")).trim_end()),
        Shell::Zsh => {
            // The first line says what it completes, and what follows runs the last one.
            let (head, rest) = script.split_once('\n').unwrap_or((script, ""));
            let rest = rest
                // With two colons options behind the first file would be taken for files.
                .replace("'*::inputs ", "'*:inputs ")
                .replace("'*::files ", "'*:files ")
                .replace(":NAME:_default'", &format!(":NAME:_{program}_names name'"))
                .replace(":PART:_default'", &format!(":PART:_{program}_names key'"));
            format!("{head}\n{}\n{rest}", addition(include_str!("names.zsh")).trim_end())
        }
        _ => script.to_owned(),
    }
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
