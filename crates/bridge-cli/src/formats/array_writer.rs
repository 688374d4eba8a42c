//! What every format does to write arrays.

use std::fmt;
use std::fs::File;

use super::arrays::Outgoing;
use crate::failure::{Failure, Outcome};

/// Writes arrays: each is begun, and its bytes follow.
pub(super) trait ArrayWriter {
    /// Writes what comes before the elements of the next array.
    fn begin(&mut self, array: &Outgoing) -> Outcome<()>;

    /// Writes the next bytes of the array begun last.
    fn write(&mut self, bytes: &[u8]) -> Outcome<()>;

    /// Writes what belongs at the end.
    fn finish(self: Box<Self>) -> Outcome<File>;
}

/// The failure to write what a format wanted to.
pub(super) fn not_written(error: impl fmt::Display) -> Failure {
    Failure::new("the new file cannot be written")
        .why(error)
        .remedy("make room, or write to another place; what was there before is untouched")
}
