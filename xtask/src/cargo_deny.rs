//! The requirement cargo-deny: it checks licences, banned crates and sources against `deny.toml`.

use crate::cargo_tool::CargoTool;
use crate::requirement::Requirement;

/// The release that `deny.toml` is written for; another one may judge differently.
const TOOL: CargoTool = CargoTool { name: "deny", version: "0.20.2" };

pub(crate) const CARGO_DENY: Requirement = Requirement {
    name: "cargo-deny",
    purpose: "checks licences, bans and sources of every dependency (cargo xtask ci)",
    detect: |workspace| TOOL.detect(workspace),
    remedy: "run `cargo xtask setup cargo-deny`",
    install: Some(|workspace| TOOL.install(workspace)),
};
