//! Writing to the standard output stream.

use std::io::{self, ErrorKind, Write};

use serde::Serialize;

use crate::failure::{Failure, Outcome};

/// Writes text and a line break. Where the reader has gone away (`arraybridge matrix | head -1`) it
/// has all it wanted, so that is no failure.
pub(crate) fn print(text: &str) -> Outcome<()> {
    let mut stream = io::stdout().lock();
    let written = writeln!(stream, "{text}").and_then(|()| stream.flush());
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::new("the standard output stream cannot be written").why(error))
        }
        _ => Ok(()),
    }
}

/// Writes a value as JSON, in one line.
pub(crate) fn print_json(value: &impl Serialize) -> Outcome<()> {
    let text = serde_json::to_string(value)
        .map_err(|error| Failure::new("the report cannot be written as JSON").why(error))?;
    print(&text)
}
