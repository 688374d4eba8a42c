//! `cargo xtask gpu-bundle`: a folder that runs on a machine with nothing but the NVIDIA driver. The Python package is in
//! it too, for where there is a Python.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use crate::command::{Lines, Tool};
use crate::failure::{Failure, Result};
use crate::workspace::Workspace;
use crate::{python_tests, python_wheel};

/// What a bundle may weigh: what machines that are lent for minutes take.
const MOST_BYTES: u64 = 64 << 20;

/// Test programs whose names start so need the simulated driver.
const SIMULATED: &str = "simulated_";

/// The Python that the wheel in a bundle is for.
const PYTHON: &str = "3.12";

/// The folder of a bundle that has the wheel, its tests, and the script that runs them.
const PYTHON_FOLDER: &str = "python";

/// The script; it lies beside the wheel.
const SCRIPT: &str = "tests/gpu-runner/python/run.py";

/// The tests of the Python package that a GPU is another matter for, and what they import.
const PYTHON_TESTS: [&str; 8] = [
    "conftest.py",
    "on_gpu.py",
    "test_converters.py",
    "test_gpu.py",
    "test_gpu_cleanup.py",
    "test_oom_recovery.py",
    "test_seed_000.py",
    "test_seed_001.py",
];

/// What torch's hand-over is measured with.
const HAND_OVER: &str = "libtorch_hand_over.so";

/// Options of `gpu-bundle`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The folder to make; what is in it is replaced [default: target/gpu-bundle]
    #[arg(long)]
    out: Option<PathBuf>,
}

/// Builds the programs, copies them, and says how to run them.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    let out = options.out.clone().unwrap_or_else(|| workspace.target.join("gpu-bundle"));
    let tests = built(&cargo(workspace, "test --release --no-run --package bridge-cuda"))?;
    let tests = tests.into_iter().filter(|program| !program.name.starts_with(SIMULATED));
    let built_benchmarks =
        built(&cargo(workspace, "bench --no-run --package bridge-benches-cuda --bench cuda"))?;
    // Python loads the library of the benchmarks from beside them, under its name.
    let (libraries, benchmarks): (Vec<_>, Vec<_>) =
        built_benchmarks.into_iter().partition(|program| program.name.ends_with(".so"));
    let runner = built(&cargo(workspace, "build --release --package gpu-runner"))?;
    let wheel = python_wheel::stripped(workspace, PYTHON)?;
    let commit = Tool::new("git", &workspace.root).args(["describe", "--always", "--dirty"]);

    let bundle = Bundle { folder: &out };
    bundle.empty()?;
    let tests = bundle.add("test-", tests)?;
    let benchmarks = bundle.add("benchmark-", benchmarks)?;
    bundle.add("", runner.into_iter().chain(libraries))?;
    let script = bundle.add_python(&workspace.root, &wheel)?;
    let contents = json!({
        "commit": commit.capture()?.trim(),
        "tests": tests,
        "benchmarks": benchmarks,
        "python": script,
    });
    bundle.write("bundle.json", &format!("{contents:#}\n"))?;
    let bytes = bundle.check_size()?;
    println!(
        "{} ({:.1} MiB)\n\nCopy the folder to the GPU machine and run ./gpu-runner there: it writes \
         report.json and report.md.\nPeers in Python are measured where ARRAYBRIDGE_PYTHON, or \
         python3, has torch; the tests of the Python package run where it is CPython {PYTHON} with NumPy.",
        out.display(),
        bytes as f64 / f64::from(1 << 20)
    );
    Ok(ExitCode::SUCCESS)
}

/// A program that cargo has built, or a library for Python.
struct Program {
    name: String,
    path: PathBuf,
}

/// A cargo that says what it has built.
fn cargo(workspace: &Workspace, args: &str) -> Tool {
    let json = ["--message-format", "json-render-diagnostics"];
    workspace.cargo().args(args.split(' ')).args(json)
}

fn built(cargo: &Tool) -> Result<Vec<Program>> {
    let mut programs = Vec::new();
    if !cargo.each_line(Lines::Stdout, |line| programs.extend(program_of(line)))? {
        return Err(Failure::new(
            format!("run `{}`", cargo.line()),
            "it failed",
            "mend what its output above names, then run the command again",
        ));
    }
    Ok(programs)
}

/// The program or library that a message of cargo's is about.
fn program_of(message: &str) -> Option<Program> {
    let message: Value = serde_json::from_str(message).ok()?;
    if let Some(path) = message["executable"].as_str() {
        let name = message["target"]["name"].as_str()?.to_owned();
        return Some(Program { name, path: path.into() });
    }
    let files = message["filenames"].as_array()?.iter().filter_map(Value::as_str);
    let path = PathBuf::from(files.into_iter().find(|file| file.ends_with(HAND_OVER))?);
    Some(Program { name: HAND_OVER.to_owned(), path })
}

/// The folder that is made.
struct Bundle<'a> {
    folder: &'a Path,
}

impl Bundle<'_> {
    fn empty(&self) -> Result<()> {
        match fs::remove_dir_all(self.folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.failed(&error)),
            _ => fs::create_dir_all(self.folder).map_err(|error| self.failed(&error)),
        }
    }

    /// Copies programs in under their names with `prefix` before them, without their symbols, and
    /// gives the names.
    fn add(
        &self,
        prefix: &str,
        programs: impl IntoIterator<Item = Program>,
    ) -> Result<Vec<String>> {
        let copy = |Program { name, path }| {
            let name = format!("{prefix}{name}");
            fs::copy(path, self.folder.join(&name)).map_err(|error| self.failed(&error))?;
            Tool::new("strip", self.folder).args([name.as_str()]).run()?;
            Ok(name)
        };
        programs.into_iter().map(copy).collect()
    }

    /// Copies in the wheel, the tests of the Python package and the script that runs them, and gives the script's
    /// name.
    fn add_python(&self, root: &Path, wheel: &Path) -> Result<String> {
        let package = root.join(python_tests::FOLDER);
        let tests = package.join("tests");
        let script = root.join(SCRIPT);
        let folder = self.folder.join(PYTHON_FOLDER);
        fs::create_dir_all(folder.join("tests")).map_err(|error| self.failed(&error))?;
        let beside = [wheel, &script, &package.join("pyproject.toml")];
        let files = beside
            .into_iter()
            .map(|path| (path.to_owned(), folder.clone()))
            .chain(PYTHON_TESTS.iter().map(|name| (tests.join(name), folder.join("tests"))));
        for (from, to) in files {
            let name = from.file_name().unwrap_or_default();
            fs::copy(&from, to.join(name)).map_err(|error| self.failed(&error))?;
        }
        Ok(format!("{PYTHON_FOLDER}/run.py"))
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        fs::write(self.folder.join(name), text).map_err(|error| self.failed(&error))
    }

    fn check_size(&self) -> Result<u64> {
        let bytes = bytes_in(self.folder).map_err(|error| self.failed(&error))?;
        if bytes <= MOST_BYTES {
            return Ok(bytes);
        }
        Err(Failure::new(
            "keep the bundle within 64 MiB",
            format!("{} MiB in {}", bytes >> 20, self.folder.display()),
            "join test programs, or leave dependencies out of them",
        ))
    }

    fn failed(&self, error: &io::Error) -> Failure {
        Failure::new(
            format!("make the folder {}", self.folder.display()),
            error.to_string(),
            "choose another with --out",
        )
    }
}

/// What the files in a folder and in those below it weigh.
fn bytes_in(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let found = entry.metadata()?;
        bytes += if found.is_dir() { bytes_in(&entry.path())? } else { found.len() };
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::{Bundle, PYTHON_TESTS, Program, bytes_in, program_of};
    use crate::python_tests::FOLDER;

    #[test]
    fn programs_are_read_from_cargos_messages() {
        let message = r#"{"reason":"compiler-artifact","target":{"name":"streams"},
            "executable":"/t/streams-0a1b"}"#;
        let program = program_of(message).unwrap();
        assert_eq!((&*program.name, program.path.to_str()), ("streams", Some("/t/streams-0a1b")));
        let message =
            r#"{"executable":null,"filenames":["/t/libx.rlib","/t/libtorch_hand_over.so"]}"#;
        let library = program_of(message).unwrap();
        assert_eq!(library.path.to_str(), Some("/t/libtorch_hand_over.so"));
        for other in [r#"{"reason":"build-finished"}"#, r#"{"executable":null}"#, "no json"] {
            assert!(program_of(other).is_none(), "{other}");
        }
    }

    #[test]
    fn a_bundle_replaces_what_was_there() {
        let folder = std::env::temp_dir().join(format!("xtask-bundle-{}", std::process::id()));
        let bundle = Bundle { folder: &folder };
        bundle.empty().unwrap();
        bundle.write("old", "old").unwrap();
        bundle.empty().unwrap();
        let program = Program { name: "a".into(), path: std::env::current_exe().unwrap() };
        assert_eq!(bundle.add("test-", [program]).unwrap(), ["test-a"]);
        assert!(folder.join("test-a").exists() && !folder.join("old").exists());
        assert!(bundle.check_size().unwrap() > 0);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn python_is_packed_with_its_wheel_and_all_that_its_tests_import() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let folder = tempfile::tempdir().unwrap();
        let bundle = Bundle { folder: folder.path() };
        let wheel = folder.path().join("arraybridge-1-cp312-cp312-linux_x86_64.whl");
        fs::write(&wheel, vec![0; 1000]).unwrap();
        let script = bundle.add_python(&root, &wheel).unwrap();
        assert!(folder.path().join(&script).is_file(), "{script}");
        let packed = folder.path().join("python");
        assert!(packed.join(wheel.file_name().unwrap()).is_file());
        assert!(bytes_in(&packed).unwrap() > 1000, "what lies in folders counts");

        // A module that tests import from beside them has to come along.
        let beside = |module: &str| root.join(FOLDER).join("tests").join(format!("{module}.py"));
        for name in PYTHON_TESTS {
            let text = fs::read_to_string(packed.join("tests").join(name)).unwrap();
            for line in text.lines() {
                let Some(module) = line.strip_prefix("from ").or(line.strip_prefix("import "))
                else {
                    continue;
                };
                let module = module.split([' ', '.', ',']).next().unwrap();
                let is_ours = beside(module).is_file();
                assert!(
                    !is_ours || PYTHON_TESTS.contains(&&*format!("{module}.py")),
                    "{name} imports {module}"
                );
            }
        }
    }
}
