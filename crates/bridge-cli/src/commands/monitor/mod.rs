//! `arraybridge monitor`: runs a command, and says how much memory it took.

mod devices;
mod files;
mod groups;
mod summary;
mod tree;

use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use arraybridge::Registry;
use arraybridge::memory::profile::{Monitor, SampleError};

use self::devices::Devices;
use self::files::Files;
use self::groups::Groups;
use self::summary::{Ended, Outside, Summary};
use self::tree::Tree;
use crate::args::MonitorArgs;
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::signals;

/// What the series of the command's own memory is called.
const COMMAND: &str = "command";

/// Exit codes that shells, `env` and `timeout` have for commands that do not start.
const NOT_EXECUTABLE: Exit = Exit::Command(126);
const NOT_FOUND: Exit = Exit::Command(127);

pub(crate) fn run(args: &MonitorArgs, console: &mut Console<'_>) -> Outcome<Exit> {
    monitor(args, console)
        .map_err(|failure| failure.asked(|| format!("monitor {}", as_typed(&args.command))))
}

fn monitor(args: &MonitorArgs, console: &mut Console<'_>) -> Outcome<Exit> {
    // What is wrong with the command line or the files is said before the command has done anything.
    let files = Files::new(args)?;
    let devices = Devices::find(Registry::global()?)?;
    let (Some(program), arguments) = (args.command.first(), args.command.get(1..)) else {
        return Err(Failure::usage("no command is named").remedy("name one behind --"));
    };

    let started = Instant::now();
    let running = signals::start(Command::new(program).args(arguments.unwrap_or_default()))
        .map_err(|error| not_started(program, &error))?;
    let largest = Arc::new(AtomicU64::new(0));
    let mut tree = Tree::of(running.id(), Arc::clone(&largest));
    let groups = Arc::new(Groups::of(running.id()));
    let looking = Arc::clone(&groups);
    let sampling = Monitor::builder(args.interval).sampler(move || {
        looking.look();
        let command = tree.measure().map_err(SampleError::from)?;
        let command = command.map(|bytes| (COMMAND.to_owned(), bytes));
        Ok(command.into_iter().chain(devices.readings()).collect())
    });
    let sampling = sampling.start()?;
    groups.mark_by(sampling.marker());
    let lost = |error: io::Error| Failure::new("the command cannot be waited for").why(error);
    running.wait().map_err(lost)?;
    let seconds = started.elapsed().as_secs_f64();
    // Its number is still its own, so that the last sample is of no other process.
    let mut recording = sampling.finish();
    let ended = Ended::from(running.finish().map_err(lost)?);
    groups.mark_end(ended, &mut recording);

    let largest = Some(largest.load(Ordering::Relaxed)).filter(|&bytes| bytes > 0);
    let outside = Outside { seconds, largest_process: largest, memory_events: groups.total() };
    let summary = Summary::new(args, ended, outside, &recording);
    if args.json {
        console.note_json(&summary)?;
    } else {
        console.note(&summary.show(console));
    }
    let exit = ended.exit();
    match files.write(&summary, &recording) {
        // How the command ended matters more, where that was no success.
        Err(failure) if exit != Exit::Done => Err(failure.ending(exit)),
        written => written.map(|()| exit),
    }
}

fn not_started(program: &OsString, error: &io::Error) -> Failure {
    let shown = program.display();
    match error.kind() {
        ErrorKind::NotFound => Failure::new(format!("there is no command {shown}"))
            .why(error)
            .remedy("check its name and PATH, or name its file with a path; for a script, check its first line")
            .ending(NOT_FOUND),
        ErrorKind::InvalidInput => Failure::usage(format!("{shown} cannot be run")).why(error),
        _ => Failure::new(format!("the command {shown} cannot be run"))
            .why(error)
            .remedy("name a program, or allow its file to be executed with chmod +x")
            .ending(NOT_EXECUTABLE),
    }
}

/// The command as a person types it, without quotes.
fn as_typed(command: &[OsString]) -> String {
    let words: Vec<_> = command.iter().map(|word| word.display().to_string()).collect();
    words.join(" ")
}
