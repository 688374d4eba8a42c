//! The requirement torch: libtorch, which bridge-torch is compiled against and linked to.

use std::path::{Path, PathBuf};

use crate::command::{Environment, Tool};
use crate::python_peers;
use crate::requirement::{Presence, Requirement};
use crate::workspace::Workspace;

pub(crate) const TORCH: Requirement = Requirement {
    name: "torch",
    purpose: "libtorch 2.13 for bridge-torch, from PyTorch in .venv (5 GB on disk)",
    detect,
    remedy: "run `cargo xtask setup torch`, or set LIBTORCH to the folder of a libtorch",
    install: Some(python_peers::install),
};

/// What torch-sys goes by when it is set: then it is not for us to choose.
const CHOSEN: [&str; 2] = ["LIBTORCH", "LIBTORCH_USE_PYTORCH"];

fn detect(workspace: &Workspace) -> Presence {
    for name in CHOSEN {
        if let Ok(value) = std::env::var(name) {
            return Presence::Found {
                place: format!("{name}={value}, as the environment says"),
                env: Environment::new(),
            };
        }
    }
    let programs = workspace.root.join(".venv").join("bin");
    let script = "import torch; print(torch.__version__)";
    let python = Tool::new(programs.join("python3"), &workspace.root).args(["-c", script]);
    match python.capture() {
        Ok(version) => Presence::Found {
            place: format!("PyTorch {} in .venv", version.trim()),
            env: environment(&programs),
        },
        Err(_) => Presence::Missing { reason: "no LIBTORCH, and no PyTorch in .venv".to_owned() },
    }
}

/// torch-sys asks the first python3 on PATH where its PyTorch is.
pub(crate) fn environment(programs: &Path) -> Environment {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = vec![programs.to_owned()];
    folders.extend(std::env::split_paths(&path));
    let mut env = vec![("LIBTORCH_USE_PYTORCH".to_owned(), "1".to_owned())];
    if let Ok(path) = std::env::join_paths(folders) {
        env.push(("PATH".to_owned(), path.to_string_lossy().into_owned()));
    }
    env
}

#[cfg(test)]
mod tests {
    use super::environment;
    use std::path::Path;

    #[test]
    fn the_environments_python_comes_first() {
        let env = environment(Path::new("/w/.venv/bin"));
        assert_eq!(env[0], ("LIBTORCH_USE_PYTORCH".to_owned(), "1".to_owned()));
        assert!(env[1].1.starts_with("/w/.venv/bin"), "{env:?}");
    }
}
