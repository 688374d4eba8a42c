//! `cargo xtask setup`: lists what the chores need beyond Rust, and installs what is named.

use std::process::ExitCode;

use clap::Args;

use crate::cargo_deny::CARGO_DENY;
use crate::cpp_compiler::CPP_COMPILER;
use crate::failure::{Failure, Result};
use crate::fuzz::FUZZ;
use crate::libtorch::TORCH;
use crate::miri::MIRI;
use crate::mutants::MUTANTS;
use crate::opencl::OPENCL;
use crate::package_files::PACKAGE_FILES;
use crate::python_packages::PYTHON_FRAMEWORKS;
use crate::python_peers::PYTHON_PEERS;
use crate::requirement::{Presence, Provider, Requirement};
use crate::table::{self, Header, Row, Tone};
use crate::workspace::Workspace;

/// Every requirement there is, in the order they are listed.
const ALL: &[&Requirement] = &[
    &CARGO_DENY,
    &CPP_COMPILER,
    &TORCH,
    &OPENCL,
    &PYTHON_FRAMEWORKS,
    &PACKAGE_FILES,
    &PYTHON_PEERS,
    &MIRI,
    &MUTANTS,
    &FUZZ,
];

/// Options of `setup`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// What to install, or `all`; without a name, what there is to install is listed
    what: Vec<String>,
}

/// Installs what is named, then lists everything.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    let mut provider = Provider::new(workspace, true);
    for requirement in named(&options.what)? {
        provider.provide(&[requirement]).map_err(|lack| {
            Failure::new(format!("install {}", requirement.name), lack.reason, lack.remedy)
        })?;
    }
    let rows: Vec<_> = ALL.iter().map(|requirement| row(workspace, requirement)).collect();
    println!("{}", table::text(&HEADER, &rows));
    for requirement in named(&options.what)? {
        if let Presence::Found { env, .. } = (requirement.detect)(workspace) {
            let path = std::env::var("PATH").unwrap_or_default();
            env.iter().for_each(|(name, value)| println!("{}", export(name, value, &path)));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The line that sets a variable in a shell, for those who run cargo by hand.
fn export(name: &str, value: &str, path: &str) -> String {
    match value.strip_suffix(path) {
        Some(before) if name == "PATH" && !path.is_empty() => {
            format!("export PATH=\"{before}$PATH\"")
        }
        _ => format!("export {name}=\"{value}\""),
    }
}

const HEADER: Header<'_> =
    Header { names: &["name", "status", "where, or why not", "purpose"], numbers: &[] };

fn named(what: &[String]) -> Result<Vec<&'static Requirement>> {
    if what.iter().any(|name| name == "all") {
        return Ok(ALL.iter().copied().filter(|one| one.install.is_some()).collect());
    }
    let find = |name: &String| {
        ALL.iter().copied().find(|requirement| requirement.name == name).ok_or_else(|| {
            let names: Vec<_> = ALL.iter().map(|requirement| requirement.name).collect();
            Failure::new(
                format!("install {name}"),
                "nothing of that name",
                format!("choose from: {}, all", names.join(", ")),
            )
        })
    };
    what.iter().map(find).collect()
}

fn row(workspace: &Workspace, requirement: &Requirement) -> Row {
    let (status, tone, detail) = match (requirement.detect)(workspace) {
        Presence::Found { place, .. } => ("ready", Tone::Good, place),
        Presence::Missing { reason } => {
            ("missing", Tone::Missing, format!("{reason}; to do: {}", requirement.remedy))
        }
    };
    let words = [requirement.name, status, &detail, requirement.purpose];
    Row { words: words.map(str::to_owned).into(), verdict: 1, tone }
}

#[cfg(test)]
mod tests {
    use super::{export, named};

    #[test]
    fn what_is_to_be_exported_can_be_typed() {
        assert_eq!(export("PATH", "/venv/bin:/bin", "/bin"), "export PATH=\"/venv/bin:$PATH\"");
        assert_eq!(export("LIBTORCH", "/a b", "/bin"), "export LIBTORCH=\"/a b\"");
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let failure = named(&["cuda-of-tomorrow".to_owned()]).err().unwrap().to_string();
        assert!(failure.contains("cuda-of-tomorrow"), "{failure}");
        let listed = "cargo-deny, cpp-compiler, torch, opencl, python-frameworks, package-files, \
                      python-peers, miri, cargo-mutants, cargo-fuzz, all";
        assert!(failure.contains(listed), "{failure}");
    }

    #[test]
    fn names_and_all_are_found() {
        let names = |what: &[&str]| {
            let what: Vec<_> = what.iter().map(|name| (*name).to_owned()).collect();
            named(&what).unwrap().iter().map(|one| one.name).collect::<Vec<_>>()
        };
        assert_eq!(names(&[]), [""; 0]);
        assert_eq!(names(&["cargo-deny"]), ["cargo-deny"]);
        assert!(names(&["all"]).contains(&"cargo-deny"));
    }
}
