//! How a run ended.

use std::process::{ExitCode, Termination};

/// How a run ended, and with which exit code. `main` can return it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[must_use]
pub enum Exit {
    /// All was done: exit code 0.
    Done,
    /// The command line was right and the work failed: exit code 1.
    Failed,
    /// `diff` has found a difference: exit code 1.
    Different,
    /// The command line asks for what cannot be, or `diff` cannot compare: exit code 2.
    WrongUsage,
    /// `monitor` passes on how its command ended, and not with 0: with this exit code; one that a signal
    /// ended has 128 and the signal's number. 126: it cannot be run. 127: there is none.
    Command(u8),
}

impl Exit {
    /// The exit code.
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed | Self::Different => 1,
            Self::WrongUsage => 2,
            Self::Command(code) => code,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        self.into()
    }
}
