//! The streams that a run reads and writes.

use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal, Read, Write};

use anstream::{AutoStream, ColorChoice};
use comfy_table::{Cell, ContentArrangement, Table, presets};
use serde::Serialize;

use crate::exit::Exit;
use crate::failure::{Failure, Outcome};

/// The two streams that a run writes to: one for what was asked for, one for errors. And the one that it reads
/// where the command line names it, as `-`.
#[derive(Debug)]
pub struct Console<'a> {
    input: Input<'a>,
    output: Output<'a>,
    errors: Output<'a>,
    /// Whether failures are told as JSON.
    in_json: bool,
}

/// Standard input.
pub(crate) enum Input<'a> {
    /// There is none, or it has been read.
    None,
    /// That of the process.
    Process,
    /// What the caller gave in its place.
    Given(Box<dyn Read + 'a>),
}

impl fmt::Debug for Input<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Process => "Process",
            Self::Given(_) => "Given",
        })
    }
}

/// A stream to write to, and whether it is a terminal.
pub struct Output<'a> {
    writer: Box<dyn Write + 'a>,
    is_coloured: bool,
    is_terminal: bool,
    /// Whether it is the process's own standard output, which text and bytes reach in different ways.
    is_standard: bool,
    /// What tables have to fit into.
    columns: Option<u16>,
    /// Whether a progress bar can be drawn: on the process's own standard error.
    shows_progress: bool,
}

impl<'a> Output<'a> {
    /// A stream that is no terminal: without colours, and tables are as wide as they need to be.
    pub fn plain(writer: impl Write + 'a) -> Self {
        Self {
            writer: Box::new(writer),
            is_coloured: false,
            is_terminal: false,
            is_standard: false,
            columns: None,
            shows_progress: false,
        }
    }

    /// A terminal that understands ANSI's escape codes for colours and is `columns` letters wide.
    pub fn terminal(writer: impl Write + 'a, columns: u16) -> Self {
        Self { is_coloured: true, is_terminal: true, columns: Some(columns), ..Self::plain(writer) }
    }

    /// Standard output of the process, which may be a terminal. Colours heed `NO_COLOR`,
    /// `CLICOLOR` and `CLICOLOR_FORCE`.
    pub fn stdout() -> Self {
        Self {
            is_coloured: AutoStream::choice(&io::stdout()) != ColorChoice::Never,
            is_terminal: io::stdout().is_terminal(),
            is_standard: true,
            columns: Table::new().width(),
            ..Self::plain(anstream::stdout())
        }
    }

    /// Standard error of the process, as [`stdout`](Self::stdout). On a terminal, long conversions
    /// draw a progress bar there.
    pub fn stderr() -> Self {
        Self {
            is_coloured: AutoStream::choice(&io::stderr()) != ColorChoice::Never,
            shows_progress: io::stderr().is_terminal(),
            ..Self::plain(anstream::stderr())
        }
    }
}

impl fmt::Debug for Output<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output")
            .field("is_coloured", &self.is_coloured)
            .field("columns", &self.columns)
            .finish_non_exhaustive()
    }
}

impl<'a> Console<'a> {
    /// A console of these streams, without standard input.
    pub fn new(output: Output<'a>, errors: Output<'a>) -> Self {
        Self { input: Input::None, output, errors, in_json: false }
    }

    /// The same, with this to read where the command line names standard input. A file that it names is read
    /// as it comes, to its end.
    #[must_use]
    pub fn with_input(self, input: impl Read + 'a) -> Self {
        Self { input: Input::Given(Box::new(input)), ..self }
    }

    /// The standard streams of the process.
    pub fn of_process() -> Self {
        Self { input: Input::Process, ..Self::new(Output::stdout(), Output::stderr()) }
    }

    /// Standard input, once: it cannot be read twice.
    pub(crate) fn take_input(&mut self) -> Input<'a> {
        std::mem::replace(&mut self.input, Input::None)
    }
}

impl Console<'_> {
    /// Writes text and a line break to the output. A closed pipe is not an error: its reader has what it
    /// wanted.
    pub(crate) fn print(&mut self, text: &str) -> Outcome<()> {
        let stream = &mut self.output.writer;
        let written = writeln!(stream, "{text}").and_then(|()| stream.flush());
        match written {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                Err(Failure::new("standard output cannot be written").why(error))
            }
            _ => Ok(()),
        }
    }

    /// Whether bytes that are no text can be written to the output: a terminal would take them for commands.
    pub(crate) fn takes_bytes(&self) -> bool {
        !self.output.is_terminal
    }

    /// Writes all bytes of a file to the output. A closed pipe is not an error, as for text.
    pub(crate) fn send(&mut self, file: &mut File) -> Outcome<()> {
        let sent = if self.output.is_standard {
            // Not through the buffer for text, which looks for the ends of lines.
            standard_output().and_then(|mut output| io::copy(file, &mut output))
        } else {
            io::copy(file, &mut self.output.writer)
        };
        match sent.and_then(|_| self.output.writer.flush()) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                Err(Failure::new("standard output cannot be written").why(error))
            }
            _ => Ok(()),
        }
    }

    /// Writes a value as JSON, in one line.
    pub(crate) fn print_json(&mut self, value: &impl Serialize) -> Outcome<()> {
        self.print(&as_json(value)?)
    }

    /// Writes what the parser of the command line answers: help, the version, or what is wrong.
    pub(crate) fn print_usage(&mut self, answer: &clap::Error) -> Outcome<Exit> {
        let is_wrong = answer.use_stderr();
        let stream = if is_wrong { &self.errors } else { &self.output };
        let text = answer.render();
        if is_wrong && self.in_json {
            self.print_failure(&as_failure(&text.to_string()));
            return Ok(Exit::WrongUsage);
        }
        let text = if stream.is_coloured { text.ansi().to_string() } else { text.to_string() };
        let text = text.trim_end();
        if is_wrong {
            self.print_error(text);
            return Ok(Exit::WrongUsage);
        }
        self.print(text)?;
        Ok(Exit::Done)
    }

    /// From now on, failures are told as JSON or as text.
    pub(crate) fn answers_in_json(&mut self, in_json: bool) {
        self.in_json = in_json;
    }

    /// Writes what went wrong to the error stream.
    pub(crate) fn print_failure(&mut self, failure: &Failure) {
        let as_text = || failure.show(self.errors.is_coloured);
        let text = if self.in_json {
            as_json(&failure.report()).unwrap_or_else(|_| as_text())
        } else {
            as_text()
        };
        self.print_error(&text);
    }

    /// Writes what is to be known beside what was asked for to the error stream.
    pub(crate) fn note(&mut self, text: &str) {
        self.print_error(text);
    }

    /// As [`note`](Self::note), a value as JSON, in one line.
    pub(crate) fn note_json(&mut self, value: &impl Serialize) -> Outcome<()> {
        self.note(&as_json(value)?);
        Ok(())
    }

    fn print_error(&mut self, text: &str) {
        // Where nobody reads the error stream, nobody can be told.
        let stream = &mut self.errors.writer;
        let _ = writeln!(stream, "{text}").and_then(|()| stream.flush());
    }

    /// Whether a progress bar can be drawn.
    pub(crate) fn shows_progress(&self) -> bool {
        self.errors.shows_progress
    }

    /// A table with a header, for the output. Markdown is the same everywhere; other tables fit the
    /// terminal.
    pub(crate) fn table(&self, markdown: bool, header: &[&str]) -> Table {
        self.output.table(markdown, header)
    }

    /// A table with a header, for the error stream.
    pub(crate) fn table_for_notes(&self, header: &[&str]) -> Table {
        self.errors.table(false, header)
    }
}

/// The process's own standard output, without a buffer.
#[cfg(unix)]
fn standard_output() -> io::Result<File> {
    use std::os::fd::AsFd;

    io::stdout().as_fd().try_clone_to_owned().map(File::from)
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere it can fail")]
fn standard_output() -> io::Result<io::StdoutLock<'static>> {
    Ok(io::stdout().lock())
}

/// What the parser of the command line says, in the parts of a failure.
fn as_failure(text: &str) -> Failure {
    let mut parts = text.trim().splitn(2, "\n\n");
    let found = parts.next().unwrap_or_default();
    let found = found.strip_prefix("error: ").unwrap_or(found);
    let failure = Failure::usage(found.split_whitespace().collect::<Vec<_>>().join(" "));
    match parts.next() {
        Some(advice) => failure.remedy(advice.split_whitespace().collect::<Vec<_>>().join(" ")),
        None => failure,
    }
}

fn as_json(value: &impl Serialize) -> Outcome<String> {
    serde_json::to_string(value)
        .map_err(|error| Failure::new("the report cannot be written as JSON").why(error))
}

impl Output<'_> {
    fn table(&self, markdown: bool, header: &[&str]) -> Table {
        let mut table = Table::new();
        // What the process's own standard output is says nothing of the stream written to.
        table.force_no_tty();
        if markdown {
            table.load_style(presets::ASCII_MARKDOWN);
        } else {
            table.load_style(presets::UTF8_HORIZONTAL_ONLY);
            table.set_content_arrangement(ContentArrangement::Dynamic);
            if let Some(columns) = self.columns {
                table.set_width(columns);
            }
            if self.is_coloured {
                table.enforce_styling();
            }
        }
        table.set_header(header.iter().map(Cell::new));
        table
    }
}
