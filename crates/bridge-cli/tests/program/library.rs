//! What a program that calls the library sees.

use std::io::{self, ErrorKind, Write};

use bridge_cli::{Console, Exit, Output, run_on};

use crate::support::{Folder, counting, floats, npy};

crate::support::cases! {
    colours_are_for_terminals,
    tables_fit_the_terminal,
    a_writer_without_a_reader_is_no_failure,
    a_writer_that_fails_is_a_failure,
    help_and_completions_name_the_program_as_it_is_called,
    several_threads_convert_at_once,
}

/// Runs a command line on two terminals of this width: how it ended, and what it wrote to each.
fn on_terminals(columns: u16, args: &[&str]) -> (Exit, String, String) {
    let (mut out, mut errors) = (Vec::new(), Vec::new());
    let console =
        Console::new(Output::terminal(&mut out, columns), Output::terminal(&mut errors, columns));
    let exit = run_on(args, console);
    let [out, errors] = [out, errors].map(|bytes| String::from_utf8(bytes).unwrap());
    (exit, out, errors)
}

fn colours_are_for_terminals() {
    let escape = '\u{1b}';
    let (_, out, _) = on_terminals(80, &["arraybridge", "--help"]);
    assert!(out.contains(escape), "{out}");
    for wrong in [&["arraybridge", "convert"][..], &["arraybridge", "plan", "no.npy"]] {
        let (exit, out, errors) = on_terminals(80, wrong);
        assert_ne!(exit, Exit::Done);
        assert_eq!(out, "");
        assert!(errors.contains(escape), "{errors}");
        let plain = Folder::new().run(&wrong[1..]);
        assert!(!plain.stderr.contains(escape), "{plain:?}");
    }
    if cfg!(feature = "ndarray") {
        let args = ["arraybridge", "matrix", "--size", "1"];
        let (_, out, _) = on_terminals(200, &args);
        assert!(out.contains(escape) && out.contains("verified"), "{out}");
        let (_, out, _) = on_terminals(200, &[&args[..], &["--markdown"]].concat());
        assert!(!out.contains(escape), "{out}");
    }
}

fn tables_fit_the_terminal() {
    if !cfg!(feature = "ndarray") {
        return;
    }
    for columns in [60, 100] {
        let (_, out, _) = on_terminals(columns, &["arraybridge", "doctor"]);
        let table: Vec<_> = out.lines().filter(|line| line.starts_with('─')).collect();
        assert!(!table.is_empty(), "{out}");
        assert!(table.iter().all(|line| line.chars().count() <= columns.into()), "{out}");
    }
}

/// A writer whose every write fails so.
struct Failing(ErrorKind);

impl Write for Failing {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(self.0.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn run_failing(kind: ErrorKind) -> (Exit, String) {
    let mut errors = Vec::new();
    let console = Console::new(Output::plain(Failing(kind)), Output::plain(&mut errors));
    let exit = run_on(["arraybridge", "doctor"], console);
    (exit, String::from_utf8(errors).unwrap())
}

fn a_writer_without_a_reader_is_no_failure() {
    assert_eq!(run_failing(ErrorKind::BrokenPipe), (Exit::Done, String::new()));
}

fn a_writer_that_fails_is_a_failure() {
    let (exit, errors) = run_failing(ErrorKind::StorageFull);
    assert_eq!(exit, Exit::Failed);
    assert!(errors.contains("standard output cannot be written"), "{errors}");
    // Where errors cannot be told either, the exit code still says it.
    let console = Console::new(
        Output::plain(Failing(ErrorKind::StorageFull)),
        Output::plain(Failing(ErrorKind::StorageFull)),
    );
    assert_eq!(run_on(["arraybridge", "doctor"], console), Exit::Failed);
}

fn help_and_completions_name_the_program_as_it_is_called() {
    let mut out = Vec::new();
    for (args, says) in [
        (&["/opt/bin/mybridge", "convert", "--help"][..], "Usage: mybridge convert"),
        (&["mybridge", "completions", "bash"], "_mybridge() {"),
    ] {
        let console = Console::new(Output::plain(&mut out), Output::plain(io::sink()));
        assert_eq!(run_on(args, console), Exit::Done);
        let text = String::from_utf8(std::mem::take(&mut out)).unwrap();
        assert!(text.contains(says), "{text}");
    }
}

/// With absolute paths, as a process has one working directory.
fn several_threads_convert_at_once() {
    let folder = Folder::new();
    folder.file("a.npy", counting(3, 4));
    folder.file("bad.npy", npy("'<f4'", false, "(5,)", &floats(4)));
    let path = |name: &str| folder.path().join(name).into_os_string();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let path = &path;
            scope.spawn(move || {
                for round in 0..10 {
                    let target = path(&format!("{thread}-{round}.npy"));
                    let args = ["arraybridge".into(), "convert".into(), path("a.npy"), target];
                    let console =
                        Console::new(Output::plain(io::sink()), Output::plain(io::sink()));
                    assert_eq!(run_on(args, console), Exit::Done);
                    let args = ["x".into(), "plan".into(), path("bad.npy")];
                    let console =
                        Console::new(Output::plain(io::sink()), Output::plain(io::sink()));
                    assert_eq!(run_on(args, console), Exit::Failed);
                }
            });
        }
    });
    let files = folder.contents();
    assert_eq!(files.len(), 42, "{:?}", folder.names());
    assert!(files.iter().all(|(name, bytes)| name == "bad.npy" || *bytes == counting(3, 4)));
}
