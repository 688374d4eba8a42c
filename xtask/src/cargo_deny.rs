//! The requirement cargo-deny: it checks licences, banned crates and sources against `deny.toml`.

use std::path::PathBuf;

use crate::command::{Environment, Tool};
use crate::failure::{Failure, Result};
use crate::requirement::{Presence, Requirement};
use crate::workspace::Workspace;

/// The release that `deny.toml` is written for; another one may judge differently.
const VERSION: &str = "0.20.2";

pub(crate) const CARGO_DENY: Requirement = Requirement {
    name: "cargo-deny",
    purpose: "checks licences, bans and sources of every dependency (cargo xtask ci)",
    detect,
    remedy: "run `cargo xtask setup cargo-deny`",
    install: Some(install),
};

/// The folder of tools that belong to this workspace alone.
fn tools(workspace: &Workspace) -> PathBuf {
    workspace.target.join("tools")
}

fn detect(workspace: &Workspace) -> Presence {
    let own = tools(workspace).join("bin");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let with_own =
        std::env::join_paths(std::iter::once(own.clone()).chain(std::env::split_paths(&path)));
    let env: Environment = match with_own {
        Ok(path) => vec![("PATH".to_owned(), path.to_string_lossy().into_owned())],
        Err(_) => Environment::new(),
    };
    let version = Tool::cargo(&workspace.root).args(["deny", "--version"]).envs(&env).capture();
    match version.as_deref().map(str::trim) {
        Ok(text) if text == format!("cargo-deny {VERSION}") => {
            let place = if own.join(format!("cargo-deny{}", std::env::consts::EXE_SUFFIX)).exists()
            {
                own.display().to_string()
            } else {
                "PATH".to_owned()
            };
            Presence::Found { place: format!("{VERSION} in {place}"), env }
        }
        Ok(text) => Presence::Missing { reason: format!("found {text}, needed is {VERSION}") },
        Err(_) => Presence::Missing { reason: "not installed".to_owned() },
    }
}

/// Builds without optimisation: the released profile (fat LTO, one codegen unit) takes many times
/// as long, and a check of a few hundred crates ends within a second either way.
fn install(workspace: &Workspace) -> Result<()> {
    let root = tools(workspace);
    let root = root.to_str().ok_or_else(|| {
        Failure::new(
            "install cargo-deny under the target folder",
            format!("a path that is not Unicode: {}", root.display()),
            "set CARGO_TARGET_DIR to another folder",
        )
    })?;
    workspace
        .cargo()
        .args(["install", "cargo-deny", "--locked", "--version", VERSION])
        .args(["--profile", "dev", "--force", "--root", root])
        .env("CARGO_PROFILE_DEV_DEBUG", "false")
        .env("CARGO_PROFILE_DEV_INCREMENTAL", "false")
        .without_env("CARGO_TARGET_DIR") // cargo builds in a folder of its own and deletes it
        .run()
}
