//! A peer that lives in Python, timed by its own clock in the same run.

mod python;

pub use python::{REMEDY, python};

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

/// A Python process that runs functions as often as it is told and answers with the time taken.
pub struct PythonPeer {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

/// Reads a function and a number of repetitions a line, runs it so often, prints nanoseconds: its own
/// where it returns them.
const LOOP: &str = "
import sys, time
for line in sys.stdin:
    name, n = line.split()
    n, run = int(n), globals()[name]
    if name.startswith('timed_'):
        print(run(n), flush=True)
        continue
    start = time.perf_counter_ns()
    for _ in range(n):
        run()
    print(time.perf_counter_ns() - start, flush=True)
";

impl PythonPeer {
    /// Starts Python with `setup`, which defines a function `job`, and runs that once. `None`, said on
    /// stderr, where there is no Python that can run it.
    pub fn start(name: &str, setup: &str) -> Option<Self> {
        let Some(python) = python() else {
            not_measured(name, "there is no Python");
            return None;
        };
        let mut process = Command::new(&python)
            .args(["-c", &format!("{setup}\njob()\nprint('ready', flush=True)\n{LOOP}")])
            .env("OMP_NUM_THREADS", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| not_measured(name, &format!("{}: {error}", python.display())))
            .ok()?;
        let input = process.stdin.take()?;
        let mut output = BufReader::new(process.stdout.take()?);
        let mut ready = String::new();
        match output.read_line(&mut ready) {
            Ok(_) if ready.trim() == "ready" => Some(Self { process, input, output }),
            _ => {
                not_measured(name, &format!("{} lacks the package", python.display()));
                let _ = process.kill();
                let _ = process.wait();
                None
            }
        }
    }

    /// Runs `job` `times` times and says how long it took.
    ///
    /// # Panics
    ///
    /// Where Python died in between.
    pub fn run(&mut self, times: u64) -> Duration {
        self.run_named("job", times)
    }

    /// As [`run`](Self::run), for another function of the setup. One whose name begins with `timed_`
    /// is called once, with the number, and says itself how many nanoseconds passed.
    pub fn run_named(&mut self, function: &str, times: u64) -> Duration {
        let mut answer = String::new();
        writeln!(self.input, "{function} {times}").expect("Python reads");
        self.output.read_line(&mut answer).expect("Python answers");
        Duration::from_nanos(answer.trim().parse().expect("Python answers with nanoseconds"))
    }
}

#[expect(clippy::print_stderr, reason = "a benchmark says what it could not measure")]
fn not_measured(name: &str, reason: &str) {
    eprintln!("{name}: not measured, {reason} ({REMEDY})");
}

impl Drop for PythonPeer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
