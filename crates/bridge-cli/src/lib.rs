//! The program `arraybridge` as a library: it converts array files (`.npy`, `.npz`, `.safetensors`, `.gguf`, `.pt`)
//! and explains, measures and verifies conversions between the linked frameworks.
//!
//! `docs/program.md` describes the commands, the exit codes and the JSON forms.
//!
//! # A program with your own backends
//!
//! Link the crate of the backend, and hand over:
//!
//! ```no_run
//! // use bridge_nalgebra as _; // links the backend and thereby registers it
//!
//! fn main() -> bridge_cli::Exit {
//!     bridge_cli::main()
//! }
//! ```
//!
//! Its commands `doctor`, `matrix`, `plan` and `convert` know that backend beside those of this crate's
//! features; `default-features = false` leaves all of them out.
//!
//! # Inside another program
//!
//! [`run`] runs one command line and returns; [`run_on`] does so with the output streams that it is given:
//!
//! ```
//! use bridge_cli::{Console, Exit, Output, run_on};
//!
//! let (mut out, mut errors) = (Vec::new(), Vec::new());
//! let console = Console::new(Output::plain(&mut out), Output::plain(&mut errors));
//! let exit = run_on(["arraybridge", "doctor", "--json"], console);
//!
//! assert_eq!(exit, Exit::Done);
//! assert!(out.starts_with(br#"{"backends":["#));
//! assert!(errors.is_empty());
//! ```
//!
//! Both can be called any number of times, also from several threads at once. They never end the process,
//! and install no signal handler and no panic hook. Standard input is read only where the command line names it,
//! as `-`: [`run`] reads that of the process, [`run_on`] what [`Console::with_input`] was given. The command
//! that `monitor` runs has the process's own standard streams. What they share with the rest of
//! the process is what every library does: the working directory, which relative paths start from, the
//! environment, and the registry of linked backends. A panic of a backend unwinds to the caller; a file that
//! was being written is removed then too.
//!
//! # Features
//!
//! `ndarray`, `candle`, `torch`, `opencl` and `cuda` link the backends of these names; `pt` adds `.pt` and
//! `.pth` files, which need no libtorch; `plot` adds the pictures of `monitor`. The default features are
//! `ndarray`, `candle`, `pt` and `plot`.

mod args;
mod commands;
mod console;
mod convert;
mod data_type_arg;
mod exit;
mod failure;
mod formats;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod interval;
mod room;
mod signals;
mod size;
mod standard_input;

use std::ffi::OsString;

use clap::{CommandFactory, FromArgMatches};

use crate::args::{Cli, Command};
use crate::failure::Outcome;

pub use crate::console::{Console, Output};
pub use crate::exit::Exit;

/// The `main` of a program that is nothing but `arraybridge`: runs the command line of the process.
///
/// Unlike [`run`] it sees to the signals of the process. Where SIGINT or SIGTERM ends it in the middle of a
/// conversion, the partial file is removed first; while `monitor` runs a command, they are the command's. A limit on file sizes (SIGXFSZ) becomes an error like any
/// other. Another call changes nothing about that.
pub fn main() -> Exit {
    signals::handle();
    run(std::env::args_os())
}

/// Runs a command line with the output streams of the process.
///
/// The first argument is the name that help and completions call the program by, as in
/// [`std::env::args_os`]. Failures are printed, and the returned value says how it ended.
///
/// A closed standard output (`arraybridge matrix | head -1`) is not an error, if the process ignores SIGPIPE,
/// as Rust and Python programs do.
pub fn run(args: impl IntoIterator<Item = impl Into<OsString>>) -> Exit {
    run_on(args, Console::of_process())
}

/// Runs a command line and writes to the streams of `console`. All else is as for [`run`].
pub fn run_on(
    args: impl IntoIterator<Item = impl Into<OsString>>,
    mut console: Console<'_>,
) -> Exit {
    let args: Vec<OsString> = args.into_iter().map(Into::into).collect();
    console.answers_in_json(asks_for_json(&args));
    execute(args, &mut console).unwrap_or_else(|failure| {
        console.print_failure(&failure);
        failure.exit()
    })
}

/// Whether failures are told as JSON. Asked before the command line is understood, which it may not be.
fn asks_for_json(args: &[OsString]) -> bool {
    args.iter().skip(1).take_while(|arg| *arg != "--").any(|arg| arg == "--json")
}

fn execute(args: Vec<OsString>, console: &mut Console<'_>) -> Outcome<Exit> {
    let mut parser = Cli::command();
    let parsed = parser.try_get_matches_from_mut(args);
    let cli = match parsed.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(answer) => return console.print_usage(&answer),
    };
    match cli.command {
        Command::Matrix(args) => commands::matrix::run(&args, console),
        Command::Doctor(args) => commands::doctor::run(&args, console),
        Command::Monitor(args) => commands::monitor::run(&args, console),
        Command::Diff(args) => commands::diff::run(&args, console),
        Command::Info(args) => commands::info::run(&args, console),
        Command::Plan(args) => commands::plan::run(&args, console),
        Command::Convert(args) => commands::convert::run(&args, console),
        Command::CompleteNames(args) => commands::completions::complete(&args, &parser, console),
        Command::Completions { shell } => commands::completions::run(shell, &parser, console),
    }
}
