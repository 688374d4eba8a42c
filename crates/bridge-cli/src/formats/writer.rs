//! Writing array files, from the first byte to the last.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::safetensors::{self, Notes};
use super::{Format, Outgoing, names, npy, npz, pt};
use crate::failure::{Failure, Outcome};

/// Members of this size or more have 64-bit sizes in a zip archive.
const LARGE: u64 = 0xffff_0000;

/// The elements of a stored member start at a multiple of this, so that they can be mapped.
const ALIGNMENT: u16 = 64;

/// Writes an array file: each array is begun, and its bytes follow.
pub(crate) struct Writer {
    kind: Kind,
    /// Bytes of the array begun last that are still to come.
    missing: u64,
}

enum Kind {
    Plain(Format, File),
    Zip(Box<ZipWriter<Sink>>),
    /// The same, and how many storages have been begun.
    Pt(Box<ZipWriter<Sink>>, usize),
}

/// Checks that a file of this format can hold these arrays, and brings them into the order that
/// it has them in.
fn check(format: Format, arrays: &mut [Outgoing]) -> Outcome<()> {
    for array in arrays.iter() {
        names::check_name(format, &array.name)?;
        format
            .check_data_type(array.data_type)
            .map_err(|failure| failure.within(&format!("the array \"{}\"", array.name)))?;
        array.bytes()?;
    }
    if format == Format::Safetensors {
        safetensors::sort(arrays);
    }
    Ok(())
}

/// What is written, once it has been checked: the header of a safetensors file comes first and
/// lists them all.
pub(crate) struct Contents {
    format: Format,
    arrays: Vec<Outgoing>,
    header: Vec<u8>,
}

impl Contents {
    /// Checks that a file of this format can hold these arrays; `alone` is one that has no name, for
    /// formats that hold one so or several with names.
    pub(crate) fn new(
        format: Format,
        mut arrays: Vec<Outgoing>,
        notes: Option<&Notes>,
        alone: bool,
    ) -> Outcome<Self> {
        check(format, &mut arrays)?;
        let header = match format {
            Format::Safetensors => safetensors::header(&arrays, notes)?,
            Format::Pt => pt::pickle_of(&arrays, alone)?,
            Format::Npy | Format::Npz => Vec::new(),
        };
        Ok(Self { format, arrays, header })
    }

    /// The arrays in the order they have to be written in.
    pub(crate) fn arrays(&self) -> &[Outgoing] {
        &self.arrays
    }
}

impl Writer {
    pub(crate) fn new(file: File, contents: &Contents) -> Outcome<Self> {
        let kind = match contents.format {
            Format::Npz => Kind::Zip(Box::new(ZipWriter::new(Sink::new(file)))),
            Format::Pt => Kind::Pt(Box::new(ZipWriter::new(Sink::new(file))), 0),
            format => Kind::Plain(format, file),
        };
        let mut writer = Self { kind, missing: 0 };
        writer.start_member(pt::PICKLE, contents.header.len() as u64)?;
        writer.put(&contents.header)?;
        Ok(writer)
    }

    /// Begins the next array.
    pub(crate) fn begin(&mut self, array: &Outgoing) -> Outcome<()> {
        self.require_complete()?;
        let bytes = array.bytes()?;
        let header = match &mut self.kind {
            Kind::Plain(Format::Safetensors, _) => Vec::new(),
            Kind::Plain(..) => npy::header(array.data_type, &array.shape, array.order)?,
            Kind::Zip(archive) => {
                let header = npy::header(array.data_type, &array.shape, array.order)?;
                let length = bytes.saturating_add(header.len() as u64);
                let name = format!("{}{}", array.name, npz::SUFFIX);
                archive.start_file(name, stored(length)).map_err(|error| not_written(&error))?;
                header
            }
            Kind::Pt(_, begun) => {
                let name = pt::storage_name(*begun);
                *begun += 1;
                self.start_member(&name, bytes)?;
                Vec::new()
            }
        };
        self.put(&header)?;
        self.missing = bytes;
        Ok(())
    }

    /// Writes the next bytes of the array begun last.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Outcome<()> {
        self.missing = self.missing.checked_sub(bytes.len() as u64).ok_or_else(wrong_length)?;
        self.put(bytes)
    }

    /// Writes what belongs at the end, and says how many bytes the file has.
    pub(crate) fn finish(mut self) -> Outcome<u64> {
        self.require_complete()?;
        if let Kind::Pt(..) = self.kind {
            for (name, text) in [(pt::BYTE_ORDER, "little"), (pt::VERSION, "3\n")] {
                self.start_member(name, text.len() as u64)?;
                self.put(text.as_bytes())?;
            }
        }
        let file = match self.kind {
            Kind::Plain(_, file) => file,
            Kind::Zip(archive) | Kind::Pt(archive, _) => {
                archive.finish().map_err(|error| not_written(&error))?.file
            }
        };
        let length = file.metadata().map(|found| found.len());
        length.map_err(|error| not_written(&error))
    }

    /// Begins a member of a PyTorch file, in the folder that its members are in; others have none.
    fn start_member(&mut self, name: &str, length: u64) -> Outcome<()> {
        let Kind::Pt(archive, _) = &mut self.kind else {
            return Ok(());
        };
        let started = archive.start_file(format!("archive/{name}"), stored(length));
        started.map_err(|error| not_written(&error))
    }

    fn put(&mut self, bytes: &[u8]) -> Outcome<()> {
        let stream: &mut dyn Write = match &mut self.kind {
            Kind::Plain(_, file) => file,
            Kind::Zip(archive) | Kind::Pt(archive, _) => archive,
        };
        stream.write_all(bytes).map_err(|error: io::Error| not_written(&error))
    }

    fn require_complete(&self) -> Outcome<()> {
        if self.missing == 0 {
            return Ok(());
        }
        Err(wrong_length())
    }
}

/// A member of an archive that can be mapped.
fn stored(length: u64) -> SimpleFileOptions {
    SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .with_alignment(ALIGNMENT)
        .large_file(length >= LARGE)
}

fn wrong_length() -> Failure {
    Failure::new("an array came out with another length than its type and shape say")
        .remedy("report this as a bug of arraybridge")
}

fn not_written(error: &dyn std::fmt::Display) -> Failure {
    Failure::new("the new file cannot be written")
        .why(error)
        .remedy("make room, or write to another place; what was there before is untouched")
}

/// A file that fails once: after an error it swallows what comes. The zip writer tries to end the
/// archive when it is dropped, and would complain of the same error in its own words.
struct Sink {
    file: File,
    failed: bool,
}

impl Sink {
    fn new(file: File) -> Self {
        Self { file, failed: false }
    }

    fn watch<T>(&mut self, done: io::Result<T>) -> io::Result<T> {
        self.failed |= done.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::Interrupted);
        done
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.failed {
            return Ok(bytes.len());
        }
        let done = self.file.write(bytes);
        self.watch(done)
    }

    fn flush(&mut self) -> io::Result<()> {
        let done = self.file.flush();
        self.watch(done)
    }
}

impl Seek for Sink {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let done = self.file.seek(to);
        self.watch(done)
    }
}
