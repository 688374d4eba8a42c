//! Combinations of Cargo features, and the check that each one compiles.

use std::time::Instant;

use crate::command::Environment;
use crate::failure::Result;
use crate::outcome::Counts;
use crate::workspace::{Package, Workspace};

/// Above this many combinations only those most likely to differ are taken.
const MOST: usize = 64;

/// The combinations of `features` worth building, smallest first: all of them up to [`MOST`];
/// with more features none, each alone, each pair, each left out, and all together.
pub(crate) fn combinations(features: &[String]) -> Vec<Vec<String>> {
    let n = features.len();
    let all = u32::try_from(n).ok().and_then(|n| 1_usize.checked_shl(n));
    let mut chosen = match all {
        Some(count) if count <= MOST => {
            (0..count).map(|bits| picked(features, |i| bits & (1 << i) != 0)).collect::<Vec<_>>()
        }
        _ => {
            let mut few = vec![Vec::new()];
            for a in 0..n {
                few.push(picked(features, |i| i == a));
                few.push(picked(features, |i| i != a));
                few.extend((a + 1..n).map(|b| picked(features, |i| i == a || i == b)));
            }
            few.push(features.to_vec());
            few
        }
    };
    chosen.sort_by_key(Vec::len);
    chosen
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

/// Compiles `package` with every combination of its features. Each combination counts as one test
/// passed or failed; those that failed are returned by name.
pub(crate) fn check_all(
    workspace: &Workspace,
    package: &str,
    env: &Environment,
) -> Result<(Counts, Vec<String>)> {
    let features = workspace.package(package).map(Package::chosen_features).unwrap_or_default();
    let started = Instant::now();
    let mut counts = Counts::default();
    let mut broken = Vec::new();
    for features in combinations(&features) {
        let check = workspace
            .cargo()
            .args(["check", "--package", package])
            .args(exactly(package, &features))
            .envs(env);
        if check.succeeds()? {
            counts.passed += 1;
        } else {
            counts.failed += 1;
            broken.push(named(&features));
        }
    }
    counts.seconds = started.elapsed().as_secs_f64();
    Ok((counts, broken))
}

fn picked(features: &[String], keep: impl Fn(usize) -> bool) -> Vec<String> {
    let kept = features.iter().enumerate().filter(|(i, _)| keep(*i));
    kept.map(|(_, feature)| feature.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::{combinations, exactly, named};
    use std::collections::BTreeSet;

    fn features(n: usize) -> Vec<String> {
        (0..n).map(|i| format!("f{i}")).collect()
    }

    #[test]
    fn two_features_make_four_combinations() {
        let names: Vec<_> = combinations(&features(2)).iter().map(|c| named(c)).collect();
        assert_eq!(names, ["none", "f0", "f1", "f0+f1"]);
    }

    #[test]
    fn up_to_six_features_give_the_whole_power_set_without_repeats() {
        for n in 0..=6 {
            let all = combinations(&features(n));
            assert_eq!(all.len(), 1 << n);
            assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 1 << n);
        }
    }

    #[test]
    fn many_features_give_none_singles_pairs_all_but_one_and_all() {
        let all = combinations(&features(8));
        assert_eq!(all.len(), 1 + 8 + 28 + 8 + 1);
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
        assert_eq!(all.last().unwrap().len(), 8);
        // A count of features whose power set has no size at all still ends.
        assert_eq!(combinations(&features(70)).len(), 1 + 70 + 70 * 69 / 2 + 70 + 1);
    }

    #[test]
    fn exactly_none_asks_for_no_feature() {
        assert_eq!(exactly("cpu", &[]), ["--no-default-features"]);
        let some = exactly("cpu", &features(2));
        assert_eq!(some, ["--no-default-features", "--features", "cpu/f0,cpu/f1"]);
    }
}
