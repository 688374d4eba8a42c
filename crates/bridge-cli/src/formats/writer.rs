//! Writing array files, from the first byte to the last.

use std::io::{Seek, Write};

use super::array_writer::{ArrayWriter, not_written};
use super::arrays::Outgoing;
use super::buffered_file::BufferedFile;
use super::format::Format;
use super::listing::Notes;
use crate::failure::{Failure, Outcome};

/// What is written, once it has been checked: the header of a safetensors file comes first and
/// lists all arrays.
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
        for array in &arrays {
            format.check(array).map_err(|failure| {
                let name = format!("\"{}\"", array.name);
                failure.within_unless_named(&format!("the array {name}"), &name)
            })?;
            array.bytes()?;
        }
        let header = format.header(&mut arrays, notes, alone)?;
        Ok(Self { format, arrays, header })
    }

    /// The arrays in the order they have to be written in.
    pub(crate) fn arrays(&self) -> &[Outgoing] {
        &self.arrays
    }
}

/// Writes an array file, and sees to it that each array gets as many bytes as it has.
pub(crate) struct Writer<'a> {
    arrays: Box<dyn ArrayWriter + 'a>,
    /// Bytes of the array begun last that are still to come.
    missing: u64,
}

impl<'a> Writer<'a> {
    /// Writes what the file begins with; `file` is one, or memory in its place.
    pub(crate) fn new(file: impl Write + Seek + 'a, contents: &Contents) -> Outcome<Self> {
        let file = BufferedFile::new(file).map_err(not_written)?;
        Ok(Self { arrays: contents.format.writer(file, &contents.header)?, missing: 0 })
    }

    /// Begins the next array.
    pub(crate) fn begin(&mut self, array: &Outgoing) -> Outcome<()> {
        self.require_complete()?;
        self.arrays.begin(array)?;
        self.missing = array.bytes()?;
        Ok(())
    }

    /// Writes the next bytes of the array begun last.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Outcome<()> {
        self.missing = self.missing.checked_sub(bytes.len() as u64).ok_or_else(wrong_length)?;
        self.arrays.write(bytes)
    }

    /// Writes what belongs at the end, and says how many bytes the file has.
    pub(crate) fn finish(self) -> Outcome<u64> {
        self.require_complete()?;
        self.arrays.finish()
    }

    fn require_complete(&self) -> Outcome<()> {
        if self.missing == 0 {
            return Ok(());
        }
        Err(wrong_length())
    }
}

fn wrong_length() -> Failure {
    Failure::new("an array has another length than its type and shape imply")
        .remedy("report this as a bug of arraybridge")
}
