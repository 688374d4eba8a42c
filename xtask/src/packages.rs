//! Lists of packages that several chores share.

/// Those without a framework in another language, and the features with which they are so: Miri can run
/// them, and their own tests are to notice every planted fault.
pub(crate) const IN_RUST_ALONE: [(&str, &str); 4] =
    [("bridge-tensor", ""), ("bridge-core", ""), ("bridge-convert", ""), ("bridge-cpu", "ndarray")];

/// Those that Miri can run too, in more time than the checks of a change have.
pub(crate) const ONLY_IN_ALL_OF_MIRI: [&str; 1] = ["bridge-memory"];

#[cfg(test)]
mod tests {
    use super::{IN_RUST_ALONE, ONLY_IN_ALL_OF_MIRI};
    use crate::workspace::Workspace;

    #[test]
    fn every_package_is_a_member_with_the_feature() {
        let workspace = Workspace::find().unwrap();
        for (name, feature) in IN_RUST_ALONE {
            let package = workspace.package(name).unwrap_or_else(|| panic!("no package {name}"));
            let features = package.chosen_features();
            assert!(feature.is_empty() || features.iter().any(|one| one == feature), "{name}");
        }
        for name in ONLY_IN_ALL_OF_MIRI {
            assert!(workspace.package(name).is_some(), "{name}");
        }
    }
}
