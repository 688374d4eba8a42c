//! Python environments: uv installs into them, many times faster than pip.

use std::path::{Path, PathBuf};

use crate::command::Tool;
use crate::failure::{Failure, Result};
use crate::workspace::Workspace;

const UV: &str = "uv==0.13.9";

/// Interpreters by preference: the newest that every package here has wheels for comes first.
const INTERPRETERS: [&str; 3] = ["python3.12", "python3.13", "python3"];
/// pyenv's `python3.12` runs only where this says which version is meant; others ignore it.
const PYENV: &str = "PYENV_VERSION";

/// What uv installs besides the packages that are named.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Dependencies {
    /// What they say they need.
    Installed,
    /// Nothing: the caller names what is needed.
    Named,
}

/// A folder with an interpreter and packages of its own.
pub(crate) struct PythonEnvironment<'a> {
    workspace: &'a Workspace,
    folder: PathBuf,
}

impl<'a> PythonEnvironment<'a> {
    /// The environment in `folder`, which need not be there yet.
    pub(crate) fn at(workspace: &'a Workspace, folder: PathBuf) -> Self {
        Self { workspace, folder }
    }

    /// The environment in the ignored folder `.venv` of the workspace.
    pub(crate) fn of_workspace(workspace: &'a Workspace) -> Self {
        Self::at(workspace, workspace.root.join(".venv"))
    }

    /// The folder of its programs.
    pub(crate) fn programs(&self) -> PathBuf {
        self.folder.join("bin")
    }

    /// Runs Python code and returns what it prints.
    pub(crate) fn evaluate(&self, code: &str) -> Result<String> {
        self.tool("python3").args(["-c", code]).capture()
    }

    /// Installs packages; makes the environment first where there is none.
    pub(crate) fn install(&self, packages: &[&str], dependencies: Dependencies) -> Result<()> {
        if !self.programs().join("uv").is_file() {
            self.create()?;
            let uv = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", UV];
            self.tool("python3").args(uv).run()?;
        }
        let python = self.programs().join("python3").display().to_string();
        let no_dependencies: &[&str] = match dependencies {
            Dependencies::Installed => &[],
            Dependencies::Named => &["--no-deps"],
        };
        self.tool("uv")
            .args(["pip", "install", "--quiet", "--python", &python])
            .args(no_dependencies.iter().chain(packages).copied())
            .run()
    }

    fn create(&self) -> Result<()> {
        let folder = self.folder.display().to_string();
        let interpreter = interpreter(self.workspace)?;
        interpreter.args(["-m", "venv", &folder]).run()
    }

    fn tool(&self, program: &str) -> Tool {
        Tool::new(self.programs().join(program), &self.workspace.root)
    }
}

fn interpreter(workspace: &Workspace) -> Result<Tool> {
    let call = |name: &str| {
        let version = name.trim_start_matches("python");
        let tool = Tool::new(name, Path::new(&workspace.root));
        if version.contains('.') { tool.env(PYENV, version) } else { tool }
    };
    let runs = |tool: &Tool| tool.clone().args(["--version"]).capture().is_ok();
    INTERPRETERS.into_iter().map(call).find(runs).ok_or_else(|| {
        Failure::new(
            "make a Python environment",
            format!("none of {} runs", INTERPRETERS.join(", ")),
            "install Python 3.11 or later",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::{Dependencies, PythonEnvironment};
    use crate::workspace::tests::example;

    #[test]
    fn a_failed_installation_names_the_program_that_is_missing() {
        let workspace = example(); // its folders are nowhere
        let environment = PythonEnvironment::of_workspace(&workspace);
        let failure = environment.install(&["numpy"], Dependencies::Named).unwrap_err().to_string();
        assert!(failure.contains("python"), "{failure}");
        assert!(environment.evaluate("1").unwrap_err().to_string().contains("did not start"));
    }
}
