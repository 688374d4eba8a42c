//! Wrong usage: exit code 2, before anything is read or written.

use std::process::Stdio;

use crate::support::{Folder, Ran, counting, stored};

fn folder() -> Folder {
    let folder = Folder::new();
    folder.file("a.npy", counting(3, 4));
    let (x, y) = (counting(2, 2), counting(1, 5));
    folder.file("two.npz", stored(&[("x.npy", &x), ("y.npy", &y)]));
    folder
}

#[test]
fn what_the_command_line_names_must_exist() {
    let folder = folder();
    let convert = |more: &[&str], says: &[&str]| {
        folder.fail(2, &[&["convert", "a.npy", "out.npz"], more].concat(), says);
        folder.fail(2, &[&["plan", "a.npy"], more].concat(), says);
    };
    convert(&["--via", "mxnet"], &["no backend \"mxnet\"", "doctor"]);
    convert(&["--device", "gpu"], &["\"gpu\" is not a device", "cuda:0"]);
    convert(&["--device", "cuda:0"], &["no device cuda:0 here", "cpu", "doctor"]);
    convert(&["--dtype", "float33x"], &["\"float33x\" is not a data type", "bfloat16"]);
    convert(&["--copy", "sometimes"], &["if-needed"]);
    convert(&["--overflow", "explode"], &["saturate"]);
    convert(&["--nonsense"], &["--nonsense"]);
    for limit in ["0", "-1", "lots", "1.5GiB", "12XB", "99999999999999999999"] {
        convert(&[&format!("--memory-limit={limit}")], &["is not a size", "512MiB"]);
    }
}

#[cfg(feature = "ndarray")]
#[test]
fn an_unknown_backend_behind_a_known_one() {
    let says = &["no backend \"jax\"", "linked are", "ndarray"];
    folder().fail(2, &["convert", "a.npy", "out.npz", "--via", "ndarray,jax"], says);
}

#[cfg(not(feature = "cuda"))]
#[test]
fn a_backend_that_this_build_lacks() {
    let says = &["no backend \"cuda\"", "do:", "--features cuda"];
    folder().fail(2, &["convert", "a.npy", "out.npz", "--via", "cuda"], says);
}

#[test]
fn unknown_extensions() {
    let folder = folder();
    for name in ["a", "a.txt", "a.npy.gz", "a.ptx", ".npy"] {
        let says = &["extension", ".safetensors"];
        folder.fail(2, &["convert", "a.npy", name], says);
        folder.fail(2, &["convert", name, "out.npy"], says);
        folder.fail(2, &["plan", name], says);
    }
    folder.file("UPPER.NPY", counting(1, 1));
    folder.succeed(&["convert", "UPPER.NPY", "out.SafeTensors"]);
}

#[test]
fn several_arrays_into_an_npy_file() {
    let folder = folder();
    let says = &["has 2 arrays", "exactly one", "\"x\", \"y\"", "--name"];
    folder.fail(2, &["convert", "two.npz", "out.npy"], says);
    folder.fail(2, &["convert", "two.npz", "out.npy", "--name", "z"], &["no array \"z\"", "\"x\""]);
    folder.succeed(&["convert", "two.npz", "out.npy", "--name", "y"]);
    assert_eq!(folder.read("out.npy"), counting(1, 5));
}

#[test]
fn missing_arguments() {
    let folder = folder();
    folder.fail(2, &[], &["Usage"]);
    folder.fail(2, &["convert"], &["<IN>"]);
    folder.fail(2, &["convert", "a.npy"], &["<OUT>"]);
    folder.fail(2, &["completions", "fishy"], &["zsh"]);
    folder.fail(2, &["matrix", "--json", "--markdown"], &["cannot be used with"]);
    folder.fail(2, &["matrix", "--size", "18446744073709551615"], &["too large"]);
}

#[test]
fn help_and_version_have_examples_and_succeed() {
    let folder = folder();
    let help = folder.succeed(&["--help"]).stdout;
    assert!(help.contains("Examples") && help.contains("Exit codes"), "{help}");
    for command in ["matrix", "plan", "convert"] {
        let help = folder.succeed(&[command, "--help"]).stdout;
        assert!(help.contains(&format!("arraybridge {command}")), "{help}");
    }
    assert!(folder.succeed(&["--version"]).stdout.starts_with("arraybridge "));
}

#[test]
fn completions_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = folder().succeed(&["completions", shell]).stdout;
        assert!(script.contains("arraybridge") && script.contains("memory-limit"), "{shell}");
    }
}

#[test]
fn no_colours_when_piped() {
    let folder = folder();
    for args in [
        &["matrix"][..],
        &["matrix", "--markdown"],
        &["doctor"],
        &["plan", "a.npy"],
        &["convert", "a.npy", "out.npz"],
        &["convert", "missing.npy", "out.npz"],
        &["--help"],
        &["convert"],
    ] {
        let ran = folder.run(args);
        assert!(
            !ran.stdout.contains('\u{1b}') && !ran.stderr.contains('\u{1b}'),
            "{args:?} {ran:?}"
        );
    }
}

#[cfg(unix)]
#[test]
fn a_closed_standard_output_is_no_panic() {
    let folder = folder();
    for args in
        [&["matrix"][..], &["doctor", "--json"], &["completions", "zsh"], &["plan", "a.npy"]]
    {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = folder.command(args).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        let ran = Ran::of(output);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{args:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_standard_output_is_a_failure() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = folder().command(&["doctor"]).stdout(full).output().unwrap();
    let ran = Ran::of(output);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("standard output"), "{ran:?}");
}
