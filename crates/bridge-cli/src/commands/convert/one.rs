//! Converting one file.

use std::fs::File;
use std::io::{self, Seek};
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Serialize;

use super::folder::Folder;
use crate::args::ConvertArgs;
use crate::console::Console;
use crate::convert::{Chain, FileReport, Stream, check_plans, explain, read_as, remarks, select};
use crate::failure::{Failure, Outcome};
use crate::formats::{Contents, Format, TargetFile};
use crate::room::Room;
use crate::standard_input::{open, scratch_folder};

/// One file to convert, and where to.
pub(super) struct Job<'a> {
    pub(super) input: &'a Path,
    pub(super) output: &'a Path,
    pub(super) format: Format,
    /// Whether it goes to standard output: what is told of it goes to standard error then.
    pub(super) is_stream: bool,
    /// What its progress is called.
    pub(super) label: &'a str,
    /// The folder that it goes into, which need not be there before.
    pub(super) folder: Option<&'a Folder>,
}

impl Job<'_> {
    /// Converts it, and answers what was done.
    pub(super) fn run(&self, args: &ConvertArgs, console: &mut Console<'_>) -> Outcome<FileReport> {
        let started = Instant::now();
        let format = self.format;
        // What can be wrong with the command line comes first, then the input, then the output.
        let chain = Chain::new(&args.conversion)?;
        let room = Room::new(args.conversion.memory_limit)?;
        let target = self.target(args)?;
        let mut file = open(self.input, args.reading.from(), console)?;
        if let Target::File(target) = &target {
            target.check_is_none_of(file.paths())?;
        }
        args.conversion.naming.apply(&mut file)?;
        let selection = select(&file, &args.conversion)?;
        let read_as = read_as(&selection.arrays, &args.conversion)?;
        let mut selection = selection.read_as(&read_as)?;
        let chain = chain.for_arrays(selection.arrays.len());
        let outgoing =
            selection.outgoing(format, |array, name| chain.outgoing(array, name, format))?;
        let arrays = &selection.arrays;
        let alone = file.nameless && args.conversion.name.is_empty();
        let contents = Contents::new(format, outgoing, file.notes.as_ref(), alone)?;
        if args.explain && !args.json {
            let plan = explain((self.input, &file), arrays, &chain)?.without(&selection.skipped);
            self.tell(&plan.show(), console)?;
        } else {
            check_plans(&file, arrays, &chain)?;
        }
        let stream = Stream {
            file: &file,
            chain: &chain,
            room: &room,
            scratch: target.folder(),
            shows_progress: console.shows_progress() && !args.quiet,
            label: self.label,
        };
        if let Some(folder) = self.folder {
            folder.create()?;
        }
        let write = |new| stream.run(arrays, &contents, new);
        let (reports, bytes) = match &target {
            Target::File(target) => target.write(write)?,
            Target::StandardOutput(scratch) => sent(scratch, write, console)?,
        };
        let seconds = started.elapsed().as_secs_f64();
        Ok(FileReport::new((self.input, self.output), reports, (bytes, seconds), &room)
            .remarking(remarks(&file, Some(format)))
            .without(&selection.skipped))
    }

    fn target(&self, args: &ConvertArgs) -> Outcome<Target> {
        if self.is_stream {
            return Ok(Target::StandardOutput(scratch_folder()));
        }
        TargetFile::new(self.output, self.input, !args.no_clobber).map(Target::File)
    }

    /// Tells of it where the arrays do not go.
    pub(super) fn tell(&self, text: &str, console: &mut Console<'_>) -> Outcome<()> {
        if self.is_stream {
            console.note(text);
            return Ok(());
        }
        console.print(text)
    }

    /// The same in JSON.
    pub(super) fn tell_json(
        &self,
        value: &impl Serialize,
        console: &mut Console<'_>,
    ) -> Outcome<()> {
        if self.is_stream { console.note_json(value) } else { console.print_json(value) }
    }
}

/// Where the bytes go.
enum Target {
    File(TargetFile),
    /// Through a file in this folder.
    StandardOutput(PathBuf),
}

impl Target {
    /// A folder with room for what has to be expanded.
    fn folder(&self) -> &Path {
        match self {
            Self::File(target) => target.folder(),
            Self::StandardOutput(scratch) => scratch,
        }
    }
}

/// Lets `write` write a file without a name, and sends that to standard output when it is complete: who reads
/// it gets all of it or nothing.
fn sent<T>(
    scratch: &Path,
    write: impl FnOnce(File) -> Outcome<T>,
    console: &mut Console<'_>,
) -> Outcome<T> {
    let failed = |error: io::Error| {
        Failure::new(format!("no temporary file can be kept in {}", scratch.display()))
            .why(error)
            .remedy("make room there, or name another folder in the variable TMPDIR")
    };
    let mut file = tempfile::tempfile_in(scratch).map_err(failed)?;
    let done = write(file.try_clone().map_err(failed)?)?;
    file.rewind().map_err(failed)?;
    console.send(&mut file)?;
    Ok(done)
}
