//! What `cargo metadata` says of this workspace: its folders, packages and features.

use std::collections::BTreeMap;
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
    targets: Vec<Target>,
    #[cfg(test)]
    #[serde(default)]
    dependencies: Vec<Dependency>,
}

#[cfg(test)]
#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
    /// "dev" or "build"; nothing where the library itself depends on it.
    kind: Option<String>,
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

    /// The member whose library goes by this name in Rust code.
    pub(crate) fn package_of_library(&self, library: &str) -> Option<&Package> {
        self.packages.iter().find(|package| package.library() == Some(library))
    }
}

impl Package {
    /// The features a user can choose: all but `default`, which is a choice of them, and those
    /// that begin with an underscore, which are internal.
    pub(crate) fn chosen_features(&self) -> Vec<String> {
        let names = self.features.keys();
        names.filter(|name| *name != "default" && !name.starts_with('_')).cloned().collect()
    }

    /// What the package itself depends on, tests and build scripts aside.
    #[cfg(test)]
    pub(crate) fn dependencies(&self) -> impl Iterator<Item = &str> {
        let own = self.dependencies.iter().filter(|dependency| dependency.kind.is_none());
        own.map(|dependency| dependency.name.as_str())
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

    /// A workspace of three members, as cargo describes it.
    pub(crate) fn example() -> Workspace {
        Workspace::parse(
            r#"{"workspace_root":"/w","target_directory":"/w/target","packages":[
                {"name":"arraybridge","manifest_path":"/w/crates/bridge/Cargo.toml",
                 "targets":[{"name":"arraybridge","kind":["lib"]}],
                 "features":{"default":["ndarray"],"ndarray":[],"candle":[],"_test":[]}},
                {"name":"bridge-cli","manifest_path":"/w/crates/bridge-cli/Cargo.toml","features":{},"targets":[
                    {"name":"arraybridge","kind":["bin"]},{"name":"bridge_cli","kind":["lib"]}]},
                {"name":"bridge-core","manifest_path":"/w/crates/bridge-core/Cargo.toml",
                 "features":{},
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
    fn metadata_of_another_shape_is_a_failure_with_a_remedy() {
        let text = Workspace::parse("{}").unwrap_err().to_string();
        assert!(text.contains("workspace.rs"), "{text}");
    }
}
