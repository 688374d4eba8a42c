//! Choices of Cargo features, and the check that each one compiles without a warning.

use std::time::Instant;

use crate::command::Environment;
use crate::failure::Result;
use crate::outcome::Counts;
use crate::workspace::{Package, Workspace};

/// No feature, and each alone.
pub(crate) fn none_and_each_alone(features: &[String]) -> Vec<Vec<String>> {
    let alone = features.iter().map(|feature| vec![feature.clone()]);
    std::iter::once(Vec::new()).chain(alone).collect()
}

/// The arguments that ask cargo for exactly these features of `package`.
pub(crate) fn exactly(package: &str, features: &[String]) -> Vec<String> {
    let mut args = vec!["--no-default-features".to_owned()];
    if !features.is_empty() {
        args.extend(["--features".to_owned(), of_package(package, features).join(",")]);
    }
    args
}

/// The features with the name of their package before them, as cargo takes them for several
/// packages at once.
pub(crate) fn of_package(package: &str, features: &[String]) -> Vec<String> {
    features.iter().map(|feature| format!("{package}/{feature}")).collect()
}

/// A combination as a person writes it.
pub(crate) fn named(features: &[String]) -> String {
    if features.is_empty() { "none".to_owned() } else { features.join("+") }
}

/// Lints the library of `package` with no feature and with each alone. Each choice counts as one test
/// passed or failed; those that failed are returned by name.
///
/// Lints, not `cargo check`: what is built for the lints of the whole workspace serves here too.
pub(crate) fn lint_each(
    workspace: &Workspace,
    package: &str,
    env: &Environment,
) -> Result<(Counts, Vec<String>)> {
    let features = workspace.package(package).map(Package::chosen_features).unwrap_or_default();
    let started = Instant::now();
    let mut counts = Counts::default();
    let mut broken = Vec::new();
    for features in none_and_each_alone(&features) {
        let lint = workspace
            .cargo()
            .args(["clippy", "--lib", "--package", package])
            .args(exactly(package, &features))
            .args(["--", "-D", "warnings"])
            .envs(env);
        if lint.succeeds()? {
            counts.passed += 1;
        } else {
            counts.failed += 1;
            broken.push(named(&features));
        }
    }
    counts.seconds = started.elapsed().as_secs_f64();
    Ok((counts, broken))
}

#[cfg(test)]
mod tests {
    use super::{exactly, named, none_and_each_alone};

    fn features(n: usize) -> Vec<String> {
        (0..n).map(|i| format!("f{i}")).collect()
    }

    #[test]
    fn three_features_make_four_choices() {
        let names: Vec<_> = none_and_each_alone(&features(3)).iter().map(|c| named(c)).collect();
        assert_eq!(names, ["none", "f0", "f1", "f2"]);
    }

    #[test]
    fn exactly_none_asks_for_no_feature() {
        assert_eq!(exactly("cpu", &[]), ["--no-default-features"]);
        let some = exactly("cpu", &features(2));
        assert_eq!(some, ["--no-default-features", "--features", "cpu/f0,cpu/f1"]);
    }
}
