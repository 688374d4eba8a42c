//! Python environments: uv installs into them, many times faster than pip.

use std::path::PathBuf;

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
        let no_dependencies: &[&str] = match dependencies {
            Dependencies::Installed => &[],
            Dependencies::Named => &["--no-deps"],
        };
        self.install_with(no_dependencies.iter().chain(packages).copied())
    }

    /// Installs what these arguments of `uv pip install` say; makes the environment first where
    /// there is none.
    pub(crate) fn install_with<S: Into<String>>(
        &self,
        args: impl IntoIterator<Item = S>,
    ) -> Result<()> {
        let python = self.program("python3");
        let install = ["pip", "install", "--quiet", "--python", &python];
        self.uv()?.args(install).args(args).run()
    }

    /// The uv of this environment, which is made first where there is none.
    pub(crate) fn uv(&self) -> Result<Tool> {
        if !self.programs().join("uv").is_file() {
            self.create()?;
            let uv = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", UV];
            self.tool("python3").args(uv).run()?;
        }
        Ok(self.tool("uv"))
    }

    /// A program of this environment, to be run in the root of the workspace.
    pub(crate) fn tool(&self, program: &str) -> Tool {
        Tool::new(self.program(program), &self.workspace.root)
    }

    /// The path of a program.
    pub(crate) fn program(&self, program: &str) -> String {
        self.programs().join(program).display().to_string()
    }

    fn create(&self) -> Result<()> {
        let folder = self.folder.display().to_string();
        let interpreter = interpreter(self.workspace)?;
        interpreter.args(["-m", "venv", &folder]).run()
    }
}

/// The path of the interpreter of a version such as "3.13", where this machine has one.
pub(crate) fn interpreter_of(workspace: &Workspace, version: &str) -> Option<String> {
    // A build without a lock is installed as `python3.14` too.
    let has_lock = if version.ends_with('t') { "0" } else { "1" };
    let code = "import sys, sysconfig as s\n\
                if bool(s.get_config_var('Py_GIL_DISABLED')) == (sys.argv[1] == '1'): sys.exit(1)\n\
                print(sys.executable)";
    let ask = ["-c", code, has_lock];
    let known = all_called(workspace, &format!("python{version}"));
    let path = known.into_iter().find_map(|python| python.args(ask).capture().ok())?;
    Some(path.trim().to_owned())
}

/// The interpreters of that name: first the one on the path.
fn all_called(workspace: &Workspace, name: &str) -> Vec<Tool> {
    [vec![call(workspace, name)], of_pyenv(workspace, name)].concat()
}

fn call(workspace: &Workspace, name: &str) -> Tool {
    let version = name.trim_start_matches("python");
    let tool = Tool::new(name, &workspace.root);
    if version.contains('.') { tool.env(PYENV, version) } else { tool }
}

/// The interpreters of that name that pyenv has installed, whether or not it is on the path.
fn of_pyenv(workspace: &Workspace, name: &str) -> Vec<Tool> {
    let version = name.trim_start_matches("python");
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".pyenv"));
    let root = std::env::var_os("PYENV_ROOT").map(PathBuf::from).or_else(home);
    let Some(installed) = root.and_then(|root| root.join("versions").read_dir().ok()) else {
        return Vec::new();
    };
    let prefix = format!("{version}.");
    let mut folders: Vec<PathBuf> = installed
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| version.contains('.') && name.starts_with(&prefix))
        })
        .collect();
    folders.sort();
    let tool = |folder: PathBuf| Tool::new(folder.join("bin").join(name), &workspace.root);
    folders.into_iter().rev().map(tool).collect()
}

fn interpreter(workspace: &Workspace) -> Result<Tool> {
    let runs = |tool: &Tool| tool.clone().args(["--version"]).capture().is_ok();
    let known = |name| all_called(workspace, name);
    INTERPRETERS.into_iter().flat_map(known).find(runs).ok_or_else(|| {
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
