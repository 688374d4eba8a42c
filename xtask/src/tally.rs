//! The tests that one run of a test runner executed, counted by package.

use std::collections::BTreeMap;

use crate::outcome::Counts;

/// Counts by package name.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Tally(BTreeMap<String, Counts>);

impl Tally {
    /// The counts of a package, to add to.
    pub(crate) fn of_mut(&mut self, package: &str) -> &mut Counts {
        self.0.entry(package.to_owned()).or_default()
    }

    /// Takes the counts of a package out; none when it ran no test.
    pub(crate) fn take(&mut self, package: &str) -> Counts {
        self.0.remove(package).unwrap_or_default()
    }

    /// Adds another run's counts, package by package.
    pub(crate) fn merge(&mut self, other: Self) {
        for (package, counts) in other.0 {
            *self.of_mut(&package) += counts;
        }
    }

    /// The counts of all packages together.
    pub(crate) fn total(&self) -> Counts {
        let mut total = Counts::default();
        self.0.values().for_each(|counts| total += *counts);
        total
    }

    /// Every package and its counts, by name.
    pub(crate) fn into_packages(self) -> impl Iterator<Item = (String, Counts)> {
        self.0.into_iter()
    }
}
