//! What the laws found.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// How one law came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The backend keeps it.
    Kept {
        /// How many cases were tried.
        cases: usize,
    },
    /// The backend cannot run here, so it was not tried.
    Unavailable {
        /// Why not.
        reason: String,
        /// What would make it run.
        remedy: String,
    },
    /// The backend breaks it.
    Broken {
        /// Each case that failed: what was asked and what was found.
        findings: Vec<String>,
        /// How many cases were tried.
        cases: usize,
    },
}

/// How many findings are printed.
const SHOWN: usize = 12;

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kept { cases } => write!(f, "kept in {cases} cases"),
            Self::Unavailable { reason, remedy } => write!(f, "unavailable: {reason}; {remedy}"),
            Self::Broken { findings, cases } => {
                write!(f, "broken in {} of {cases} cases", findings.len())?;
                for finding in findings.iter().take(SHOWN) {
                    write!(f, "\n  {finding}")?;
                }
                match findings.len().saturating_sub(SHOWN) {
                    0 => Ok(()),
                    more => write!(f, "\n  and {more} more"),
                }
            }
        }
    }
}

/// How every law came out.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The backend's name.
    pub backend: &'static str,
    /// Each law's name and verdict, in the order they were checked in.
    pub verdicts: Vec<(&'static str, Verdict)>,
}

impl Outcome {
    /// The laws that are broken.
    pub fn broken(&self) -> impl Iterator<Item = &'static str> + '_ {
        let broken = self.verdicts.iter().filter(|(_, one)| matches!(one, Verdict::Broken { .. }));
        broken.map(|(name, _)| *name)
    }

    /// Whether no law is broken.
    pub fn is_conformant(&self) -> bool {
        self.broken().next().is_none()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "conformance of \"{}\"", self.backend)?;
        self.verdicts.iter().try_for_each(|(law, verdict)| write!(f, "\n{law}: {verdict}"))
    }
}

/// The result of one case: `Err` says what was found instead.
pub(super) type Check = Result<(), String>;

/// Collects what the cases of a law found.
#[derive(Default)]
pub(super) struct Findings {
    cases: usize,
    broken: Vec<String>,
    unavailable: Option<(String, String)>,
}

impl Findings {
    /// Tries one case. A panic is a finding.
    pub(super) fn case(&mut self, name: impl fmt::Display, check: impl FnOnce() -> Check) {
        self.cases += 1;
        match catch_unwind(AssertUnwindSafe(check)) {
            Ok(Ok(())) => {}
            Ok(Err(found)) => self.broken.push(format!("{name}: {found}")),
            Err(panic) => self.broken.push(format!("{name}: panicked: {}", message(&*panic))),
        }
    }

    pub(super) fn unavailable(&mut self, reason: String, remedy: String) {
        self.unavailable = Some((reason, remedy));
    }

    pub(super) fn verdict(self) -> Verdict {
        match (self.unavailable, self.broken) {
            (Some((reason, remedy)), broken) if broken.is_empty() => {
                Verdict::Unavailable { reason, remedy }
            }
            (_, broken) if broken.is_empty() => Verdict::Kept { cases: self.cases },
            (_, findings) => Verdict::Broken { findings, cases: self.cases },
        }
    }
}

/// Fails a case where a condition does not hold.
pub(super) fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Check {
    if holds { Ok(()) } else { Err(otherwise()) }
}

fn message(panic: &(dyn Any + Send)) -> String {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_owned(),
        (_, Some(text)) => text.clone(),
        _ => "no message".to_owned(),
    }
}
