//! Converts every array file that the installed packages NumPy and SciPy bring, and lets the library that
//! each belongs to say what should have come out.
//!
//! `cargo xtask test-matrix --install` fetches them; without them the cell is unavailable, and these tests, run
//! otherwise, say that they compared nothing. The package safetensors brings no files: its library writes some here.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use arraybridge as _; // its build script says where libtorch is
use bridge_cli::{Console, Output, run_on};
use serde_json::{Value, json};

/// The Python that has the packages.
const PYTHON: &str = "ARRAYBRIDGE_PACKAGE_FILES";

/// Runs the script, where there is a Python that has the packages.
struct Script(PathBuf);

impl Script {
    fn find() -> Option<Self> {
        let python = std::env::var_os(PYTHON).map(|python| Self(python.into()));
        if python.is_none() {
            // Not captured, as what `eprintln!` says would be.
            let _ = writeln!(
                std::io::stderr(),
                "nothing compared: run `cargo xtask test-matrix --install -p package-files`"
            );
        }
        python
    }

    fn run(&self, args: &[&str]) -> String {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compare.py");
        let ran = Command::new(&self.0).arg(script).args(args).output().unwrap();
        let errors = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "{args:?}: {errors}");
        String::from_utf8(ran.stdout).unwrap()
    }

    fn files_of(&self, packages: &[&str]) -> Vec<String> {
        let listed = self.run(&[&["list"], packages].concat());
        listed.lines().map(str::to_owned).collect()
    }
}

fn arraybridge(args: &[&str]) -> (u8, String, String) {
    let (mut out, mut errors) = (Vec::new(), Vec::new());
    let console = Console::new(Output::plain(&mut out), Output::plain(&mut errors));
    let exit = run_on(["arraybridge"].iter().chain(args), console);
    let [out, errors] = [out, errors].map(|bytes| String::from_utf8(bytes).unwrap());
    (exit.code(), out, errors)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Converts each file with `options`, and answers what the library says of the results: how many arrays it
/// compared, and how many it agrees cannot be converted.
fn compared(script: &Script, files: &[String], ending: &str, options: &[&str]) -> (u64, u64) {
    let folder = tempfile::tempdir().unwrap();
    let jobs: Vec<Value> = files
        .iter()
        .enumerate()
        .map(|(place, source)| {
            let made = folder.path().join(format!("{place}.{ending}"));
            let args = ["convert", source, text(&made), "--skip-unsupported", "--json"];
            let (code, out, errors) = arraybridge(&[&args, options].concat());
            let report = serde_json::from_str::<Value>(&out).unwrap_or_default();
            assert_eq!(code == 0, errors.is_empty(), "{source}: {errors}");
            json!({"source": source, "made": text(&made), "converted": code == 0, "error": errors,
                   "skipped": report["skipped"]})
        })
        .collect();
    let list = folder.path().join("jobs.json");
    std::fs::write(&list, serde_json::to_vec(&jobs).unwrap()).unwrap();
    let told: Value = serde_json::from_str(&script.run(&["check", text(&list)])).unwrap();
    (told["compared"].as_u64().unwrap(), told["left_out"].as_u64().unwrap())
}

#[test]
fn files_that_numpy_brings() {
    let Some(script) = Script::find() else { return };
    let files = script.files_of(&["numpy"]);
    assert!(files.len() >= 7, "{files:?}");
    for ending in ["npz", "safetensors"] {
        // Most are of Python objects, which nothing here reads; two are of numbers.
        let (compared, left_out) = compared(&script, &files, ending, &[]);
        assert!(compared >= 2 && left_out >= 5, "{compared} and {left_out}");
    }
    for file in files.iter().filter(|file| file.contains("objarr")) {
        let (code, _, errors) = arraybridge(&["convert", file, "/nowhere/out.npz"]);
        assert_eq!(code, 1);
        assert!(errors.contains("pickle"), "{errors}");
        let (code, out, _) = arraybridge(&["info", file]);
        assert!(code == 0 && out.contains("cannot be converted"), "{out}");
    }
}

#[test]
fn files_that_scipy_brings() {
    let Some(script) = Script::find() else { return };
    let files = script.files_of(&["scipy"]);
    assert!(files.len() >= 20, "{files:?}");
    for (ending, options) in
        [("npz", &[][..]), ("safetensors", &[]), ("safetensors", &["--memory-limit", "64KiB"])]
    {
        let (compared, left_out) = compared(&script, &files, ending, options);
        assert!(compared >= 300, "{compared}");
        assert!(left_out >= 1, "there are numbers of extended precision among them");
    }
}

#[test]
fn files_that_safetensors_writes() {
    let Some(script) = Script::find() else { return };
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    let files = script.files_of(&["scipy", "numpy"]);
    let sources = files.iter().map(String::as_str);
    script.run(&["write", text(folder.path())].into_iter().chain(sources).collect::<Vec<_>>());
    for (number, file) in files.iter().enumerate() {
        let written = place(&format!("{number}.safetensors"));
        let same = place(&format!("{number}.npz"));
        let (code, out, errors) = arraybridge(&["diff", text(&written), text(&same)]);
        assert_eq!(code, 0, "{file}: {out}{errors}");
        let made = place(&format!("{number}-made.safetensors"));
        let (code, _, errors) = arraybridge(&["convert", text(&written), text(&made)]);
        assert_eq!(code, 0, "{errors}");
        let (_, out, _) = arraybridge(&["info", text(&made), "--json"]);
        let told: Value = serde_json::from_str(&out).unwrap();
        let source = Path::new(file).file_name().unwrap().to_str().unwrap();
        assert_eq!(told["files"][0]["metadata"]["source"], source, "{out}");
    }
}
