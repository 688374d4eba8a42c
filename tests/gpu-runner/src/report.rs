//! What a bundle holds, and what came of running it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::machine::Machine;
use crate::markdown;
use crate::targets::{Verdict, verdicts};

/// `bundle.json`: the programs beside it.
#[derive(Debug, Deserialize)]
pub(crate) struct Bundle {
    /// The commit that they were built from.
    pub(crate) commit: String,
    pub(crate) tests: Vec<String>,
    pub(crate) benchmarks: Vec<String>,
    /// The script that runs the tests of the Python package, where they are packed.
    #[serde(default)]
    pub(crate) python: Option<String>,
}

impl Bundle {
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let why = |error: &dyn std::fmt::Display| {
            format!(
                "{}: {error}; this program runs in a folder that `cargo xtask gpu-bundle` made",
                path.display()
            )
        };
        let text = fs::read_to_string(path).map_err(|error| why(&error))?;
        serde_json::from_str(&text).map_err(|error| why(&error))
    }
}

/// `report.json`.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) commit: String,
    /// Seconds since 1970.
    pub(crate) when: u64,
    pub(crate) machine: Machine,
    pub(crate) tests: Vec<Outcome>,
    pub(crate) benchmarks: Vec<Outcome>,
    /// Whether the benchmarks show what they have to.
    pub(crate) targets: Vec<Verdict>,
    pub(crate) measured: Vec<Measured>,
}

/// What came of one program.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Outcome {
    pub(crate) name: String,
    pub(crate) passed: u32,
    pub(crate) failed: Vec<String>,
    pub(crate) ignored: u32,
    /// Why tests were ignored, and how many for each reason.
    pub(crate) reasons: BTreeMap<String, u32>,
    pub(crate) seconds: f64,
    /// Why it counts as failed beside failed tests: it crashed, ran too long, did not start.
    pub(crate) trouble: Option<String>,
    /// The end of what it printed, where it failed.
    pub(crate) output: Option<String>,
}

/// One time of one job.
#[derive(Debug, Serialize)]
pub(crate) struct Measured {
    pub(crate) job: String,
    pub(crate) by: String,
    pub(crate) nanoseconds: f64,
    pub(crate) times_ours: f64,
}

impl Outcome {
    pub(crate) fn of(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    pub(crate) fn is_good(&self) -> bool {
        self.failed.is_empty() && self.trouble.is_none()
    }
}

impl Report {
    pub(crate) fn of(bundle: &Bundle, machine: Machine) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            commit: bundle.commit.clone(),
            when: since.map_or(0, |since| since.as_secs()),
            machine,
            tests: Vec::new(),
            benchmarks: Vec::new(),
            targets: verdicts(&[]),
            measured: Vec::new(),
        }
    }

    /// Whether no program failed, and no target was measured and missed.
    pub(crate) fn passed(&self) -> bool {
        self.targets.iter().all(|target| target.met != Some(false))
            && self.tests.iter().chain(&self.benchmarks).all(Outcome::is_good)
    }

    pub(crate) fn write(&self, folder: &Path) -> Result<(), String> {
        let json = serde_json::to_string_pretty(self).map_err(|error| error.to_string())?;
        for (name, text) in [("report.json", json), ("report.md", markdown::of(self))] {
            let path = folder.join(name);
            fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        }
        Ok(())
    }
}
