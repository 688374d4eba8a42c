//! What every format does to write arrays.

use std::fmt;
use std::io::{Seek, SeekFrom};

use super::arrays::Outgoing;
use crate::failure::{Failure, Outcome};

/// Writes arrays: each is begun, and its bytes follow.
pub(super) trait ArrayWriter {
    /// Writes what comes before the elements of the next array.
    fn begin(&mut self, array: &Outgoing) -> Outcome<()>;

    /// Writes the next bytes of the array begun last.
    fn write(&mut self, bytes: &[u8]) -> Outcome<()>;

    /// Writes what belongs at the end, and says how many bytes the file has.
    fn finish(self: Box<Self>) -> Outcome<u64>;
}

/// How many bytes a file has that was written to its end.
pub(super) fn length_of(mut file: impl Seek) -> Outcome<u64> {
    file.seek(SeekFrom::End(0)).map_err(not_written)
}

/// The failure to write what a format wanted to.
pub(super) fn not_written(error: impl fmt::Display) -> Failure {
    Failure::new("the new file cannot be written")
        .why(error)
        .remedy("make room, or write to another place; what was there before is untouched")
}
