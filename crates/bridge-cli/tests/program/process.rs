//! What is true of the process only: its streams, its exit code, its signals.

use std::process::Stdio;

use crate::support::{Folder, Ran, counting};

crate::support::cases! {
    exit_codes_are_those_of_the_library,
    no_colours_when_piped,
    #[cfg(unix)]
    a_reader_that_has_gone_away_is_no_failure,
    #[cfg(target_os = "linux")]
    a_full_standard_output_is_a_failure,
}

fn folder() -> Folder {
    let folder = Folder::new();
    folder.file("a.npy", counting(3, 4));
    folder
}

fn exit_codes_are_those_of_the_library() {
    let folder = folder();
    for args in [
        &["convert", "a.npy", "out.npz"][..],
        &["convert", "missing.npy", "out.npz"],
        &["convert", "a.npy", "a.npy"],
        &["--version"],
    ] {
        let (process, library) =
            (Ran::of(folder.command(args).output().unwrap()), folder.run(args));
        assert_eq!((process.code, process.stderr), (library.code, library.stderr), "{args:?}");
    }
}

fn no_colours_when_piped() {
    let folder = folder();
    for args in [&["doctor"][..], &["--help"], &["convert"], &["convert", "no.npy", "out.npz"]] {
        let ran = Ran::of(folder.command(args).output().unwrap());
        assert!(!ran.stdout.contains('\u{1b}'), "{args:?} {ran:?}");
        assert!(!ran.stderr.contains('\u{1b}'), "{args:?} {ran:?}");
    }
}

#[cfg(unix)]
fn a_reader_that_has_gone_away_is_no_failure() {
    let folder = folder();
    for args in [&["doctor", "--json"][..], &["plan", "a.npy"], &["--help"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = folder.command(args).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        let ran = Ran::of(output);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{args:?}");
    }
}

#[cfg(target_os = "linux")]
fn a_full_standard_output_is_a_failure() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = folder().command(&["--version"]).stdout(full).output().unwrap();
    let ran = Ran::of(output);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("standard output cannot be written"), "{ran:?}");
}
