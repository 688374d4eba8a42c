//! The requirement cpp-compiler: a C++ compiler, with which the tests of bridge-cuda compile its kernels
//! for the CPU.

use crate::command::{Environment, Tool};
use crate::requirement::{Presence, Requirement};
use crate::workspace::Workspace;

pub(crate) const CPP_COMPILER: Requirement = Requirement {
    name: "cpp-compiler",
    purpose: "compiles CUDA kernels for the CPU, where the simulated driver runs them",
    detect,
    remedy: "install g++ or clang++, or set CXX",
    install: None,
};

fn detect(workspace: &Workspace) -> Presence {
    let named = std::env::var("CXX").ok();
    let compilers = named.iter().map(String::as_str).chain(["c++", "g++", "clang++"]);
    for compiler in compilers {
        if let Ok(text) = Tool::new(compiler, &workspace.root).args(["--version"]).capture() {
            let version = text.lines().next().unwrap_or(compiler).to_owned();
            return Presence::Found { place: version, env: Environment::new() };
        }
    }
    Presence::Missing { reason: "no C++ compiler".to_owned() }
}
