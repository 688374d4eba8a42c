//! The Python package under other interpreters than the one of `.venv`: the tests that need no framework but NumPy.

use std::process::ExitCode;

use crate::command::Environment;
use crate::failure::Result;
use crate::outcome::{CellReport, Status, exit_code};
use crate::printed;
use crate::python::{PythonEnvironment, interpreter_of};
use crate::python_packages::{LOCK, PYTHON_TOOLS};
use crate::python_tests::{self, DOCTESTS, scratch};
use crate::python_wheel::{self, Profile, installing};
use crate::requirement::{Lack, Presence, Provider, Requirement};
use crate::run_tests::TestRun;
use crate::workspace::Workspace;

/// A version that the package is for.
pub(crate) struct Interpreter {
    /// As its program is called after "python".
    pub(crate) version: &'static str,
    /// It, and what builds the package for it.
    pub(crate) requirements: &'static [&'static Requirement],
    /// Whether the test matrix has a cell of it.
    pub(crate) in_matrix: bool,
}

macro_rules! interpreter {
    ($version:literal, $in_matrix:expr, $remedy:expr) => {
        Interpreter {
            version: $version,
            requirements: &[
                &PYTHON_TOOLS,
                &Requirement {
                    name: concat!("python", $version),
                    purpose: concat!("Python ", $version, ", under which the package is tested"),
                    detect: |workspace| detect(workspace, $version),
                    remedy: $remedy,
                    install: None,
                },
            ],
            in_matrix: $in_matrix,
        }
    };
    ($version:literal, $in_matrix:expr) => {
        interpreter!(
            $version,
            $in_matrix,
            concat!("install it, for instance with `pyenv install ", $version, "`")
        )
    };
}

/// "d" is a debug build, which checks its own counts and memory, "t" one without a lock.
pub(crate) const INTERPRETERS: [Interpreter; 6] = [
    interpreter!("3.11", true),
    interpreter!("3.11d", false, "install it, for instance Debian's python3.11-dbg"),
    interpreter!("3.12", false), // that of `.venv`, where it is there
    interpreter!("3.13", true),
    interpreter!("3.14", true),
    interpreter!("3.14t", true),
];

/// What the tests need that no framework needs.
const FOR_TESTS: [&str; 5] = ["hypothesis", "numpy", "psutil", "pytest", "pytest-xdist"];

/// The rows of frameworks that the other interpreters are not tested with.
const LEFT_OUT: [&str; 6] = ["torch", "jax", "tensorflow", "pyclesperanto", "cupy", DOCTESTS];

fn detect(workspace: &Workspace, version: &str) -> Presence {
    match interpreter_of(workspace, version) {
        Some(place) => Presence::Found { place, env: Environment::new() },
        None => Presence::Missing { reason: format!("no python{version} on PATH or in pyenv") },
    }
}

/// Tests the package under each of them that is here, and says of the others why not.
pub(crate) fn test_each(workspace: &Workspace, profile: Profile) -> Result<ExitCode> {
    let mut provider = Provider::new(workspace, true);
    let mut reports = Vec::new();
    for Interpreter { version, requirements, .. } in INTERPRETERS {
        reports.push(match provider.provide(requirements) {
            Ok(_) => {
                let run = test(workspace, version, profile);
                CellReport::of_tests("python", version, run.tally.total(), run.ended_well)
            }
            Err(Lack { reason, remedy, installable }) => {
                let status = Status::Unavailable { reason, remedy, installable };
                CellReport::without_tests("python", version, status)
            }
        });
    }
    printed::text(&reports);
    Ok(exit_code(&reports, false))
}

/// Builds the package for an interpreter and tests it in an environment that is made anew. A build that fails is a run that
/// has not ended well, and is told.
pub(crate) fn test(workspace: &Workspace, version: &str, profile: Profile) -> TestRun {
    under(workspace, version, profile).unwrap_or_else(|failure| {
        eprintln!("\n{failure}");
        TestRun::default()
    })
}

fn under(workspace: &Workspace, version: &str, profile: Profile) -> Result<TestRun> {
    let interpreter = python_wheel::interpreter(workspace, version)?;
    let wheel = python_wheel::for_interpreter(workspace, &interpreter, profile)?;
    let folder = scratch(workspace).join(version);
    let python = PythonEnvironment::at(workspace, folder.clone());
    let uv = PythonEnvironment::of_workspace(workspace).uv()?;
    let place = folder.display().to_string();
    uv.clone().args(["venv", "--quiet", "--clear", "--python", &interpreter, &place]).run()?;
    let into = python.program("python3");
    let install = uv.args(["pip", "install", "--quiet", "--python", &into]);
    install.clone().args(["--constraint", LOCK]).args(FOR_TESTS).run()?;
    install.args(installing(&wheel)).run()?;
    python_tests::run(workspace, &python, &LEFT_OUT, &Environment::new())
}

#[cfg(test)]
mod tests {
    use super::{INTERPRETERS, detect};
    use crate::requirement::Presence;
    use crate::workspace::tests::example;

    #[test]
    fn each_is_named_once_and_has_a_remedy() {
        for (index, one) in INTERPRETERS.iter().enumerate() {
            let requirement = one.requirements[1];
            assert_eq!(requirement.name, format!("python{}", one.version));
            assert!(requirement.remedy.contains("install it"), "{}", requirement.remedy);
            assert!(INTERPRETERS[..index].iter().all(|other| other.version != one.version));
        }
    }

    #[test]
    fn one_that_is_not_here_is_named() {
        let found = detect(&example(), "3.999");
        assert!(matches!(found, Presence::Missing { reason } if reason.contains("python3.999")));
    }
}
