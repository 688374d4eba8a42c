//! Runs the tests of the Python package: pytest once, for all frameworks together, and then the checkers of types.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Deserialize;

use crate::command::{Environment, Lines, Tool};
use crate::failure::{Failure, Result};
use crate::outcome::Counts;
use crate::python::PythonEnvironment;
use crate::run_tests::TestRun;
use crate::tally::Tally;
use crate::workspace::Workspace;

/// The folder of the package.
pub(crate) const FOLDER: &str = "crates/bridge-python";

/// The module that is imported.
const MODULE: &str = "arraybridge";

/// The rows that pytest's tests are counted in. A test counts in the last one that it names.
pub(crate) const ROWS: [&str; 9] = [
    "package",
    "numpy",
    "torch",
    "jax",
    "tensorflow",
    "pyclesperanto",
    SIMULATED_CUPY,
    "cupy",
    DOCTESTS,
];

pub(crate) const SIMULATED_CUPY: &str = "cupy (simulated)";
pub(crate) const DOCTESTS: &str = "doctests";
/// What the second checker of types reads.
const USES: [&str; 4] = [
    "tests/typing_uses.py",
    "python/arraybridge/__init__.pyi",
    "python/arraybridge/_native.pyi",
    "python/arraybridge/memory.pyi",
];

/// The row of the checkers of types.
pub(crate) const STUBS: &str = "stubs";

/// Tells of each test, by row.
const PLUGIN: &str = include_str!("pytest_rows.py");
const PLUGIN_NAME: &str = "arraybridge_pytest_rows";

/// The longest that one test may take.
const SECONDS: u32 = 600;

/// Where what is made for Python lies: wheels, environments, caches.
pub(crate) fn scratch(workspace: &Workspace) -> PathBuf {
    workspace.target.join("python")
}

/// Runs the tests of every row but those in `absent`, with the package that `python` has. Counts are
/// by row.
pub(crate) fn run(
    workspace: &Workspace,
    python: &PythonEnvironment<'_>,
    absent: &[&str],
    env: &Environment,
) -> Result<TestRun> {
    let folder = scratch(workspace);
    let events = folder.join("events.jsonl");
    write(&folder.join("pytest").join(format!("{PLUGIN_NAME}.py")), PLUGIN)?;
    write(&events, "")?;
    let mut paths = vec!["tests".to_owned()];
    if !absent.contains(&DOCTESTS) {
        paths.extend(documented(workspace, python)?);
    }
    let tool = pytest(workspace, python, &paths)
        .envs(env)
        .env("PYTHONPATH", folder.join("pytest").display().to_string())
        .env("ARRAYBRIDGE_TEST_EVENTS", events.display().to_string())
        .env("ARRAYBRIDGE_TEST_ROWS", json(&ROWS))
        .env("ARRAYBRIDGE_ABSENT_ROWS", json(absent))
        .env("CARGO_TARGET_DIR", workspace.target.display().to_string()); // the simulated CUDA driver is there
    let ended_well = tool.succeeds()?;
    let text = fs::read_to_string(&events).map_err(|error| {
        Failure::new("read what pytest told", error.to_string(), "run the command above by hand")
    })?;
    Ok(read(&text, ended_well))
}

fn json(words: &[&str]) -> String {
    serde_json::to_string(words).expect("strings are always JSON")
}

fn write(path: &Path, text: &str) -> Result<()> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).and_then(|()| fs::write(path, text)).map_err(|error| {
        Failure::new(
            format!("write {}", path.display()),
            error.to_string(),
            "see what is in its way",
        )
    })
}

/// Where examples are looked for: the package as it is installed, its page, and the front page.
fn documented(workspace: &Workspace, python: &PythonEnvironment<'_>) -> Result<Vec<String>> {
    let place = format!(
        "import importlib.util as u; print(u.find_spec('{MODULE}').submodule_search_locations[0])"
    );
    let mut paths = vec![python.evaluate(&place)?.trim().to_owned()];
    let pages = ["README.md", "docs/python.md"].map(|page| workspace.root.join(page));
    paths.extend(pages.map(|page| page.display().to_string()));
    Ok(paths)
}

/// In how many processes tests run at once: each of them imports every framework, which takes 1 GiB.
fn processes() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().min(4))
}

fn pytest(workspace: &Workspace, python: &PythonEnvironment<'_>, paths: &[String]) -> Tool {
    let examples = scratch(workspace).join("hypothesis").display().to_string();
    Tool::new(python.program("python3"), &workspace.root.join(FOLDER))
        .env("HYPOTHESIS_STORAGE_DIRECTORY", examples)
        // Dozens of tests start interpreters: what they import is compiled once, whatever the environment says.
        .without_env("PYTHONDONTWRITEBYTECODE")
        .args(["-m", "pytest", "-c", "pyproject.toml", "-p", PLUGIN_NAME])
        .args(["-p", "no:cacheprovider", "-ra"])
        .args(["--continue-on-collection-errors"])
        .args(["--numprocesses".to_owned(), processes().to_string()])
        .args(["--dist", "loadfile"])
        .args(["--doctest-modules", "--doctest-ignore-import-errors", "--doctest-glob=*.md"])
        .args(["-o".to_owned(), format!("faulthandler_timeout={SECONDS}")])
        .args(["-o", "faulthandler_exit_on_timeout=true"])
        .args(paths.iter().cloned())
}

/// What the plugin writes, one a line.
#[derive(Debug, Deserialize)]
struct Event {
    event: Kind,
    test: String,
    row: String,
    outcome: Option<Outcome>,
    #[serde(default)]
    seconds: f64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Start,
    End,
    Finish,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Passed,
    Failed,
    Skipped,
}

/// Counts the events. A test that started and did not end, as when the interpreter crashes, has failed,
/// and so has the run of all that come after it.
fn read(events: &str, ended_well: bool) -> TestRun {
    let mut tally = Tally::default();
    let mut running = BTreeMap::new();
    let mut finished = false;
    for event in events.lines().filter_map(|line| serde_json::from_str::<Event>(line).ok()) {
        let counts = tally.of_mut(&event.row);
        counts.seconds += event.seconds;
        match (event.event, event.outcome) {
            (Kind::Start, _) => {
                running.insert(event.test, event.row);
                continue;
            }
            (Kind::End, Some(Outcome::Passed)) => counts.passed += 1,
            (Kind::End, Some(Outcome::Skipped)) => counts.ignored += 1,
            (Kind::End, _) => counts.failed += 1,
            (Kind::Finish, _) => finished = true,
        }
        running.remove(&event.test);
    }
    for (test, row) in &running {
        eprintln!("{test} did not end: Python crashed, or the test took more than {SECONDS} s");
        tally.of_mut(row).failed += 1;
    }
    let explained = ended_well || tally.total().failed > 0;
    TestRun { tally, ended_well: finished && running.is_empty() && explained }
}

/// Compares the stubs with the running module, and has a second checker read uses of them. What they find counts as
/// failed, what they have nothing to say of as passed, module by module.
pub(crate) fn stubs(workspace: &Workspace, python: &PythonEnvironment<'_>) -> Result<Counts> {
    let started = Instant::now();
    let mut counts = stubtest(workspace, python)?;
    match uses(python).succeeds()? {
        true => counts.passed += 1,
        false => counts.failed += 1,
    }
    counts.seconds = started.elapsed().as_secs_f64();
    Ok(counts)
}

/// Checks the stubs, and a file that uses the package as programs do.
fn uses(python: &PythonEnvironment<'_>) -> Tool {
    let interpreter = python.program("python3");
    let files = USES.map(|file| format!("{FOLDER}/{file}"));
    // Without a preset it looks for next to nothing.
    let checker = python.tool("pyrefly").args(["check", "--preset", "strict"]);
    checker.args(["--python-interpreter-path", &interpreter]).args(files)
}

fn stubtest(workspace: &Workspace, python: &PythonEnvironment<'_>) -> Result<Counts> {
    let mut counts = Counts::default();
    // Its cache lies where it runs.
    let stubtest = Tool::new(python.program("python3"), &scratch(workspace));
    let stubtest = stubtest.args(["-m", "mypy.stubtest", MODULE]);
    let allowed = workspace.root.join(FOLDER).join("stubtest-allowlist.txt");
    let allowed = allowed.is_file().then(|| allowed.display().to_string());
    let stubtest = stubtest.args(allowed.iter().flat_map(|path| ["--allowlist", path]));
    let ended_well = stubtest.each_line(Lines::Both, |line| {
        eprintln!("{line}");
        if let Some(found) = stubtest_result(line) {
            counts = found;
        }
    })?;
    if !ended_well {
        counts.failed = counts.failed.max(1); // it could not even compare them
    }
    Ok(counts)
}

/// "Success: no issues found in 4 modules", "Found 2 errors (checked 4 modules)".
fn stubtest_result(line: &str) -> Option<Counts> {
    let number_before = |word: &str| -> Option<u64> {
        let (before, _) = line.split_once(word)?;
        before.split_whitespace().next_back()?.parse().ok()
    };
    let modules = number_before(" module")?;
    let errors = match line.split(' ').next() {
        Some("Success:") => 0,
        Some("Found") => number_before(" error")?,
        _ => return None,
    };
    let passed = if errors == 0 { modules } else { 0 };
    Some(Counts { passed, failed: errors, ..Counts::default() })
}

#[cfg(test)]
mod tests {
    use super::{FOLDER, PLUGIN, ROWS, USES, pytest, read, stubtest_result, uses};
    use crate::python::PythonEnvironment;
    use crate::workspace::tests::example;

    /// Written by the plugin under pytest 9.2 (file names cut short).
    const EVENTS: &str = r#"
{"event": "start", "test": "tests/test_torch.py::test_a", "row": "torch"}
{"event": "end", "test": "tests/test_torch.py::test_a", "row": "torch", "outcome": "passed", "seconds": 0.25}
{"event": "start", "test": "tests/test_torch.py::test_b", "row": "torch"}
{"event": "end", "test": "tests/test_torch.py::test_b", "row": "torch", "outcome": "failed", "seconds": 0.5}
{"event": "start", "test": "tests/test_jax.py::test_c", "row": "jax"}
{"event": "end", "test": "tests/test_jax.py::test_c", "row": "jax", "outcome": "skipped", "seconds": 0.0}
"#;
    const FINISH: &str = r#"{"event": "finish", "test": "", "row": "package"}"#;

    #[test]
    fn tests_are_counted_in_their_rows() {
        let mut run = read(&format!("{EVENTS}{FINISH}"), false);
        assert!(run.ended_well, "a failed test explains the exit status");
        let torch = run.tally.take("torch");
        assert_eq!((torch.passed, torch.failed, torch.ignored), (1, 1, 0));
        assert!((torch.seconds - 0.75).abs() < 1e-9, "{}", torch.seconds);
        assert_eq!(run.tally.take("jax").ignored, 1);
    }

    #[test]
    fn a_crash_is_a_failed_test_and_a_bad_end() {
        let crash = r#"{"event": "start", "test": "tests/test_jax.py::test_d", "row": "jax"}"#;
        let mut run = read(&format!("{EVENTS}{crash}"), false);
        assert!(!run.ended_well);
        assert_eq!(run.tally.take("jax").failed, 1);
        assert!(!read("", true).ended_well, "nothing was told");
    }

    #[test]
    fn an_error_that_no_test_explains_is_a_bad_end() {
        assert!(read(FINISH, true).ended_well);
        assert!(!read(FINISH, false).ended_well);
    }

    #[test]
    fn stubtest_is_read_module_by_module() {
        let counts = |line| stubtest_result(line).map(|counts| (counts.passed, counts.failed));
        assert_eq!(counts("Success: no issues found in 4 modules"), Some((4, 0)));
        assert_eq!(counts("Success: no issues found in 1 module"), Some((1, 0)));
        assert_eq!(counts("Found 2 errors (checked 4 modules)"), Some((0, 2)));
        assert_eq!(counts("error: not checking stubs due to build failure"), None);
    }

    #[test]
    fn pytest_goes_on_after_a_file_that_cannot_be_read_and_ends_a_test_that_hangs() {
        let workspace = example();
        let python = PythonEnvironment::of_workspace(&workspace);
        let line = pytest(&workspace, &python, &["tests".to_owned()]).line();
        assert!(line.starts_with("python3 -m pytest"), "{line}");
        assert!(line.contains("--continue-on-collection-errors"), "{line}");
        assert!(line.contains("faulthandler_exit_on_timeout=true"), "{line}");
    }

    #[test]
    fn the_second_checker_is_told_to_be_strict_and_reads_files_that_are_there() {
        let workspace = example();
        let line = uses(&PythonEnvironment::of_workspace(&workspace)).line();
        assert!(line.contains("--preset strict"), "{line}");
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(FOLDER);
        for file in USES {
            assert!(root.join(file).is_file() && line.contains(file), "{file}: {line}");
        }
    }

    #[test]
    fn the_plugin_and_the_table_have_the_same_rows() {
        for row in ["package", "doctests", "cupy (simulated)"] {
            assert!(ROWS.contains(&row) && PLUGIN.contains(&format!("\"{row}\"")), "{row}");
        }
    }
}
