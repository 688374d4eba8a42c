//! The runner on a bundle of small programs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// A folder with the runner and these shell scripts as its tests.
fn bundle(tests: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(env!("CARGO_BIN_EXE_gpu-runner"), folder.path().join("gpu-runner")).unwrap();
    for (name, script) in tests {
        let path = folder.path().join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let names: Vec<_> = tests.iter().map(|(name, _)| format!("\"{name}\"")).collect();
    let list = names.join(",");
    let json = format!("{{\"commit\":\"abc\",\"tests\":[{list}],\"benchmarks\":[]}}");
    fs::write(folder.path().join("bundle.json"), json).unwrap();
    folder
}

fn run(folder: &Path, args: &[&str]) -> (i32, serde_json::Value, String) {
    run_with_python(folder, args, "/no/python") // importing torch in one takes long
}

fn run_with_python(folder: &Path, args: &[&str], python: &str) -> (i32, serde_json::Value, String) {
    let mut command = Command::new(folder.join("gpu-runner"));
    let output = command.args(args).env("ARRAYBRIDGE_PYTHON", python).output().unwrap();
    let report = fs::read_to_string(folder.join("report.json")).unwrap_or_default();
    let report = serde_json::from_str(&report).unwrap_or_default();
    (output.status.code().unwrap(), report, String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn verdicts_are_counted_and_one_failure_fails_the_run() {
    let folder = bundle(&[
        ("good", "echo 'test a::one ... ok'; echo 'test two ... ignored, no peer'"),
        ("bad", "echo 'test three ... FAILED'; echo 'three: wrong'; exit 101"),
    ]);
    let (code, report, _) = run(folder.path(), &[]);
    assert_eq!(code, 1);
    let tests = &report["tests"];
    assert_eq!((&tests[0]["passed"], &tests[0]["ignored"]), (&1.into(), &1.into()));
    assert_eq!(tests[1]["failed"][0], "three");
    assert!(tests[1]["output"].as_str().unwrap().contains("three: wrong"));
    let shown = fs::read_to_string(folder.path().join("report.md")).unwrap();
    assert!(shown.contains("| good | 1 | 0 | 1 |"), "{shown}");

    let (code, report, _) = run(folder.path(), &["--only", "good"]);
    assert_eq!((code, report["tests"].as_array().unwrap().len()), (0, 1));
}

#[test]
fn crashes_hangs_and_missing_programs_are_told() {
    let folder = bundle(&[
        ("crash", "kill -SEGV $$"),
        ("hang", "echo 'test a ... ok'; printf 'test b ... '; exec sleep 60"),
        ("gone", ""),
    ]);
    fs::remove_file(folder.path().join("gone")).unwrap();
    let (code, report, _) = run(folder.path(), &["--seconds", "1"]);
    assert_eq!(code, 1);
    let trouble = |test: usize| report["tests"][test]["trouble"].as_str().unwrap().to_owned();
    assert!(trouble(0).contains("signal: 11"), "{}", trouble(0));
    assert_eq!(trouble(1), "it was stopped after 1 seconds, in b");
    assert_eq!(report["tests"][1]["passed"], 1);
    assert!(trouble(2).contains("could not be run"), "{}", trouble(2));
}

#[test]
fn all_programs_together_end_in_time() {
    let hang = "exec sleep 60";
    let folder = bundle(&[("a", hang), ("b", hang), ("c", hang)]);
    let started = std::time::Instant::now();
    let (code, report, _) = run(folder.path(), &["--total", "2", "--seconds", "1"]);
    assert!(started.elapsed().as_secs() < 30, "it went on for too long");
    assert_eq!((code, report["tests"].as_array().unwrap().len()), (1, 3));
    assert_eq!(report["tests"][2]["trouble"], "it was stopped after 0 seconds");
}

#[test]
fn a_folder_that_is_no_bundle_is_told_apart() {
    let folder = bundle(&[]);
    fs::remove_file(folder.path().join("bundle.json")).unwrap();
    let (code, _, said) = run(folder.path(), &[]);
    assert_eq!(code, 2);
    assert!(said.contains("cargo xtask gpu-bundle"), "{said}");
}

/// A bundle whose Python is this shell script.
fn bundle_with_python(script: &str) -> tempfile::TempDir {
    let folder = bundle(&[("python", script)]);
    let json = r#"{"commit":"abc","tests":[],"benchmarks":[],"python":"python/run.py"}"#;
    fs::write(folder.path().join("bundle.json"), json).unwrap();
    folder
}

#[test]
fn tests_in_python_are_counted_and_what_cannot_run_says_why() {
    let said = "echo 'test a.py::one ... ok'; \
        for name in two three; do echo \"test a.py::$name ... ignored, no GPU: get one ... soon\"; done";
    let folder = bundle_with_python(&format!("[ \"$1\" = python/run.py ] && {said}"));
    let python = folder.path().join("python").display().to_string();
    // It is asked for its version first, which this one does not know.
    let (code, report, _) = run_with_python(folder.path(), &[], &python);
    let tests = &report["tests"][0];
    assert_eq!((code, &tests["name"], &tests["passed"]), (0, &"python".into(), &1.into()));
    assert_eq!(tests["reasons"]["no GPU: get one ... soon"], 2);
    let shown = fs::read_to_string(folder.path().join("report.md")).unwrap();
    assert!(shown.contains("python, not run, 2: no GPU: get one"), "{shown}");

    let folder = bundle_with_python("echo 'test a.py::one ... FAILED'; exit 1");
    let python = folder.path().join("python").display().to_string();
    let (code, report, _) = run_with_python(folder.path(), &["--only", "python"], &python);
    assert_eq!((code, &report["tests"][0]["failed"][0]), (1, &"a.py::one".into()));
}

#[test]
fn a_machine_without_a_python_is_told_and_has_not_failed() {
    let folder = bundle_with_python("");
    let (code, report, _) = run_with_python(folder.path(), &[], "/no/python");
    let tests = &report["tests"][0];
    assert_eq!((code, &tests["ignored"]), (0, &1.into()));
    let reasons = tests["reasons"].to_string();
    assert!(reasons.contains("/no/python cannot be run") && reasons.contains("3.12"), "{reasons}");
}
