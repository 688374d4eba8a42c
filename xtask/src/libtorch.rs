//! The requirement torch: libtorch, which bridge-torch is compiled against and linked to.

use std::path::{Path, PathBuf};

use crate::command::Environment;
use crate::failure::Result;
use crate::python::{Dependencies, PythonEnvironment};
use crate::requirement::{Presence, Requirement};
use crate::workspace::Workspace;

pub(crate) const TORCH: Requirement = Requirement {
    name: "torch",
    purpose: "libtorch 2.13 for bridge-torch, from PyTorch in .venv (3.5 GB on disk)",
    detect,
    remedy: "run `cargo xtask setup torch`, or set LIBTORCH to the folder of a libtorch",
    install: Some(install),
};

/// The release that tch 0.26 is made for.
pub(crate) const PYTORCH: &str = "torch==2.13.0";

/// What `import torch` and programs that link libtorch load, in the releases that PyTorch's wheel
/// asks for. Left out is what only compiling models and linear algebra on a GPU need: triton,
/// cuSOLVER, NVTX, CUDA's Python bindings, SymPy and others, 1.3 GB of 4.7.
const LOADED: [&str; 17] = [
    PYTORCH,
    "numpy",
    "typing-extensions",
    "setuptools", // torch.utils.cpp_extension, which torch-sys asks where libtorch is
    "nvidia-cublas==13.1.1.3",
    "nvidia-cuda-cupti==13.0.85",
    "nvidia-cuda-nvrtc==13.0.88",
    "nvidia-cuda-runtime==13.0.96",
    "nvidia-cudnn-cu13==9.20.0.48",
    "nvidia-cufft==12.0.0.61",
    "nvidia-cufile==1.15.1.6",
    "nvidia-curand==10.4.0.35",
    "nvidia-cusparse==12.6.3.3",
    "nvidia-cusparselt-cu13==0.8.1",
    "nvidia-nccl-cu13==2.29.7",
    "nvidia-nvjitlink==13.5.37",
    "nvidia-nvshmem-cu13==3.4.5",
];

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
    let python = PythonEnvironment::of_workspace(workspace);
    match python.evaluate("import numpy, setuptools, torch; print(torch.__version__)") {
        Ok(version) => Presence::Found {
            place: format!("PyTorch {} in .venv", version.trim()),
            env: environment(&python.programs()),
        },
        Err(_) => Presence::Missing { reason: "no LIBTORCH, and no PyTorch in .venv".to_owned() },
    }
}

/// Puts PyTorch into `.venv`.
pub(crate) fn install(workspace: &Workspace) -> Result<()> {
    PythonEnvironment::of_workspace(workspace).install(&LOADED, Dependencies::Named)
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
