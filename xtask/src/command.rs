//! Runs other programs, showing each command line and how long it took. What they print goes to standard
//! error: standard output is for what the chore itself has to say.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Instant;

use crate::failure::{Failure, Result};

/// Variables to set for a program, by name.
pub(crate) type Environment = Vec<(String, String)>;

/// Which of a program's streams [`Tool::each_line`] reads. The other one is shown as it is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Lines {
    /// Standard output alone.
    Stdout,
    /// Standard output and standard error in the order they were written.
    Both,
}

/// One call of a program, built up word by word.
#[derive(Debug, Clone)]
pub(crate) struct Tool {
    program: OsString,
    args: Vec<String>,
    env: Environment,
    unset: Vec<&'static str>,
    dir: PathBuf,
}

impl Tool {
    /// A call of `program` in the folder `dir`.
    pub(crate) fn new(program: impl Into<OsString>, dir: &Path) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            env: Environment::new(),
            unset: Vec::new(),
            dir: dir.to_owned(),
        }
    }

    /// A call of the cargo that started this program, in the folder `dir`.
    pub(crate) fn cargo(dir: &Path) -> Self {
        Self::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()), dir)
    }

    /// Adds arguments.
    pub(crate) fn args<S: Into<String>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets a variable for the program.
    pub(crate) fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Sets several variables for the program.
    pub(crate) fn envs(mut self, env: &Environment) -> Self {
        self.env.extend(env.iter().cloned());
        self
    }

    /// Hides a variable of this process from the program.
    pub(crate) fn without_env(mut self, name: &'static str) -> Self {
        self.unset.push(name);
        self
    }

    /// Runs to the end with its output shown; an exit status other than 0 is a failure.
    pub(crate) fn run(&self) -> Result<()> {
        let status = self.status()?;
        if status.success() { Ok(()) } else { Err(self.exited(status)) }
    }

    /// Runs to the end with its output shown and says whether the exit status was 0.
    pub(crate) fn succeeds(&self) -> Result<bool> {
        Ok(self.status()?.success())
    }

    fn status(&self) -> Result<ExitStatus> {
        self.announced(|| {
            self.command().stdout(io::stderr()).status().map_err(|e| self.did_not_start(&e))
        })
    }

    /// Runs to the end silently and returns its standard output. Standard error becomes part of
    /// the failure when there is one.
    pub(crate) fn capture(&self) -> Result<String> {
        let output = self.command().output().map_err(|e| self.did_not_start(&e))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(Failure::new(
            format!("run `{}`", self.line()),
            format!("{}; it said: {}", output.status, said.trim()),
            "run the command by hand to see more",
        ))
    }

    /// Runs to the end, hands every line of the chosen stream to `see` as it arrives, and says
    /// whether the program succeeded.
    pub(crate) fn each_line(&self, lines: Lines, see: impl FnMut(&str)) -> Result<bool> {
        self.announced(|| self.read_each_line(lines, see))
    }

    fn read_each_line(&self, lines: Lines, mut see: impl FnMut(&str)) -> Result<bool> {
        let (reader, writer) = io::pipe().map_err(|e| self.did_not_start(&e))?;
        let mut command = self.command();
        if let Lines::Both = lines {
            command.stderr(writer.try_clone().map_err(|e| self.did_not_start(&e))?);
        }
        command.stdout(writer);
        let mut child = command.spawn().map_err(|e| self.did_not_start(&e))?;
        drop(command); // it holds the writing ends: the last line is known only once they are closed
        let read = for_each_line(reader, &mut see);
        let status = child.wait().map_err(|e| self.did_not_start(&e))?;
        read.map_err(|e| {
            Failure::new(
                format!("read what `{}` prints", self.line()),
                e.to_string(),
                "run the command by hand",
            )
        })?;
        Ok(status.success())
    }

    /// The command line as one would type it.
    pub(crate) fn line(&self) -> String {
        let program = Path::new(&self.program).file_name().unwrap_or(&self.program);
        let words = self.args.iter().map(|word| quoted(word));
        let mut line = program.to_string_lossy().into_owned();
        for word in words {
            line.push(' ');
            line.push_str(&word);
        }
        line
    }

    /// Shows the command line, and after the run how long it took.
    fn announced<T>(&self, run: impl FnOnce() -> T) -> T {
        let line = self.line();
        eprintln!("\n$ {line}");
        let started = Instant::now();
        let result = run();
        eprintln!("[{:.0} s] {line}", started.elapsed().as_secs_f64());
        result
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args).current_dir(&self.dir).stdin(Stdio::null());
        // `cargo run` describes this package to this process. A build script that watches such a
        // variable would run anew at every change between `cargo xtask` and plain `cargo`.
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
                command.env_remove(&name);
            }
        }
        for name in &self.unset {
            command.env_remove(name);
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    fn did_not_start(&self, error: &io::Error) -> Failure {
        Failure::new(
            format!("run `{}`", self.line()),
            format!("it did not start: {error}"),
            format!("see that `{}` is installed and on PATH", self.program.to_string_lossy()),
        )
    }

    fn exited(&self, status: ExitStatus) -> Failure {
        Failure::new(
            format!("run `{}`", self.line()),
            status.to_string(),
            "mend what its output above names, then run the command again",
        )
    }
}

fn for_each_line(reader: impl Read, see: &mut impl FnMut(&str)) -> io::Result<()> {
    let mut reader = BufReader::new(reader);
    let mut bytes = Vec::new();
    while reader.read_until(b'\n', &mut bytes)? > 0 {
        see(String::from_utf8_lossy(&bytes).trim_end_matches(['\n', '\r']));
        bytes.clear();
    }
    Ok(())
}

fn quoted(word: &str) -> String {
    if word.is_empty() || word.contains([' ', '*', '"', '$']) {
        format!("'{word}'")
    } else {
        word.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::{Lines, Tool, for_each_line};
    use std::path::Path;

    fn rustc(args: &[&str]) -> Tool {
        Tool::new("rustc", Path::new(".")).args(args.iter().copied())
    }

    #[test]
    fn line_is_what_one_would_type() {
        let tool =
            Tool::new("/somewhere/bin/cargo", Path::new(".")).args(["bench", "--bench", "*"]);
        assert_eq!(tool.line(), "cargo bench --bench '*'");
    }

    #[test]
    fn capture_returns_standard_output() {
        assert!(rustc(&["--version"]).capture().unwrap().starts_with("rustc "));
    }

    #[test]
    fn a_failed_program_is_named_with_what_it_said() {
        let text = rustc(&["--no-such-flag"]).capture().unwrap_err().to_string();
        assert!(text.contains("rustc --no-such-flag"), "{text}");
        assert!(text.contains("no-such-flag'"), "what rustc itself said is missing: {text}");
    }

    #[test]
    fn an_absent_program_is_named_with_a_remedy() {
        let tool = Tool::new("no-such-program-anywhere", Path::new("."));
        let text = tool.run().unwrap_err().to_string();
        assert!(text.contains("did not start"), "{text}");
        assert!(text.contains("on PATH"), "{text}");
    }

    #[test]
    fn each_line_reads_both_streams_and_tells_failure() {
        let mut seen = Vec::new();
        let ok = rustc(&["--no-such-flag"])
            .each_line(Lines::Both, |line| seen.push(line.to_owned()))
            .unwrap();
        assert!(!ok);
        assert!(seen.iter().any(|line| line.contains("no-such-flag")), "{seen:?}");
    }

    #[test]
    fn each_line_keeps_the_last_line_without_a_newline() {
        let mut seen = Vec::new();
        for_each_line(&b"one\r\n\ntwo \xff"[..], &mut |line| {
            seen.push(line.to_owned());
        })
        .unwrap();
        assert_eq!(seen, ["one", "", "two \u{fffd}"]);
    }
}
