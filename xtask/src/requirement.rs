//! What a chore or a cell of the test matrix needs beyond Rust: how to see whether it is there, why
//! it is not, what to do about it and, where that can be automated, how to install it.

use std::collections::BTreeMap;

use crate::command::Environment;
use crate::failure::Result;
use crate::workspace::Workspace;

/// Something that has to be on the machine.
pub(crate) struct Requirement {
    /// The name that `cargo xtask setup NAME` takes.
    pub(crate) name: &'static str,
    /// What it is for.
    pub(crate) purpose: &'static str,
    /// Looks for it, without changing anything.
    pub(crate) detect: fn(&Workspace) -> Presence,
    /// What a person does to get it.
    pub(crate) remedy: &'static str,
    /// Gets it, where a program can.
    pub(crate) install: Option<fn(&Workspace) -> Result<()>>,
}

/// Whether a requirement is there.
#[derive(Debug, Clone)]
pub(crate) enum Presence {
    /// Where it is, and the variables that a program needs in order to use it.
    Found {
        place: String,
        env: Environment,
    },
    Missing {
        reason: String,
    },
}

/// A requirement that is not met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lack {
    pub(crate) reason: String,
    pub(crate) remedy: String,
    /// Whether `--install` could bring it.
    pub(crate) installable: bool,
}

/// Looks requirements up, each one once, and installs what is missing if told to.
pub(crate) struct Provider<'a> {
    workspace: &'a Workspace,
    install: bool,
    known: BTreeMap<&'static str, std::result::Result<Environment, Lack>>,
}

impl<'a> Provider<'a> {
    pub(crate) fn new(workspace: &'a Workspace, install: bool) -> Self {
        Self { workspace, install, known: BTreeMap::new() }
    }

    /// The variables that the requirements ask for when all are met, or the first lack.
    pub(crate) fn provide(
        &mut self,
        requirements: &[&Requirement],
    ) -> std::result::Result<Environment, Lack> {
        let mut env = Environment::new();
        for requirement in requirements {
            let (workspace, install) = (self.workspace, self.install);
            let answer = self.known.entry(requirement.name);
            env.extend(answer.or_insert_with(|| requirement.meet(workspace, install)).clone()?);
        }
        Ok(env)
    }
}

impl Requirement {
    fn meet(&self, workspace: &Workspace, install: bool) -> std::result::Result<Environment, Lack> {
        let lack = |reason| Lack {
            reason,
            remedy: self.remedy.to_owned(),
            installable: self.install.is_some(),
        };
        let reason = match ((self.detect)(workspace), self.install) {
            (Presence::Found { env, .. }, _) => return Ok(env),
            (Presence::Missing { reason }, Some(get)) if install => {
                eprintln!("\n{}: {reason}; installing it", self.name);
                match get(workspace) {
                    Ok(()) => match (self.detect)(workspace) {
                        Presence::Found { env, .. } => return Ok(env),
                        Presence::Missing { reason } => {
                            format!("installed, and still missing: {reason}")
                        }
                    },
                    Err(failure) => format!("{reason}; the installation failed: {failure}"),
                }
            }
            (Presence::Missing { reason }, _) => reason,
        };
        Err(lack(reason))
    }
}

#[cfg(test)]
mod tests {
    use super::{Presence, Provider, Requirement};
    use crate::failure::Failure;
    use crate::workspace::tests::example;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn found() -> Presence {
        Presence::Found { place: "here".into(), env: vec![("LIB".into(), "here".into())] }
    }

    fn missing() -> Presence {
        Presence::Missing { reason: "there is none".into() }
    }

    fn requirement(name: &'static str) -> Requirement {
        Requirement {
            name,
            purpose: "tests",
            detect: |_| missing(),
            remedy: "buy one",
            install: Some(|_| Err(Failure::new("get it", "a closed shop", "wait"))),
        }
    }

    #[test]
    fn what_is_there_brings_its_variables() {
        let there = Requirement { detect: |_| found(), ..requirement("there") };
        let env = Provider::new(&example(), false).provide(&[&there]).unwrap();
        assert_eq!(env, [("LIB".to_owned(), "here".to_owned())]);
    }

    #[test]
    fn nothing_is_installed_unasked() {
        let install = Some((|_| panic!("installed unasked")) as fn(&_) -> _);
        let absent = Requirement { install, ..requirement("absent") };
        let lack = Provider::new(&example(), false).provide(&[&absent]).unwrap_err();
        assert_eq!((lack.reason.as_str(), lack.remedy.as_str()), ("there is none", "buy one"));
        assert!(lack.installable);
    }

    #[test]
    fn a_failed_installation_is_told_and_tried_once() {
        static TRIES: AtomicU32 = AtomicU32::new(0);
        let absent = Requirement {
            install: Some(|_| {
                TRIES.fetch_add(1, Ordering::Relaxed);
                Err(Failure::new("get it", "a closed shop", "wait"))
            }),
            ..requirement("absent")
        };
        let workspace = example();
        let mut provider = Provider::new(&workspace, true);
        let lack = provider.provide(&[&absent]).unwrap_err();
        assert!(lack.reason.contains("a closed shop"), "{}", lack.reason);
        assert_eq!(provider.provide(&[&absent]).unwrap_err(), lack);
        assert_eq!(TRIES.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn an_installation_counts_only_when_the_thing_is_found_after_it() {
        let useless = Requirement { install: Some(|_| Ok(())), ..requirement("useless") };
        let lack = Provider::new(&example(), true).provide(&[&useless]).unwrap_err();
        assert!(lack.reason.contains("still missing"), "{}", lack.reason);
    }

    #[test]
    fn what_no_program_can_install_is_not_installable() {
        let hardware = Requirement { install: None, ..requirement("hardware") };
        let lack = Provider::new(&example(), true).provide(&[&hardware]).unwrap_err();
        assert!(!lack.installable);
        assert_eq!(lack.reason, "there is none");
    }
}
