//! What `cargo metadata` says of this workspace: its folders, packages and features.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::command::Tool;
use crate::failure::{Failure, Result};

/// The workspace that the current folder belongs to.
#[derive(Debug, Deserialize)]
pub(crate) struct Workspace {
    /// The folder of the root `Cargo.toml`.
    #[serde(rename = "workspace_root")]
    pub(crate) root: PathBuf,
    /// Where cargo builds; one folder serves every chore, so nothing is built twice.
    #[serde(rename = "target_directory")]
    pub(crate) target: PathBuf,
    packages: Vec<Package>,
}

/// One member of the workspace.
#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    manifest_path: String,
    features: BTreeMap<String, Vec<String>>,
    dependencies: Vec<Dependency>,
    targets: Vec<Target>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
    #[serde(default)]
    optional: bool,
    /// The features that are asked of it.
    #[serde(default)]
    features: Vec<String>,
}

impl Dependency {
    /// Whether features are asked of it in any case.
    fn asks_features(&self) -> bool {
        !self.optional && !self.features.is_empty()
    }
}

#[derive(Debug, Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

impl Workspace {
    /// Reads the workspace around the current folder.
    pub(crate) fn find() -> Result<Self> {
        Self::parse(
            &Tool::cargo(Path::new("."))
                .args(["metadata", "--no-deps", "--format-version", "1"])
                .capture()?,
        )
    }

    fn parse(metadata: &str) -> Result<Self> {
        serde_json::from_str(metadata).map_err(|e| {
            Failure::new(
                "read what `cargo metadata` prints",
                e.to_string(),
                "compare the fields of xtask/src/workspace.rs with the installed cargo",
            )
        })
    }

    /// A cargo that works in the root of the workspace.
    pub(crate) fn cargo(&self) -> Tool {
        Tool::cargo(&self.root)
    }

    /// The member with this name.
    pub(crate) fn package(&self, name: &str) -> Option<&Package> {
        self.packages.iter().find(|package| package.name == name)
    }

    /// The names of all members.
    pub(crate) fn names(&self) -> Vec<&str> {
        self.packages.iter().map(|package| package.name.as_str()).collect()
    }

    /// The member that this `Cargo.toml` describes.
    pub(crate) fn package_at(&self, manifest: &str) -> Option<&Package> {
        self.packages.iter().find(|package| package.manifest_path == manifest)
    }

    /// The members that can be built along with `package` and leave it as it is alone: they do not depend
    /// on it, be it for their tests alone or through others, and ask no feature of a member that it is made
    /// of.
    pub(crate) fn buildable_beside(&self, package: &str) -> Vec<&str> {
        let dependent = closure(package, |name| {
            let depends = |member: &&Package| member.dependencies.iter().any(|on| on.name == name);
            self.packages.iter().filter(depends).map(|member| member.name.as_str()).collect()
        });
        let parts = closure(package, |name| {
            let member = self.package(name);
            let parts = member.into_iter().flat_map(|member| &member.dependencies);
            let names = parts.map(|part| part.name.as_str());
            names.filter(|name| self.package(name).is_some()).collect()
        });
        let changes_a_part = |member: &Package| {
            let mut asked = member.dependencies.iter().filter(|part| part.asks_features());
            asked.any(|part| parts.contains(part.name.as_str()))
        };
        let beside =
            |member: &&Package| !dependent.contains(&*member.name) && !changes_a_part(member);
        self.packages.iter().filter(beside).map(|member| member.name.as_str()).collect()
    }

    /// The member whose library goes by this name in Rust code.
    pub(crate) fn package_of_library(&self, library: &str) -> Option<&Package> {
        self.packages.iter().find(|package| package.library() == Some(library))
    }
}

/// `start`, and all that is reached from it by any number of steps.
fn closure<'a>(start: &'a str, step: impl Fn(&str) -> Vec<&'a str>) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::from([start]);
    let mut open = vec![start];
    while let Some(name) = open.pop() {
        open.extend(step(name).into_iter().filter(|&next| reached.insert(next)));
    }
    reached
}

impl Package {
    /// The features a user can choose: all but `default`, which is a choice of them, and those
    /// that begin with an underscore, which are internal.
    pub(crate) fn chosen_features(&self) -> Vec<String> {
        let names = self.features.keys();
        names.filter(|name| *name != "default" && !name.starts_with('_')).cloned().collect()
    }

    fn library(&self) -> Option<&str> {
        let libraries = ["lib", "rlib", "cdylib", "dylib", "staticlib", "proc-macro"];
        self.targets
            .iter()
            .find(|target| target.kind.iter().any(|kind| libraries.contains(&kind.as_str())))
            .map(|target| target.name.as_str())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::Workspace;

    /// A workspace of four members, as cargo describes it.
    pub(crate) fn example() -> Workspace {
        Workspace::parse(
            r#"{"workspace_root":"/w","target_directory":"/w/target","packages":[
                {"name":"arraybridge","manifest_path":"/w/crates/bridge/Cargo.toml",
                 "dependencies":[{"name":"bridge-core"}],
                 "targets":[{"name":"arraybridge","kind":["lib"]}],
                 "features":{"default":["ndarray"],"ndarray":[],"candle":[],"_test":[]}},
                {"name":"bridge-cli","manifest_path":"/w/crates/bridge-cli/Cargo.toml","features":{},
                 "dependencies":[{"name":"arraybridge"},{"name":"clap"}],"targets":[
                    {"name":"arraybridge","kind":["bin"]},{"name":"bridge_cli","kind":["lib"]}]},
                {"name":"benches","manifest_path":"/w/benches/Cargo.toml","features":{},"targets":[],
                 "dependencies":[{"name":"arraybridge","features":["candle"]}]},
                {"name":"bridge-core","manifest_path":"/w/crates/bridge-core/Cargo.toml",
                 "features":{},
                 "dependencies":[{"name":"clap","features":["derive"]}],
                 "targets":[{"name":"bridge_core","kind":["lib"]}]}]}"#,
        )
        .unwrap()
    }

    #[test]
    fn default_and_internal_features_are_no_choice() {
        let workspace = example();
        let package = workspace.package("arraybridge").unwrap();
        assert_eq!(package.chosen_features(), ["candle", "ndarray"]);
    }

    #[test]
    fn a_library_is_told_from_a_program_of_the_same_name() {
        let name =
            |library| example().package_of_library(library).map(|package| package.name.clone());
        assert_eq!(name("arraybridge").as_deref(), Some("arraybridge"));
        assert_eq!(name("bridge_cli").as_deref(), Some("bridge-cli"));
        assert_eq!(name("absent"), None);
    }

    #[test]
    fn what_depends_on_a_package_is_not_built_beside_it() {
        let workspace = example();
        assert_eq!(workspace.buildable_beside("arraybridge"), ["bridge-core"]);
        assert_eq!(workspace.buildable_beside("bridge-core"), [""; 0]);
        assert_eq!(
            workspace.buildable_beside("benches"),
            ["arraybridge", "bridge-cli", "bridge-core"]
        );
    }

    #[test]
    fn what_asks_features_of_a_packages_parts_is_not_built_beside_it() {
        // The benchmarks ask candle of the facade, which the program is to be built without.
        assert_eq!(example().buildable_beside("bridge-cli"), ["arraybridge", "bridge-core"]);
    }

    #[test]
    fn metadata_of_another_shape_is_a_failure_with_a_remedy() {
        let text = Workspace::parse("{}").unwrap_err().to_string();
        assert!(text.contains("workspace.rs"), "{text}");
    }
}
