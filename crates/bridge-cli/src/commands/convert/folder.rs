//! Converting files into a folder, one after the other: where one fails, the others go on.

use std::cell::Cell;
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::one::Job;
use crate::args::ConvertArgs;
use crate::console::Console;
use crate::convert::{Chain, FileReport, show_skipped};
use crate::exit::Exit;
use crate::failure::{Failure, FailureReport, Outcome};
use crate::formats::{Format, is_same_file};
use crate::room::Room;
use crate::size::show_size;
use crate::standard_input::{is_standard, show_input};

/// A folder for new files, which is created when the first is there to be written.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    is_new: Cell<bool>,
}

/// What was done with all files: what `convert --json` prints of them.
#[derive(Debug, Serialize)]
struct FolderReport<'a> {
    files: Vec<FileDone<'a>>,
    converted: usize,
    failed: usize,
}

/// What was done with one file, or why nothing was.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum FileDone<'a> {
    Report(&'a FileReport),
    Failure {
        input: String,
        output: String,
        #[serde(flatten)]
        failure: FailureReport<'a>,
    },
}

pub(super) fn convert(
    args: &ConvertArgs,
    format: Format,
    console: &mut Console<'_>,
) -> Outcome<Exit> {
    // What is wrong for all of them is told once, before any is read.
    Chain::new(&args.conversion)?;
    Room::new(args.conversion.memory_limit)?;
    let outputs = outputs(args, format)?;
    let folder = Folder::at(&args.output)?;
    let pairs = || args.inputs.iter().zip(&outputs);
    let mut done = Vec::with_capacity(outputs.len());
    for (place, (input, output)) in pairs().enumerate() {
        let label = label_of(input, place + 1, outputs.len());
        let job =
            Job { input, output, format, is_stream: false, label: &label, folder: Some(&folder) };
        let one = job.run(args, console).map_err(|failure| {
            failure.asked(|| format!("convert {} to {}", input.display(), output.display()))
        });
        if !args.json {
            tell(input, &one, args, console)?;
        }
        done.push(one);
    }
    folder.remove_if_empty();
    let failures = done.iter().filter_map(|one| one.as_ref().err());
    let exit = failures.map(Failure::exit).max_by_key(|exit| exit.code()).unwrap_or(Exit::Done);
    if args.json {
        console.print_json(&FolderReport::new(pairs().zip(&done)))?;
    } else if !args.quiet && done.len() > 1 && done.iter().any(Outcome::is_ok) {
        console.print(&summary(&done, &args.output))?;
    }
    Ok(exit)
}

/// Tells of one file as soon as it is done.
fn tell(
    input: &Path,
    done: &Outcome<FileReport>,
    args: &ConvertArgs,
    console: &mut Console<'_>,
) -> Outcome<()> {
    match done {
        Err(failure) => console.print_failure(failure),
        Ok(_) if args.quiet => {}
        Ok(report) => {
            console.print(&report.show())?;
            if let Some(skipped) = show_skipped(&report.skipped) {
                console.note(&format!("{}: {skipped}", input.display()));
            }
        }
    }
    Ok(())
}

fn summary(done: &[Outcome<FileReport>], folder: &Path) -> String {
    let reports: Vec<_> = done.iter().filter_map(|one| one.as_ref().ok()).collect();
    let bytes = reports.iter().map(|report| report.bytes_written).sum();
    let (converted, all) = (reports.len(), done.len());
    let of_all = if converted < all { format!(" of {all}") } else { String::new() };
    format!("{converted}{of_all} files in {}, {}", folder.display(), show_size(bytes))
}

fn label_of(input: &Path, place: usize, count: usize) -> String {
    let name = input.file_name().unwrap_or_default().to_string_lossy();
    let name: String = name.chars().filter(|letter| !letter.is_control()).take(30).collect();
    if count > 1 { format!("{place}/{count} {name}") } else { String::new() }
}

/// What each file becomes: no two the same, and none of them an input.
fn outputs(args: &ConvertArgs, format: Format) -> Outcome<Vec<PathBuf>> {
    let mut taken: HashMap<OsString, &Path> = HashMap::new();
    let mut outputs = Vec::with_capacity(args.inputs.len());
    for input in &args.inputs {
        if is_standard(input) {
            return Err(Failure::usage("standard input has no name")
                .why("a file in a folder is called as the one that it was made of")
                .remedy("convert it alone, to a file that you name"));
        }
        let mut name = Format::stem_of(input);
        name.push(format!(".{}", format.name()));
        let output = args.output.join(&name);
        // There are systems that take letters of either case for the same.
        let same = cfg!(any(windows, target_os = "macos"));
        let key = if same { name.to_ascii_lowercase() } else { name };
        if let Some(other) = taken.insert(key, input) {
            let (one, other) = (input.display(), other.display());
            return Err(Failure::usage(format!(
                "{other} and {one} would both become {}",
                output.display()
            ))
            .why("one of them would be lost")
            .remedy("convert one of them alone, under another name, or into another folder"));
        }
        outputs.push(output);
    }
    for (output, input) in outputs.iter().zip(&args.inputs) {
        if output.exists() && args.inputs.iter().any(|one| is_same_file(output, one)) {
            let (output, input) = (output.display(), show_input(input));
            return Err(Failure::usage(format!(
                "{output}, which {input} would become, is an input itself"
            ))
            .why("a file is not converted onto itself, so that nothing can be lost")
            .remedy("name another folder"));
        }
    }
    Ok(outputs)
}

impl Folder {
    /// Checks that it is there, or can be.
    fn at(path: &Path) -> Outcome<Self> {
        let shown = path.display();
        // With the slash at its end a file would not be found.
        let path: PathBuf = path.components().collect();
        if path.exists() && !path.is_dir() {
            return Err(Failure::new(format!("{shown} is there, and no folder"))
                .why("the new files go into a folder of that name")
                .remedy("name another folder"));
        }
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        if let Some(parent) = parent.filter(|parent| !path.exists() && !parent.is_dir()) {
            return Err(Failure::new(format!("there is no folder {}", parent.display()))
                .why(format!("{shown} is created where it is missing, and what it lies in is not"))
                .remedy("create it, or name another folder"));
        }
        Ok(Self { path, is_new: Cell::new(false) })
    }

    /// Creates it where it is missing.
    pub(super) fn create(&self) -> Outcome<()> {
        if self.path.is_dir() {
            return Ok(());
        }
        fs::create_dir(&self.path).map_err(|error| {
            Failure::new(format!("the folder {} cannot be created", self.path.display()))
                .why(error)
                .remedy("name one for which you have permission")
        })?;
        self.is_new.set(true);
        Ok(())
    }

    /// Takes it away again where it was created and nothing came into it.
    fn remove_if_empty(&self) {
        if self.is_new.get() {
            // It fails where something is in it.
            let _ = fs::remove_dir(&self.path);
        }
    }
}

impl<'a> FolderReport<'a> {
    fn new(
        done: impl Iterator<Item = ((&'a PathBuf, &'a PathBuf), &'a Outcome<FileReport>)>,
    ) -> Self {
        let files: Vec<_> = done
            .map(|((input, output), one)| match one {
                Ok(report) => FileDone::Report(report),
                Err(failure) => FileDone::Failure {
                    input: input.display().to_string(),
                    output: output.display().to_string(),
                    failure: failure.report(),
                },
            })
            .collect();
        let failed = files.iter().filter(|one| matches!(one, FileDone::Failure { .. })).count();
        Self { converted: files.len() - failed, failed, files }
    }
}
