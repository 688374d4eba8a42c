//! Files that the command line names, of which one can be standard input.

#[cfg(unix)]
use std::fs;
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};

use crate::console::{Console, Input};
use crate::failure::{Failure, Outcome};
use crate::formats::{ArrayFile, Format, MappedFile};

/// What stands for standard input and for standard output. A file of that name is `./-`.
pub(crate) const STANDARD: &str = "-";

/// Whether it stands for a stream of the process.
pub(crate) fn is_standard(path: &Path) -> bool {
    path.as_os_str() == STANDARD
}

/// An input as people are told of it.
pub(crate) fn show_input(path: &Path) -> String {
    if is_standard(path) { "standard input".to_owned() } else { path.display().to_string() }
}

/// Opens a file, or standard input, and reads its headers. `from` is the format that the user says it has.
pub(crate) fn open(
    path: &Path,
    from: Option<Format>,
    console: &mut Console<'_>,
) -> Outcome<ArrayFile> {
    if !is_standard(path) {
        return ArrayFile::open(path, from);
    }
    let (file, place) = match console.take_input() {
        Input::Given(mut reader) => (spooled(&mut reader)?, None),
        Input::Process => of_process()?,
        Input::None => {
            return Err(Failure::usage("there is no standard input to read")
                .why("the program that runs this gave none, or it has been read already")
                .remedy("name a file"));
        }
    };
    if file.bytes().is_empty() {
        return Err(Failure::new("standard input is empty")
            .why("even a file without elements has a header")
            .remedy("look at what should have written it: it may have failed"));
    }
    ArrayFile::of_stream(file, place, from)
}

/// Standard input of the process, and where it can be found: a file is mapped where it is, anything else
/// is written to one first.
fn of_process() -> Outcome<(MappedFile, Option<PathBuf>)> {
    if io::stdin().is_terminal() {
        return Err(Failure::usage("standard input is a terminal")
            .why("an array file is nothing that can be typed")
            .remedy("name a file, or let a program write to this one: … | arraybridge …"));
    }
    #[cfg(unix)]
    if let Some(mapped) = mapped_input()? {
        return Ok((mapped, Some(PathBuf::from("/dev/stdin"))));
    }
    Ok((spooled(&mut io::stdin().lock())?, None))
}

/// Standard input where it is a file, from its beginning; fails where it is a folder.
#[cfg(unix)]
fn mapped_input() -> Outcome<Option<MappedFile>> {
    use std::io::Seek;
    use std::os::fd::AsFd;

    let Ok(mut file) = io::stdin().as_fd().try_clone_to_owned().map(File::from) else {
        return Ok(None);
    };
    let kind = file.metadata();
    if kind.as_ref().is_ok_and(fs::Metadata::is_dir) {
        return Err(Failure::new("standard input is a directory")
            .why("a folder has no bytes to read")
            .remedy("name an array file"));
    }
    let is_whole = kind.is_ok_and(|kind| kind.is_file())
        && file.stream_position().is_ok_and(|position| position == 0);
    Ok(is_whole.then(|| MappedFile::of(&file).ok()).flatten())
}

/// Writes a stream to a file without a name, and maps that: there is room for it on a disk, and it is in
/// memory no more than any other file.
fn spooled(reader: &mut dyn Read) -> Outcome<MappedFile> {
    let folder = scratch_folder();
    let failed = |error: io::Error| {
        Failure::new(format!("standard input cannot be kept in {}", folder.display()))
            .why(error)
            .remedy("make room there, or name another folder in the variable TMPDIR")
    };
    let mut file: File = tempfile::tempfile_in(&folder).map_err(failed)?;
    io::copy(reader, &mut file).map_err(failed)?;
    MappedFile::of(&file).map_err(failed)
}

/// The folder for temporary files of any size: what `/tmp` holds is in memory on many machines.
pub(crate) fn scratch_folder() -> PathBuf {
    let large = Path::new("/var/tmp");
    if cfg!(unix) && std::env::var_os("TMPDIR").is_none() && large.is_dir() {
        return large.to_owned();
    }
    std::env::temp_dir()
}
