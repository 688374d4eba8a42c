//! The requirement python-peers: NumPy, PyTorch and pyclesperanto in the ignored `.venv`, which
//! benchmarks measure arraybridge against.

use crate::command::Environment;
use crate::failure::Result;
use crate::libtorch::PYTORCH;
use crate::python::{Dependencies, PythonEnvironment};
use crate::requirement::{Presence, Requirement};
use crate::workspace::Workspace;

/// It finds OpenCL when it is used, not when it is installed. requirements.lock has the same.
pub(crate) const PYCLESPERANTO: &str = "pyclesperanto==0.25.1";

pub(crate) const PYTHON_PEERS: Requirement = Requirement {
    name: "python-peers",
    purpose: "NumPy, PyTorch and pyclesperanto, the peers of `cargo xtask bench` (5 GB on disk)",
    detect,
    remedy: "run `cargo xtask setup python-peers`",
    install: Some(install),
};

fn detect(workspace: &Workspace) -> Presence {
    let script = "import numpy, torch, importlib.metadata as m; \
                  print(numpy.__version__, torch.__version__, m.version('pyclesperanto'))";
    match PythonEnvironment::of_workspace(workspace).evaluate(script) {
        Ok(versions) => Presence::Found {
            place: format!("NumPy, torch, pyclesperanto {} in .venv", versions.trim()),
            env: Environment::new(),
        },
        Err(_) => {
            Presence::Missing { reason: "no .venv with numpy, torch and pyclesperanto".to_owned() }
        }
    }
}

fn install(workspace: &Workspace) -> Result<()> {
    let packages = ["numpy", PYTORCH, PYCLESPERANTO];
    PythonEnvironment::of_workspace(workspace).install(&packages, Dependencies::Installed)
}
