//! The requirement python-peers: NumPy, PyTorch and pyclesperanto in the ignored `.venv`, which
//! benchmarks measure arraybridge against.

use std::path::PathBuf;

use crate::command::{Environment, Tool};
use crate::failure::Result;
use crate::requirement::{Presence, Requirement};
use crate::workspace::Workspace;

/// The release that tch 0.26 links too, so that one environment serves both.
const TORCH: &str = "torch==2.13.0";

/// It finds OpenCL when it is used, not when it is installed.
const PYCLESPERANTO: &str = "pyclesperanto==0.25.1";

pub(crate) const PYTHON_PEERS: Requirement = Requirement {
    name: "python-peers",
    purpose: "NumPy, PyTorch and pyclesperanto, the peers of `cargo xtask bench` (5 GB on disk)",
    detect,
    remedy: "run `cargo xtask setup python-peers`",
    install: Some(install),
};

fn python(workspace: &Workspace) -> PathBuf {
    workspace.root.join(".venv").join("bin").join("python")
}

fn detect(workspace: &Workspace) -> Presence {
    let python = python(workspace);
    let script = "import numpy, torch, importlib.metadata as m; \
                  print(numpy.__version__, torch.__version__, m.version('pyclesperanto'))";
    match Tool::new(&python, &workspace.root).args(["-c", script]).capture() {
        Ok(versions) => Presence::Found {
            place: format!("NumPy, torch, pyclesperanto {} in .venv", versions.trim()),
            env: Environment::new(),
        },
        Err(_) => {
            Presence::Missing { reason: "no .venv with numpy, torch and pyclesperanto".to_owned() }
        }
    }
}

pub(crate) fn install(workspace: &Workspace) -> Result<()> {
    Tool::new("python3", &workspace.root).args(["-m", "venv", ".venv"]).run()?;
    Tool::new(python(workspace), &workspace.root)
        .args(["-m", "pip", "install", "--quiet", "numpy", TORCH, PYCLESPERANTO])
        .run()
}
