//! Programs that extend cargo, in the releases this workspace is written for: found on PATH, or
//! installed for this workspace alone.

use std::path::PathBuf;

use crate::command::{Environment, Tool};
use crate::failure::{Failure, Result};
use crate::requirement::Presence;
use crate::workspace::Workspace;

/// `cargo NAME`, of the package `cargo-NAME`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CargoTool {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
}

/// The folder of tools that belong to this workspace alone.
fn tools(workspace: &Workspace) -> PathBuf {
    workspace.target.join("tools")
}

impl CargoTool {
    fn package(self) -> String {
        format!("cargo-{}", self.name)
    }

    /// Whether this release is there, with the PATH on which cargo finds it.
    pub(crate) fn detect(self, workspace: &Workspace) -> Presence {
        let own = tools(workspace).join("bin");
        let path = std::env::var_os("PATH").unwrap_or_default();
        let with_own =
            std::env::join_paths(std::iter::once(own.clone()).chain(std::env::split_paths(&path)));
        let env: Environment = match with_own {
            Ok(path) => vec![("PATH".to_owned(), path.to_string_lossy().into_owned())],
            Err(_) => Environment::new(),
        };
        let tool = Tool::cargo(&workspace.root).args([self.name, "--version"]).envs(&env);
        let (package, needed) = (self.package(), self.version);
        match tool.capture().as_deref().map(str::trim) {
            Ok(text) if text == format!("{package} {needed}") => {
                let program = own.join(format!("{package}{}", std::env::consts::EXE_SUFFIX));
                let folder =
                    if program.exists() { own.display().to_string() } else { "PATH".to_owned() };
                Presence::Found { place: format!("{needed} in {folder}"), env }
            }
            Ok(text) => Presence::Missing { reason: format!("found {text}, needed is {needed}") },
            Err(_) => Presence::Missing { reason: "not installed".to_owned() },
        }
    }

    /// Builds without optimisation: the released profile (for cargo-deny fat LTO, one codegen unit)
    /// takes many times as long, and these programs wait for others or end within a second either way.
    pub(crate) fn install(self, workspace: &Workspace) -> Result<()> {
        let root = tools(workspace);
        let root = root.to_str().ok_or_else(|| {
            Failure::new(
                format!("install {} under the target folder", self.package()),
                format!("a path that is not Unicode: {}", root.display()),
                "set CARGO_TARGET_DIR to another folder",
            )
        })?;
        workspace
            .cargo()
            .args(["install", &self.package(), "--locked", "--version", self.version])
            .args(["--profile", "dev", "--force", "--root", root])
            .env("CARGO_PROFILE_DEV_DEBUG", "false")
            .env("CARGO_PROFILE_DEV_INCREMENTAL", "false")
            .without_env("CARGO_TARGET_DIR") // cargo builds in a folder of its own and deletes it
            .run()
    }
}
