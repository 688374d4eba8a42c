//! `-`: standard input and standard output in place of files.

use std::fs;
use std::io::{self, Write};
use std::process::Stdio;

use bridge_cli::{Console, Exit, Output, run_on};

use crate::support::{Folder, Ran, counting, npy, safetensors, stored};

crate::support::cases! {
    standard_input_is_read_as_a_file_is,
    other_commands_read_it_too,
    nothing_but_the_bytes_is_on_standard_output,
    a_failure_writes_nothing_there,
    formats_are_named_where_nothing_else_says_them,
    what_is_on_standard_input_may_be_no_file,
    a_terminal_gets_no_bytes,
    a_library_gives_its_input,
    a_pipe_between_two_processes,
    #[cfg(unix)]
    a_file_is_mapped_and_not_kept_twice,
    #[cfg(unix)]
    a_file_that_has_been_read_from_goes_on_there,
    #[cfg(unix)]
    a_reader_that_has_gone_away_is_no_failure,
    #[cfg(target_os = "linux")]
    a_full_standard_output_is_a_failure,
    #[cfg(target_os = "linux")]
    a_large_stream_takes_no_memory,
    #[cfg(target_os = "linux")]
    nothing_is_left_in_the_temporary_folder,
}

fn folder() -> Folder {
    let folder = Folder::new();
    folder.file("a.npy", counting(3, 4));
    folder
}

/// Every kind of file that the program writes, of one array.
fn every_kind(folder: &Folder) -> Vec<&'static str> {
    let mut kinds = vec!["npy", "npz", "safetensors", "gguf"];
    if cfg!(feature = "pt") {
        kinds.push("pt");
    }
    for kind in &kinds {
        folder.succeed(&["convert", "a.npy", &format!("in.{kind}"), "--to", kind]);
    }
    kinds
}

fn standard_input_is_read_as_a_file_is() {
    let folder = folder();
    for kind in every_kind(&folder) {
        let bytes = folder.read(&format!("in.{kind}"));
        let (ran, _) = folder.run_on_bytes(&["convert", "-", "out.npz"], Some(&bytes));
        assert_eq!(ran.code, Some(0), "{kind}: {ran:?}");
        folder.succeed(&["diff", "a.npy", "out.npz"]);
    }
    let (ran, stdout) = folder
        .run_on_bytes(&["convert", "-", "out.safetensors", "--json"], Some(&folder.read("a.npy")));
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    let told: serde_json::Value = serde_json::from_slice(&stdout).unwrap();
    // It has no name to be called by.
    assert_eq!((&told["input"], &told["arrays"][0]["name"]), (&"-".into(), &"array".into()));
    // A file of that name has another one, too.
    folder.file("-", counting(2, 2));
    folder.succeed(&["convert", "./-", "dash.npy"]);
    assert_eq!(folder.read("dash.npy"), counting(2, 2));
}

fn other_commands_read_it_too() {
    let folder = folder();
    let bytes = folder.read("a.npy");
    let (ran, stdout) = folder.run_on_bytes(&["info", "-", "--json"], Some(&bytes));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let told: serde_json::Value = serde_json::from_slice(&stdout).unwrap();
    assert_eq!(told["files"][0]["arrays"][0]["shape"], serde_json::json!([3, 4]));
    let (ran, stdout) = folder.run_on_bytes(&["plan", "-"], Some(&bytes));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(String::from_utf8(stdout).unwrap().contains("float32 [3, 4]"));
    for args in [["diff", "-", "a.npy"], ["diff", "a.npy", "-"]] {
        let (ran, _) = folder.run_on_bytes(&args, Some(&bytes));
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }
    let (ran, _) = folder.run_on_bytes(&["diff", "-", "-"], Some(&bytes));
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("has been read already"), "{ran:?}");
}

fn nothing_but_the_bytes_is_on_standard_output() {
    let folder = folder();
    for kind in every_kind(&folder) {
        for more in [&[][..], &["--explain"], &["--json"], &["--quiet"]] {
            let args = [&["convert", "a.npy", "-", "--to", kind], more].concat();
            let (ran, stdout) = folder.run_on_bytes(&args, None);
            assert_eq!(ran.code, Some(0), "{ran:?}");
            assert!(stdout == folder.read(&format!("in.{kind}")), "{args:?}");
            match more {
                ["--quiet"] => assert_eq!(ran.stderr, ""),
                ["--json"] => {
                    let told: serde_json::Value = serde_json::from_str(&ran.stderr).unwrap();
                    assert_eq!(told["output"], "-");
                    assert_eq!(told["bytes_written"], stdout.len());
                }
                _ => assert!(ran.stderr.contains("standard output: float32 [3, 4]"), "{ran:?}"),
            }
        }
    }
    assert!(!folder.path().join("-").exists());
    let bytes = folder.read("a.npy");
    let (ran, stdout) = folder.run_on_bytes(&["convert", "-", "-", "--to", "npy"], Some(&bytes));
    assert_eq!((ran.code, stdout), (Some(0), bytes));
}

fn a_failure_writes_nothing_there() {
    let folder = Folder::new();
    let mut elements = crate::support::floats(3_000_000);
    elements[11_999_996..].copy_from_slice(&1e30_f32.to_le_bytes());
    folder.file("late.npy", npy("'<f4'", false, "(3000000,)", &elements));
    folder.fail(
        1,
        &["convert", "late.npy", "-", "--to", "npy", "--dtype", "float16"],
        &["convert late.npy to standard output", "which float16 cannot hold"],
    );
}

fn formats_are_named_where_nothing_else_says_them() {
    let folder = folder();
    let says = &["standard output has no name", "--to safetensors"];
    folder.fail(2, &["convert", "a.npy", "-"], says);
    folder.fail(2, &["convert", "a.npy", "-", "--to", "exe"], &["exe", "safetensors"]);
    // What is in it goes before what is said of it.
    let says = &["a.npy is a .npy file, and --from says npz", "leave --from out"];
    folder.fail(2, &["convert", "a.npy", "out.npz", "--from", "npz"], says);
    folder.succeed(&["convert", "a.npy", "out.npz", "--from", "npy"]);
    // An empty archive can be either.
    let empty = stored(&[]);
    let (ran, _) = folder.run_on_bytes(&["info", "-"], Some(&empty));
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stderr.contains("no format that is known") && ran.stderr.contains("--from"));
    let (ran, _) = folder.run_on_bytes(&["info", "-", "--from", "npz"], Some(&empty));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    folder.file("empty", &empty);
    folder.succeed(&["convert", "empty", "none.safetensors", "--from", "npz"]);
}

fn what_is_on_standard_input_may_be_no_file() {
    let folder = folder();
    let fails = |input: Option<&[u8]>, code: i32, says: &str| {
        let (ran, stdout) = folder.run_on_bytes(&["convert", "-", "out.npz"], input);
        assert_eq!((ran.code, stdout.len()), (Some(code), 0), "{ran:?}");
        assert!(ran.stderr.contains("convert standard input to out.npz"), "{ran:?}");
        assert!(ran.stderr.contains(says), "{ran:?}");
        assert!(!folder.path().join("out.npz").exists());
    };
    fails(Some(b""), 1, "standard input is empty");
    fails(None, 2, "no standard input to read");
    fails(Some(b"<!doctype html><p>Log in"), 1, "web page");
    fails(Some(&counting(3, 4)[..150]), 1, "cut short");
    fails(Some(b"no array at all"), 2, "no format that is known");
    fails(Some(br#"{"weight_map": {"x": "x.safetensors"}}"#), 2, "a stream lies nowhere");
}

fn a_terminal_gets_no_bytes() {
    let folder = folder();
    let input = folder.path().join("a.npy");
    let mut out = Vec::new();
    let mut errors = Vec::new();
    let console = Console::new(Output::terminal(&mut out, 80), Output::plain(&mut errors));
    let args = ["arraybridge", "convert", input.to_str().unwrap(), "-", "--to", "npy"];
    assert_eq!(run_on(args, console), Exit::WrongUsage);
    let errors = String::from_utf8(errors).unwrap();
    assert!(out.is_empty() && errors.contains("standard output is a terminal"), "{errors}");
}

fn a_library_gives_its_input() {
    let (input, mut out) = (safetensors("{}", &[]), Vec::new());
    let console =
        Console::new(Output::plain(&mut out), Output::plain(io::sink())).with_input(&*input);
    assert_eq!(run_on(["arraybridge", "convert", "-", "-", "--to", "npz"], console), Exit::Done);
    assert!(out.starts_with(b"PK"));
}

/// The process with these bytes in a pipe.
fn fed(folder: &Folder, args: &[&str], input: &[u8]) -> (Ran, Vec<u8>) {
    let mut child = folder
        .command(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let input = input.to_vec();
    let feeding = std::thread::spawn(move || pipe.write_all(&input));
    let mut output = child.wait_with_output().unwrap();
    // Where it ended before all was written, the pipe is closed.
    let _ = feeding.join().unwrap();
    let stdout = std::mem::take(&mut output.stdout);
    (Ran::of(output), stdout)
}

fn a_pipe_between_two_processes() {
    let folder = Folder::new();
    // Bytes that look like colours and ends of lines stay as they are.
    let elements: Vec<u8> =
        b"\x1b[31m\n\r\n\xff\0".iter().copied().cycle().take(1_200_000).collect();
    let array = npy("'|u1'", false, "(1200000,)", &elements);
    let (ran, archive) = fed(&folder, &["convert", "-", "-", "--to", "npz"], &array);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let (ran, back) = fed(&folder, &["convert", "-", "-", "--to", "npy"], &archive);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(back == array);
}

#[cfg(unix)]
fn a_file_is_mapped_and_not_kept_twice() {
    let folder = folder();
    let input = || fs::File::open(folder.path().join("a.npy")).unwrap();
    // Where nothing can be kept, only what is mapped can be read.
    let run = |args: &[&str]| {
        let mut command = folder.command(args);
        command.env("TMPDIR", "/nowhere").stdin(input());
        Ran::of(command.output().unwrap())
    };
    assert_eq!(run(&["convert", "-", "out.npz"]).code, Some(0));
    let ran = run(&["convert", "-", "a.npy"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("a.npy is the input itself"), "{ran:?}");
    let ran = run(&["convert", "-", "-", "--to", "npz"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("TMPDIR"), "{ran:?}");
    let folder_as_input = fs::File::open(folder.path()).unwrap();
    let ran = folder.command(&["convert", "-", "no.npz"]).stdin(folder_as_input).output().unwrap();
    let ran = Ran::of(ran);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("standard input is a directory"), "{ran:?}");
}

#[cfg(unix)]
fn a_file_that_has_been_read_from_goes_on_there() {
    use std::io::{Seek, SeekFrom};
    let folder = folder();
    folder.file("behind", [b"four".as_slice(), &counting(3, 4)].concat());
    let mut input = fs::File::open(folder.path().join("behind")).unwrap();
    input.seek(SeekFrom::Start(4)).unwrap();
    let output = folder.command(&["convert", "-", "out.npy"]).stdin(input).output().unwrap();
    assert_eq!(Ran::of(output).code, Some(0));
    assert_eq!(folder.read("out.npy"), counting(3, 4));
}

#[cfg(unix)]
fn a_reader_that_has_gone_away_is_no_failure() {
    let folder = folder();
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let args = ["convert", "a.npy", "-", "--to", "npy", "--quiet"];
    let output = folder.command(&args).stdout(writer).stderr(Stdio::piped()).output().unwrap();
    let ran = Ran::of(output);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
}

#[cfg(target_os = "linux")]
fn a_full_standard_output_is_a_failure() {
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let args = ["convert", "a.npy", "-", "--to", "npy"];
    let ran = Ran::of(folder().command(&args).stdout(full).output().unwrap());
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("standard output cannot be written"), "{ran:?}");
}

/// A limit on memory that has no room for the stream.
#[cfg(target_os = "linux")]
fn a_large_stream_takes_no_memory() {
    let folder = Folder::new();
    let header = npy("'|u1'", false, "(400000000,)", &[]);
    folder.file("header", header);
    let script = format!(
        "ulimit -d 200000; (cat header; head -c 400000000 /dev/zero) | '{}' convert - - --to npy | wc -c",
        crate::support::PROGRAM
    );
    let output = std::process::Command::new("bash")
        .args(["-c", &script])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let ran = Ran::of(output);
    assert_eq!(ran.stdout.trim(), "400000128", "{ran:?}");
}

#[cfg(target_os = "linux")]
fn nothing_is_left_in_the_temporary_folder() {
    let folder = Folder::new();
    let place = folder.path().join("place");
    fs::create_dir(&place).unwrap();
    for input in [counting(3, 4), b"no array".to_vec()] {
        let mut child = folder
            .command(&["convert", "-", "-", "--to", "npy"])
            .env("TMPDIR", &place)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(&input).unwrap();
        let _ = child.wait().unwrap();
        assert_eq!(fs::read_dir(&place).unwrap().count(), 0);
    }
}
