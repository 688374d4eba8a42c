//! Where what is converted goes: to a file, a folder or standard output, and in which format.

use std::path::{MAIN_SEPARATOR, Path};

use crate::args::ConvertArgs;
use crate::console::Console;
use crate::failure::{Failure, Outcome};
use crate::formats::{Format, is_same_file};
use crate::standard_input::is_standard;

/// Where what is converted goes, and the format that it gets.
#[derive(Debug, Clone, Copy)]
pub(super) enum Destination {
    File(Format),
    Folder(Format),
    StandardOutput(Format),
}

impl Destination {
    /// What the command line says of it.
    pub(super) fn of(args: &ConvertArgs) -> Outcome<Self> {
        let (output, asked) = (args.output.as_path(), args.to.map(Format::from));
        let many = args.inputs.len() > 1;
        if is_standard(output) {
            let format = asked.ok_or_else(|| {
                Failure::usage("standard output has no name")
                    .why("the ending of a name says which format a file gets")
                    .remedy("say it with --to, as in --to safetensors")
            })?;
            return if many {
                Err(not_one(args.inputs.len(), output))
            } else {
                Ok(Self::StandardOutput(format))
            };
        }
        // What is there may be a folder that is named like a file.
        let is_named_as_file = !many && Format::of(output).is_ok();
        if ends_as_folder(output) || output.is_dir() && !is_named_as_file {
            return Ok(Self::Folder(asked.unwrap_or(Format::Safetensors)));
        }
        if many {
            return Err(not_one(args.inputs.len(), output));
        }
        Format::to_write(output, asked).map(Self::File)
    }
}

fn ends_as_folder(path: &Path) -> bool {
    let last = path.as_os_str().as_encoded_bytes().last().copied().map(char::from);
    last.is_some_and(|last| last == '/' || last == MAIN_SEPARATOR)
}

/// Several files that would become one.
pub(super) fn not_one(inputs: usize, output: &Path) -> Failure {
    if is_standard(output) {
        return Failure::usage(format!("{inputs} files to read, and standard output"))
            .why("each becomes a file of its own, and several in a row are none")
            .remedy("convert one at a time, or name a folder in place of -");
    }
    let shown = output.display();
    let what = if output.exists() { "is no folder" } else { "is not there" };
    Failure::usage(format!("{inputs} files to read, and {shown} {what}"))
        .why("each becomes a file of its own: they are not put together into one")
        .remedy(format!("name a folder, which is created where it is missing: {shown}/"))
}

/// Where it goes as people are told of it.
pub(super) fn show(output: &Path) -> String {
    if is_standard(output) { "standard output".to_owned() } else { output.display().to_string() }
}

/// Fails where standard output cannot be written to.
pub(super) fn check_standard_output(input: &Path, console: &Console<'_>) -> Outcome<()> {
    if !console.takes_bytes() {
        return Err(Failure::usage("standard output is a terminal")
            .why("bytes of arrays are no text, and a terminal takes some for commands")
            .remedy("write to a file, or to another program: … | sha256sum"));
    }
    let input = if is_standard(input) { Path::new("/dev/stdin") } else { input };
    if is_same_file(input, Path::new("/dev/stdout")) && input.is_file() {
        return Err(Failure::usage("standard output is the input itself")
            .why("a file is not converted onto itself, so that nothing can be lost")
            .remedy("write to another file"));
    }
    Ok(())
}
