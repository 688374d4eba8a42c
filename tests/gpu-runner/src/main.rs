//! Runs what `cargo xtask gpu-bundle` has put into a folder, and writes `report.json` and `report.md`.
//!
//! It needs an NVIDIA driver and nothing else. Where there is a Python with torch, the benchmarks
//! measure that beside ours; where it is CPython 3.12, the tests of the Python package run too.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for people")]

mod machine;
mod markdown;
mod report;
mod run;
mod targets;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use std::{env, fs};

use crate::machine::Machine;
use crate::report::{Bundle, Report};
use crate::targets::verdicts;

const USAGE: &str = "\
Runs the tests and benchmarks of this folder on the GPU of this machine.

usage: gpu-runner [--out FOLDER] [--only NAME] [--seconds N] [--total N] [--quick]

  --out FOLDER   where report.json and report.md go (default: this folder)
  --only NAME    only what has NAME in its name
  --seconds N    how long one program may take (default: 150)
  --total N      how long all of them may take (default: 450)
  --quick        stop each benchmark as soon as its result is roughly known";

/// What was asked for.
struct Asked {
    out: Option<PathBuf>,
    only: String,
    limit: Duration,
    total: Duration,
    quick: bool,
}

fn main() -> ExitCode {
    match asked(env::args().skip(1)).and_then(|asked| run_all(&asked)) {
        Ok(report) if report.passed() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
    }
}

fn asked(mut words: impl Iterator<Item = String>) -> Result<Asked, String> {
    let mut asked = Asked {
        out: None,
        only: String::new(),
        limit: Duration::from_secs(150),
        total: Duration::from_secs(450),
        quick: false,
    };
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value\n\n{USAGE}"));
        match word.as_str() {
            "--out" => asked.out = Some(value()?.into()),
            "--only" => asked.only = value()?,
            "--seconds" | "--total" => {
                let seconds = value()?;
                let seconds = seconds
                    .parse()
                    .map_err(|_| format!("\"{seconds}\" is not a number of seconds\n\n{USAGE}"))?;
                let seconds = Duration::from_secs(seconds);
                if word == "--total" { asked.total = seconds } else { asked.limit = seconds }
            }
            "--quick" => asked.quick = true,
            _ => return Err(format!("\"{word}\" is not an option\n\n{USAGE}")),
        }
    }
    Ok(asked)
}

fn run_all(asked: &Asked) -> Result<Report, String> {
    let here = folder()?;
    let out = asked.out.as_deref().unwrap_or(&here);
    fs::create_dir_all(out).map_err(|error| format!("{}: {error}", out.display()))?;
    let bundle = Bundle::read(&here.join("bundle.json"))?;
    let chosen = |names: &[String]| -> Vec<String> {
        names.iter().filter(|name| name.contains(&asked.only)).cloned().collect()
    };
    let started = Instant::now();
    let left = || asked.limit.min(asked.total.saturating_sub(started.elapsed()));
    let mut report = Report::of(&bundle, Machine::find());
    let benchmarks = chosen(&bundle.benchmarks);
    if benchmarks.is_empty() {
        report.targets.clear();
    }
    for name in chosen(&bundle.tests) {
        report.tests.push(run::test(&here, &name, left()));
        report.write(out)?; // what is known so far, should the machine go
    }
    if let Some(script) = bundle.python.filter(|_| "python".contains(&asked.only)) {
        report.tests.push(run::python_tests(&here, &script, left()));
        report.write(out)?;
    }
    for name in benchmarks {
        // A benchmark may take what is left of all the time.
        let limit = asked.total.saturating_sub(started.elapsed());
        let (outcome, measured) = run::benchmark(&here, out, &name, limit, asked.quick);
        report.benchmarks.push(outcome);
        report.targets = verdicts(&measured);
        report.measured = measured;
        report.write(out)?;
    }
    report.write(out)?;
    println!("{}", out.join("report.md").display());
    Ok(report)
}

/// The folder of this program.
fn folder() -> Result<PathBuf, String> {
    let program = env::current_exe().map_err(|error| format!("where this program is: {error}"))?;
    program.parent().map(Path::to_owned).ok_or_else(|| "this program has no folder".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &str) -> Result<Asked, String> {
        asked(words.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn options_are_read_and_mistakes_told() {
        let asked = parse("--only stream --seconds 7 --total 9 --quick --out there").unwrap();
        assert_eq!((&*asked.only, asked.limit.as_secs(), asked.quick), ("stream", 7, true));
        assert_eq!((asked.out, asked.total.as_secs()), (Some("there".into()), 9));
        for (words, told) in [
            ("--seconds soon", "\"soon\" is not a number"),
            ("--seconds", "--seconds needs a value"),
            ("--fast", "\"--fast\" is not an option"),
        ] {
            let message = parse(words).err().unwrap();
            assert!(message.starts_with(told) && message.contains("usage:"), "{message}");
        }
    }
}
