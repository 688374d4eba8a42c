//! Several files at once, into a folder.

use std::fs;

use crate::support::{Folder, Ran, counting, npy, safetensors, stored};

crate::support::cases! {
    each_becomes_a_file_of_its_own,
    names_are_kept,
    a_folder_that_is_there,
    the_folder_is_created_for_what_comes_into_it_only,
    one_that_fails_is_named_and_the_others_go_on,
    names_that_clash_are_refused_before_anything_is_written,
    without_a_folder,
    what_is_wrong_for_all_is_told_once,
    an_input_is_never_written,
    quiet_and_json,
    options_hold_for_each,
}

fn folder() -> Folder {
    let folder = Folder::new();
    folder.file("a.npy", counting(3, 4));
    folder.file("b.npy", counting(2, 2));
    folder.file("bad.npy", &counting(3, 4)[..150]);
    folder
}

/// What is in the folder within.
fn within(folder: &Folder, name: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder.path().join(name)) else {
        return Vec::new();
    };
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn each_becomes_a_file_of_its_own() {
    let folder = folder();
    let ran = folder.succeed(&["convert", "a.npy", "b.npy", "out/"]);
    let lines: Vec<_> = ran.stdout.lines().collect();
    assert_eq!(lines.len(), 3, "{ran:?}");
    assert!(lines[0].starts_with("out/a.safetensors: float32 [3, 4]"), "{ran:?}");
    assert!(lines[1].starts_with("out/b.safetensors: float32 [2, 2]"), "{ran:?}");
    assert!(lines[2].starts_with("2 files in out/"), "{ran:?}");
    assert_eq!(ran.stderr, "");
    assert_eq!(within(&folder, "out"), ["a.safetensors", "b.safetensors"]);
    folder.succeed(&["diff", "a.npy", "out/a.safetensors"]);
    for to in ["npy", "npz", "gguf", "NPZ"] {
        folder.succeed(&["convert", "a.npy", "b.npy", "out/", "--to", to]);
        let made = format!("out/b.{}", to.to_lowercase());
        folder.succeed(&["diff", "b.npy", &made]);
    }
    folder.fail(2, &["convert", "a.npy", "out/", "--to", "csv"], &["csv", "safetensors"]);
}

fn names_are_kept() {
    let folder = folder();
    let plain = safetensors("{}", &[]);
    for name in [
        "layer.0",
        "layer.1",
        "data.v2.NPY",
        "x.safetensors",
        "y.pth.tar",
        "z.ckpt",
        "w.bin",
        ".npy",
    ] {
        folder.file(name, &plain);
    }
    let names = ["layer.0", "layer.1", "data.v2.NPY", "x.safetensors", "y.pth.tar", "z.ckpt"];
    folder.succeed(&[&["convert"], &names[..], &["w.bin", ".npy", "out/", "--to", "npz"]].concat());
    let expected =
        [".npy.npz", "data.v2.npz", "layer.0.npz", "layer.1.npz", "w.npz", "x.npz", "y.npz"];
    assert_eq!(within(&folder, "out"), [&expected[..], &["z.npz"]].concat());
}

fn a_folder_that_is_there() {
    let folder = folder();
    fs::create_dir(folder.path().join("there")).unwrap();
    folder.succeed(&["convert", "a.npy", "there"]);
    folder.succeed(&["convert", "a.npy", "b.npy", "there", "--to", "npz"]);
    assert_eq!(within(&folder, "there"), ["a.npz", "a.safetensors", "b.npz"]);
    // One file, which OUT is named as: a file was meant.
    fs::create_dir(folder.path().join("named.npz")).unwrap();
    folder.fail(1, &["convert", "a.npy", "named.npz"], &["not a regular file"]);
    folder.succeed(&["convert", "a.npy", "named.npz/"]);
    assert_eq!(within(&folder, "named.npz"), ["a.safetensors"]);
    folder.file("file", b"");
    folder.fail(1, &["convert", "a.npy", "b.npy", "file/"], &["no folder", "another"]);
}

fn the_folder_is_created_for_what_comes_into_it_only() {
    let folder = folder();
    let ran = folder.run(&["convert", "bad.npy", "missing.npy", "out/"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(!folder.path().join("out").exists());
    folder.fail(1, &["convert", "a.npy", "no/out/"], &["there is no folder no", "create it"]);
    assert!(!folder.path().join("no").exists());
    folder.succeed(&["convert", "a.npy", "./new/"]);
}

fn one_that_fails_is_named_and_the_others_go_on() {
    let folder = folder();
    let ran = folder.run(&["convert", "bad.npy", "a.npy", "no.npy", "b.npy", "out/"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("convert bad.npy to out/bad.safetensors"), "{ran:?}");
    assert!(ran.stderr.contains("cut short") && ran.stderr.contains("No such file"), "{ran:?}");
    assert!(ran.stdout.ends_with(" B\n") && ran.stdout.contains("2 of 4 files in out/"), "{ran:?}");
    assert_eq!(within(&folder, "out"), ["a.safetensors", "b.safetensors"]);
    // The worst of them says how it ends: a name that an array does not have is wrong usage.
    folder.file("x.npz", stored(&[("x.npy", &counting(1, 1))]));
    folder.file("y.npz", stored(&[("y.npy", &counting(1, 1))]));
    let ran = folder.run(&["convert", "x.npz", "bad.npy", "y.npz", "out/", "--name", "y"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stderr.contains("convert x.npz to out/x.safetensors"), "{ran:?}");
    assert_eq!(within(&folder, "out"), ["a.safetensors", "b.safetensors", "y.safetensors"]);
    // What is there is left there where that is asked, and the others go on.
    let ran = folder.run(&["convert", "a.npy", "x.npz", "out/", "--no-clobber"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("exists already"), "{ran:?}");
    assert!(folder.path().join("out/x.safetensors").exists());
}

fn names_that_clash_are_refused_before_anything_is_written() {
    let folder = folder();
    fs::create_dir(folder.path().join("sub")).unwrap();
    folder.file("sub/a.npz", stored(&[("x.npy", &counting(1, 1))]));
    let says = &["a.npy and sub/a.npz would both become out/a.safetensors", "lost", "alone"];
    folder.fail(2, &["convert", "b.npy", "a.npy", "sub/a.npz", "out/"], says);
    folder.fail(2, &["convert", "a.npy", "a.npy", "out/"], &["would both become"]);
    assert!(!folder.path().join("out").exists());
}

fn without_a_folder() {
    let folder = folder();
    let says = &["convert 2 files to c", "2 files to read, and c is not there", "c/", "not put"];
    folder.fail(2, &["convert", "a.npy", "b.npy", "c"], says);
    folder.fail(2, &["convert", "a.npy", "b.npy", "c.npz"], &["c.npz is not there", "c.npz/"]);
    folder.fail(2, &["convert", "a.npy", "b.npy", "bad.npy"], &["bad.npy is no folder"]);
    let says = &["several in a row", "one at a time"];
    folder.fail(2, &["convert", "a.npy", "b.npy", "-", "--to", "npy"], says);
    folder.fail(2, &["convert", "-", "b.npy", "out/"], &["standard input has no name"]);
    folder.fail(2, &["convert", "a.npy", "c.npz", "--to", "npy"], &["named like a .npz", "--to"]);
    folder.succeed(&["convert", "a.npy", "noext", "--to", "npy"]);
    assert_eq!(folder.read("noext"), counting(3, 4));
}

fn what_is_wrong_for_all_is_told_once() {
    let folder = folder();
    let says = &["no backend \"mxnet\"", "convert 2 files to out/"];
    folder.fail(2, &["convert", "a.npy", "b.npy", "out/", "--via", "mxnet"], says);
    assert!(!folder.path().join("out").exists());
}

fn an_input_is_never_written() {
    let folder = folder();
    folder.fail(2, &["convert", "a.npy", "b.npy", "./", "--to", "npy"], &["is an input itself"]);
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("b.npy", folder.path().join("a.npz")).unwrap();
        let says = &["./a.npz, which a.npy would become, is an input itself"];
        folder.fail(2, &["convert", "a.npy", "b.npy", "./", "--to", "npz"], says);
    }
}

fn quiet_and_json() {
    let folder = folder();
    let quiet = folder.succeed(&["convert", "a.npy", "b.npy", "out/", "--quiet"]);
    assert_eq!((quiet.stdout, quiet.stderr), (String::new(), String::new()));
    let quiet = folder.run(&["convert", "a.npy", "bad.npy", "out/", "--quiet"]);
    assert_eq!(quiet.code, Some(1));
    assert!(quiet.stdout.is_empty() && quiet.stderr.contains("bad.npy"), "{quiet:?}");

    let ran = folder.run(&["convert", "a.npy", "bad.npy", "out/", "--json"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(1), ""));
    assert_eq!(ran.stdout.lines().count(), 1);
    let told = ran.json();
    assert_eq!(told["converted"], 1);
    assert_eq!(told["failed"], 1);
    assert_eq!(told["files"][0]["output"], "out/a.safetensors");
    assert_eq!(told["files"][0]["arrays"][0]["shape"], serde_json::json!([3, 4]));
    assert_eq!(told["files"][1]["input"], "bad.npy");
    assert_eq!(told["files"][1]["error"]["exit_code"], 1);
    assert!(told["files"][1]["error"]["why"].as_str().unwrap().contains("cut short"));
    // What is wrong for all is an error as any other.
    let ran = folder.run(&["convert", "a.npy", "a.npy", "out/", "--json"]);
    let error: serde_json::Value = serde_json::from_str(&ran.stderr).unwrap();
    assert_eq!((ran.code, &error["error"]["exit_code"]), (Some(2), &2.into()));
}

fn options_hold_for_each() {
    let folder = folder();
    let text = npy("'<U1'", false, "(1,)", &[65, 0, 0, 0]);
    folder.file("mixed.npz", stored(&[("x.npy", &counting(1, 3)), ("text.npy", &text)]));
    let args = ["convert", "mixed.npz", "a.npy", "out/", "--to", "npz"];
    let ran = folder.run(&args);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("text is not a number"), "{ran:?}");
    let more = ["--skip-unsupported", "--memory-limit", "64", "--dtype", "float64", "--json"];
    let told = folder.succeed(&[&args[..], &more].concat()).json();
    assert_eq!(told["files"][0]["skipped"][0]["name"], "text");
    assert_eq!(told["files"][1]["dtype"], "float64");
    assert!(told["files"][1]["memory_peak"].as_u64().unwrap() <= 64);
    let ran = folder.succeed(&[&args[..], &["--skip-unsupported", "--explain"]].concat());
    assert!(ran.stderr.starts_with("mixed.npz: left out 1"), "{ran:?}");
    assert!(ran.stdout.contains("file to file") || ran.stdout.contains("zero-copy"), "{ran:?}");
    // Where none has room for one element, all are told.
    let Ran { code, stderr, .. } =
        folder.run(&["convert", "a.npy", "b.npy", "new/", "--memory-limit", "3"]);
    assert_eq!(code, Some(2), "{stderr}");
    assert_eq!(stderr.matches("too small").count(), 2, "{stderr}");
    assert!(!folder.path().join("new").exists());
}
