//! Running one program of the bundle.

use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use measured::measurements;

use crate::machine::python;
use crate::report::{Measured, Outcome};

/// How much of a failed program's output a report keeps, in characters.
const KEPT: usize = 6_000;

/// Runs a test program, one test at a time: the tests share one GPU.
pub(crate) fn test(folder: &Path, name: &str, limit: Duration) -> Outcome {
    let mut command = Command::new(folder.join(name));
    command.args(["--test-threads=1", "--color=never"]);
    outcome(folder, name, command, limit)
}

/// Runs the tests of the Python package, which say themselves what cannot run in this Python.
pub(crate) fn python_tests(folder: &Path, script: &str, limit: Duration) -> Outcome {
    let python = python();
    let mut command = Command::new(&python);
    if let Err(error) = Command::new(&python).arg("--version").output() {
        let reason = format!(
            "{python} cannot be run ({error}): install CPython 3.12 with NumPy, or name one by \
             ARRAYBRIDGE_PYTHON"
        );
        let mut outcome = Outcome::of("python");
        outcome.count(&format!("test {script} ... ignored, {reason}"));
        return outcome;
    }
    command.arg(script);
    outcome(folder, "python", command, limit)
}

/// Runs a benchmark program, and says what has been measured so far.
pub(crate) fn benchmark(
    folder: &Path,
    out: &Path,
    name: &str,
    limit: Duration,
    quick: bool,
) -> (Outcome, Vec<Measured>) {
    let criterion = out.join("criterion");
    let mut command = Command::new(folder.join(name));
    command.arg("--bench").args(quick.then_some("--quick")).env("CRITERION_HOME", &criterion);
    let outcome = outcome(folder, name, command, limit);
    let measured = measurements(&criterion).into_iter().map(|one| Measured {
        job: one.job,
        by: one.by,
        nanoseconds: one.nanoseconds,
        times_ours: one.times_ours,
    });
    (outcome, measured.collect())
}

fn outcome(folder: &Path, name: &str, mut command: Command, limit: Duration) -> Outcome {
    eprintln!("{name}");
    let started = Instant::now();
    command.current_dir(folder).env("ARRAYBRIDGE_CUDA", "real").env("ARRAYBRIDGE_PYTHON", python());
    let (ended, printed) = match run(command, limit) {
        Ok((ended, printed)) => (Ok(ended), printed),
        Err(error) => (Err(error), String::new()),
    };
    let mut outcome = Outcome::of(name);
    outcome.seconds = started.elapsed().as_secs_f64();
    printed.lines().for_each(|line| outcome.count(line));
    outcome.trouble = match ended {
        Err(error) => Some(format!("it could not be run: {error}")),
        Ok(None) => Some(format!(
            "it was stopped after {} seconds{}",
            limit.as_secs(),
            begun(&printed).map_or(String::new(), |test| format!(", in {test}"))
        )),
        Ok(Some(status)) if !status.success() && outcome.failed.is_empty() => {
            Some(format!("it ended with {status}"))
        }
        Ok(Some(_)) => None,
    };
    if !outcome.is_good() {
        let skipped = printed.chars().count().saturating_sub(KEPT);
        outcome.output = Some(printed.chars().skip(skipped).collect());
    }
    outcome
}

/// The test that had begun and not ended when the program was stopped.
fn begun(printed: &str) -> Option<&str> {
    let last = printed.lines().rfind(|line| line.starts_with("test ") && line.contains(" ... "))?;
    let (name, verdict) = last.strip_prefix("test ")?.split_once(" ... ")?;
    verdict.is_empty().then_some(name)
}

impl Outcome {
    /// Reads a line of the test harness, as in `test a::b ... ok`.
    fn count(&mut self, line: &str) {
        let Some((name, verdict)) =
            line.strip_prefix("test ").and_then(|line| line.split_once(" ... "))
        else {
            return;
        };
        match verdict.split([' ', ',']).next() {
            Some("ok") => self.passed += 1,
            Some("FAILED") => self.failed.push(name.to_owned()),
            Some("ignored") => {
                self.ignored += 1;
                if let Some((_, reason)) = verdict.split_once(", ") {
                    *self.reasons.entry(reason.to_owned()).or_default() += 1;
                }
            }
            _ => {}
        }
    }
}

/// The exit status, `None` where the program had to be stopped, and what it printed.
fn run(mut command: Command, limit: Duration) -> io::Result<(Option<ExitStatus>, String)> {
    let log = std::env::temp_dir().join(format!("gpu-runner-{}.log", std::process::id()));
    let file = File::create(&log)?;
    command.stdin(Stdio::null()).stderr(file.try_clone()?).stdout(file);
    let ended = command.spawn().and_then(|mut child| wait(&mut child, limit));
    let printed = std::fs::read(&log).unwrap_or_default();
    let _ = std::fs::remove_file(&log);
    Ok((ended?, String::from_utf8_lossy(&printed).into_owned()))
}

fn wait(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if started.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        sleep(Duration::from_millis(20));
    }
}
