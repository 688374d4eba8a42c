//! Writing a zip archive whose members can be mapped.

use std::io::{self, Seek, SeekFrom, Write};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::failure::Outcome;
use crate::formats::array_writer::{length_of, not_written};

/// Members of this size or more have 64-bit sizes.
const LARGE: u64 = 0xffff_0000;

/// Members start at a multiple of this.
const ALIGNMENT: u16 = 64;

/// Writes an archive of members that are stored as they are.
pub(in crate::formats) struct ArchiveWriter<F: Write + Seek>(ZipWriter<Sink<F>>);

impl<F: Write + Seek> ArchiveWriter<F> {
    pub(in crate::formats) fn new(file: F) -> Self {
        Self(ZipWriter::new(Sink { file, failed: false }))
    }

    /// Begins a member of `length` bytes.
    pub(in crate::formats) fn start_member(&mut self, name: String, length: u64) -> Outcome<()> {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .with_alignment(ALIGNMENT)
            .large_file(length >= LARGE);
        self.0.start_file(name, options).map_err(not_written)
    }

    /// Writes the next bytes of the member begun last.
    pub(in crate::formats) fn write(&mut self, bytes: &[u8]) -> Outcome<()> {
        self.0.write_all(bytes).map_err(not_written)
    }

    /// Writes the directory, and says how many bytes the file has.
    pub(in crate::formats) fn finish(self) -> Outcome<u64> {
        length_of(self.0.finish().map_err(not_written)?.file)
    }
}

/// A file that fails once: after an error it swallows what comes. The zip writer tries to end the
/// archive when it is dropped, and would complain of the same error in its own words.
struct Sink<F> {
    file: F,
    failed: bool,
}

impl<F> Sink<F> {
    fn watch<T>(&mut self, done: io::Result<T>) -> io::Result<T> {
        self.failed |= done.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::Interrupted);
        done
    }
}

impl<F: Write> Write for Sink<F> {
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

impl<F: Seek> Seek for Sink<F> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let done = self.file.seek(to);
        self.watch(done)
    }
}
