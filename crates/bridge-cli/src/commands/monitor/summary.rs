//! What a monitored command came to: for people, and as JSON.

use std::fmt::Write;
use std::process::ExitStatus;

use arraybridge::memory::probe::CgroupCounts;
use arraybridge::memory::profile::{Recording, Series};
use serde::Serialize;

use super::{COMMAND, as_typed};
use crate::args::MonitorArgs;
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::visible;
use crate::size::show_size;

/// How the command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    Code(i32),
    Signal(i32),
}

/// What the command came to, without the samples.
#[derive(Debug, Serialize)]
pub(super) struct Summary<'a> {
    #[serde(flatten)]
    facts: Facts,
    samples: u64,
    missing: u64,
    last_failure: Option<&'a str>,
    series: &'a [Series],
}

/// What was seen of the command beside its samples.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outside {
    pub(super) seconds: f64,
    pub(super) largest_process: Option<u64>,
    pub(super) memory_events: Option<CgroupCounts>,
}

/// What is told of the command beside the samples.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Facts {
    command: Vec<String>,
    exit_code: Option<i32>,
    signal: Option<i32>,
    seconds: f64,
    interval: f64,
    largest_process: Option<u64>,
    budget: Option<u64>,
    over_budget: Option<bool>,
    memory_events: Option<CgroupCounts>,
    #[serde(skip)]
    ended: Ended,
    #[serde(skip)]
    typed: String,
}

impl From<ExitStatus> for Ended {
    fn from(status: ExitStatus) -> Self {
        #[cfg(unix)]
        if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
            return Self::Signal(signal);
        }
        Self::Code(status.code().unwrap_or(1))
    }
}

impl Ended {
    /// The exit code that says the same: 128 and the signal's number where a signal ended it.
    pub(super) fn exit(self) -> Exit {
        let code = match self {
            Self::Code(0) => return Exit::Done,
            Self::Code(code) => code,
            Self::Signal(signal) => signal.saturating_add(128),
        };
        Exit::Command(u8::try_from(code).unwrap_or(1))
    }

    /// Whether it was killed, as the kernel does it for want of memory.
    pub(super) fn is_killed(self) -> bool {
        const SIGKILL: i32 = 9;
        self == Self::Signal(SIGKILL)
    }

    fn show(self) -> String {
        match self {
            Self::Code(code) => format!("exit code {code}"),
            Self::Signal(signal) => format!("ended by signal {signal}"),
        }
    }
}

impl<'a> Summary<'a> {
    pub(super) fn new(
        args: &MonitorArgs,
        ended: Ended,
        outside: Outside,
        recording: &'a Recording,
    ) -> Self {
        let Outside { seconds, largest_process, memory_events } = outside;
        let most = recording.series(COMMAND).map(|series| series.summary.max);
        // The kernel's own count sees what is between two samples.
        let most = most.max(largest_process);
        let (exit_code, signal) = match ended {
            Ended::Code(code) => (Some(code), None),
            Ended::Signal(signal) => (None, Some(signal)),
        };
        let facts = Facts {
            command: args.command.iter().map(|word| word.display().to_string()).collect(),
            exit_code,
            signal,
            seconds,
            interval: args.interval.as_secs_f64(),
            largest_process,
            budget: args.budget,
            over_budget: args.budget.and_then(|budget| Some(most? > budget)),
            memory_events,
            ended,
            typed: as_typed(&args.command),
        };
        Self {
            facts,
            samples: recording.samples,
            missing: recording.missing,
            last_failure: recording.last_failure.as_deref(),
            series: &recording.series,
        }
    }

    pub(super) fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Some lines for people.
    pub(super) fn show(&self, console: &Console<'_>) -> String {
        let Facts { ended, seconds, typed, largest_process, budget, over_budget, .. } = &self.facts;
        let mut table = console.table_for_notes(&["memory", "most", "mean", "last"]);
        for Series { label, summary, .. } in self.series {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a mean of sizes is a size"
            )]
            let mean = summary.mean as u64;
            let sizes = [summary.max, mean, summary.last].map(show_size);
            let [most, mean, last] = sizes;
            table.add_row([label.clone(), most, mean, last]);
        }
        let mut text = format!(
            "{}: {} after {seconds:.2} s, {} samples",
            visible(&shortened(typed)),
            ended.show(),
            self.samples
        );
        if self.series.is_empty() {
            text.push_str(
                "\nnothing was measured: it ended too soon, or its memory cannot be read",
            );
        } else {
            let _ = write!(text, "\n{table}");
        }
        if let Some(bytes) = largest_process {
            let _ = write!(text, "\nlargest process: {} at most", show_size(*bytes));
        }
        if let Some(budget) = budget {
            let kept = match over_budget {
                Some(true) => "exceeded",
                Some(false) => "kept",
                None => "unknown",
            };
            let _ = write!(text, "\nbudget of {}: {kept}", show_size(*budget));
        }
        if let Some(told) = self.facts.memory_events.and_then(show_events) {
            let _ = write!(text, "\n{told}");
        }
        if let (Some(why), true) = (self.last_failure, self.missing > 0) {
            let _ = write!(text, "\n{} samples failed: {}", self.missing, visible(why));
        }
        text
    }
}

impl Facts {
    #[cfg(feature = "plot")]
    pub(super) fn title(&self) -> String {
        visible(&shortened(&self.typed))
    }

    #[cfg(feature = "plot")]
    pub(super) fn budget(&self) -> Option<u64> {
        self.budget
    }
}

/// What its control groups counted; `None` where they counted nothing.
fn show_events(events: CgroupCounts) -> Option<String> {
    let CgroupCounts { high, max, oom, oom_kill } = events;
    let times = |count: u64| if count == 1 { "once".to_owned() } else { format!("{count} times") };
    let told = [
        (high, format!("above memory.high {}", times(high))),
        (max, format!("at the memory limit {}", times(max))),
        (oom, format!("out of memory {}", times(oom))),
        (oom_kill, format!("processes killed for want of memory: {oom_kill}")),
    ];
    let told: Vec<_> =
        told.into_iter().filter(|(count, _)| *count > 0).map(|(_, text)| text).collect();
    (!told.is_empty()).then(|| format!("its control group: {}", told.join(", ")))
}

/// As much of a command line as fits into one line.
fn shortened(typed: &str) -> String {
    const LETTERS: usize = 72;
    let mut letters = typed.chars();
    let start: String = letters.by_ref().take(LETTERS).collect();
    if letters.next().is_some() { format!("{start}...") } else { start }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_command_ended_is_passed_on() {
        assert_eq!(Ended::Code(0).exit(), Exit::Done);
        assert_eq!(Ended::Code(7).exit(), Exit::Command(7));
        assert_eq!(Ended::Signal(15).exit(), Exit::Command(143));
        // Where exit codes are wider than a byte, it is none that means success.
        assert_eq!(Ended::Code(256).exit(), Exit::Command(1));
        assert_eq!(Ended::Code(-1).exit(), Exit::Command(1));
    }

    #[test]
    fn what_groups_counted_is_told_where_there_was_something() {
        let none = CgroupCounts::default();
        assert_eq!(show_events(none), None);
        let events = CgroupCounts { high: 1, max: 2, oom: 1, oom_kill: 3 };
        assert_eq!(
            show_events(events).unwrap(),
            "its control group: above memory.high once, at the memory limit 2 times, out of memory once, \
             processes killed for want of memory: 3"
        );
        assert_eq!(
            show_events(CgroupCounts { oom_kill: 1, ..none }).unwrap(),
            "its control group: processes killed for want of memory: 1"
        );
    }

    #[test]
    fn a_long_command_line_is_cut() {
        assert_eq!(shortened("ls -l"), "ls -l");
        let cut = shortened(&"é".repeat(100));
        assert_eq!(cut.chars().count(), 75);
        assert!(cut.ends_with("..."));
    }
}
