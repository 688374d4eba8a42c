//! What the Python package is built and tested with, in the ignored `.venv`: the releases that
//! `crates/bridge-python/requirements.lock` names, and the PyTorch of [`crate::libtorch`].

use std::collections::BTreeMap;
use std::fs;

use crate::command::{Environment, Tool};
use crate::failure::{Failure, Result};
use crate::libtorch::{self, PYTORCH};
use crate::python::PythonEnvironment;
use crate::requirement::{Presence, Requirement};
use crate::workspace::Workspace;

/// Every release but those of PyTorch; its header says how it is made.
pub(crate) const LOCK: &str = "crates/bridge-python/requirements.lock";

const REMEDY: &str = "run `cargo xtask setup python-frameworks`";

/// What builds and tests the package, whichever framework a test is about; SymPy is what parts of PyTorch import.
pub(crate) const TOOLS: [&str; 10] = [
    "hypothesis",
    "maturin",
    "mypy",
    "numpy",
    "psutil",
    "pyrefly",
    "pytest",
    "pytest-xdist",
    "mpmath",
    "sympy",
];

const FRAMEWORKS: [&str; 4] = ["torch", "jax", "tensorflow-cpu", "pyclesperanto"];

/// All of it, for `cargo xtask setup`.
pub(crate) const PYTHON_FRAMEWORKS: Requirement = Requirement {
    name: "python-frameworks",
    purpose: "NumPy, PyTorch, JAX, TensorFlow, pyclesperanto, pytest, maturin and mypy in .venv, for \
              the Python package (2.0 GB on disk, and PyTorch)",
    detect: |workspace| detect(workspace, &[&TOOLS[..], &FRAMEWORKS].concat()),
    remedy: REMEDY,
    install: Some(install_all),
};

pub(crate) const PYTHON_TOOLS: Requirement = Requirement {
    name: "python-tools",
    purpose: "maturin, pytest and NumPy in .venv, with which the Python package is built and tested",
    detect: |workspace| detect(workspace, &TOOLS),
    remedy: REMEDY,
    install: Some(install_tools),
};

pub(crate) const TORCH_IN_PYTHON: Requirement = Requirement {
    name: "python-torch",
    purpose: "PyTorch in .venv, for the tests of the Python package",
    detect: |workspace| detect(workspace, &["torch"]),
    remedy: REMEDY,
    install: Some(libtorch::install),
};

pub(crate) const JAX: Requirement =
    framework("python-jax", |workspace| detect(workspace, &["jax", "jaxlib"]));

pub(crate) const TENSORFLOW: Requirement =
    framework("python-tensorflow", |workspace| detect(workspace, &["tensorflow-cpu"]));

pub(crate) const PYCLESPERANTO: Requirement =
    framework("python-pyclesperanto", |workspace| detect(workspace, &["pyclesperanto"]));

pub(crate) const NVIDIA_GPU: Requirement = Requirement {
    name: "nvidia-gpu",
    purpose: "an NVIDIA GPU and its driver",
    detect: |workspace| match Tool::new("nvidia-smi", &workspace.root).args(["-L"]).capture() {
        Ok(list) if list.contains("GPU 0") => found(list.trim().to_owned()),
        _ => missing("no NVIDIA GPU"),
    },
    remedy: "run it on a machine with an NVIDIA GPU and its driver",
    install: None,
};

/// Which build of CuPy is right depends on the driver, so that a person has to choose.
pub(crate) const CUPY: Requirement = Requirement {
    name: "python-cupy",
    purpose: "CuPy in .venv, for the tests of the Python package on a GPU",
    detect: |workspace| {
        let any = "import importlib.metadata as m; \
                   print([d.name + ' ' + d.version for d in m.distributions() \
                   if d.name and d.name.startswith('cupy')][0])";
        let place = PythonEnvironment::of_workspace(workspace).evaluate(any);
        place.map_or_else(|_| missing("no CuPy in .venv"), |name| found(name.trim().to_owned()))
    },
    remedy: "install the CuPy for your driver: .venv/bin/uv pip install --python .venv/bin/python3 \
             cupy-cuda13x (or cupy-cuda12x)",
    install: None,
};

const fn framework(name: &'static str, detect: fn(&Workspace) -> Presence) -> Requirement {
    Requirement {
        name,
        purpose: "a framework in .venv, for the tests of the Python package",
        detect,
        remedy: REMEDY,
        install: Some(install_all),
    }
}

fn found(place: String) -> Presence {
    Presence::Found { place, env: Environment::new() }
}

fn missing(reason: &str) -> Presence {
    Presence::Missing { reason: reason.to_owned() }
}

/// Whether `.venv` has these packages, in the releases that are locked. None is imported: TensorFlow
/// alone takes seconds.
fn detect(workspace: &Workspace, packages: &[&str]) -> Presence {
    let locked = match locked(workspace) {
        Ok(locked) => locked,
        Err(failure) => return missing(&failure.to_string().replace("\n ", ";")),
    };
    let Ok(installed) = PythonEnvironment::of_workspace(workspace).evaluate(INSTALLED) else {
        return missing("no .venv");
    };
    let wrong = differences(packages, &locked, &releases(&installed));
    if wrong.is_empty() {
        found(format!("{} in .venv", packages.join(", ")))
    } else {
        missing(&format!("in .venv: {}", wrong.join(", ")))
    }
}

/// Prints what is installed in the form of a lock.
const INSTALLED: &str = "import importlib.metadata as m\n\
                         for d in m.distributions(): print(f'{d.name}=={d.version}')";

/// Releases by the name of the package; more than one where it depends on the interpreter.
type Releases = BTreeMap<String, Vec<String>>;

/// What is locked, PyTorch included.
fn locked(workspace: &Workspace) -> Result<Releases> {
    let text = fs::read_to_string(workspace.root.join(LOCK)).map_err(|error| {
        Failure::new(format!("read {LOCK}"), error.to_string(), "restore the file: git checkout")
    })?;
    Ok(releases(&format!("{PYTORCH}\n{text}")))
}

fn releases(lines: &str) -> Releases {
    let mut releases = Releases::new();
    for line in lines.lines() {
        let requirement = line.split([';', '#']).next().unwrap_or_default();
        if let Some((name, version)) = requirement.trim().split_once("==") {
            // PyTorch adds the release of CUDA, "2.13.0+cu130".
            let version = version.split('+').next().unwrap_or(version);
            let name = name.to_lowercase().replace(['_', '.'], "-");
            releases.entry(name).or_default().push(version.to_owned());
        }
    }
    releases
}

/// What a person is told of each package that is not as it is locked.
fn differences(packages: &[&str], locked: &Releases, installed: &Releases) -> Vec<String> {
    let mut wrong = Vec::new();
    for &package in packages {
        let Some(wanted) = locked.get(package) else {
            wrong.push(format!("{package}, of which {LOCK} names no release"));
            continue;
        };
        match installed.get(package) {
            None => wrong.push(format!("no {package}")),
            Some(there) if there.iter().any(|version| wanted.contains(version)) => {}
            Some(there) => wrong.push(format!(
                "{package} {}, locked is {}",
                there.join(" and "),
                wanted.join(" or ")
            )),
        }
    }
    wrong
}

fn install_tools(workspace: &Workspace) -> Result<()> {
    let python = PythonEnvironment::of_workspace(workspace);
    python.install_with(["--constraint", LOCK].iter().chain(&TOOLS).copied())
}

fn install_all(workspace: &Workspace) -> Result<()> {
    let python = PythonEnvironment::of_workspace(workspace);
    if let Presence::Missing { .. } = detect(workspace, &["torch"]) {
        libtorch::install(workspace)?;
    }
    // The lock is complete but for what it leaves out on purpose.
    python.install_with(["--no-deps", "--requirement", LOCK])
}

#[cfg(test)]
mod tests {
    use super::{FRAMEWORKS, TOOLS, differences, locked, releases};
    use crate::python_peers;
    use crate::workspace::Workspace;

    #[test]
    fn the_lock_names_one_release_of_every_package_and_none_of_torch_or_cuda() {
        let workspace = Workspace::find().unwrap();
        let text = std::fs::read_to_string(workspace.root.join(super::LOCK)).unwrap();
        for line in text.lines().filter(|line| !line.trim_start().starts_with('#')) {
            assert!(line.contains("=="), "{line} is not pinned");
            assert!(!line.starts_with("torch") && !line.starts_with("nvidia"), "{line}");
        }
        assert!(text.contains("uv pip compile"), "the header says how it is made");
        let locked = locked(&workspace).unwrap();
        for package in TOOLS.iter().chain(&FRAMEWORKS) {
            assert!(locked.contains_key(*package), "{package}");
        }
        let peer = releases(python_peers::PYCLESPERANTO);
        assert_eq!(peer["pyclesperanto"], locked["pyclesperanto"]);
    }

    #[test]
    fn what_is_missing_or_of_another_release_is_named() {
        let locked =
            releases("numpy==2.4.6 ; python_version < '3.12'\nnumpy==2.5.5\njax==1\nml-dtypes==3");
        let there = |installed| {
            differences(&["numpy", "jax", "ml-dtypes"], &locked, &releases(installed)).join("; ")
        };
        assert_eq!(there("numpy==2.5.5\njax==1\nml_dtypes==3"), "");
        assert_eq!(there("numpy==2.4.6\njax==1+cpu\nml_dtypes==3"), "");
        assert_eq!(
            there("numpy==1.0\nml_dtypes==3"),
            "numpy 1.0, locked is 2.4.6 or 2.5.5; no jax"
        );
        assert!(differences(&["toolz"], &locked, &locked)[0].contains("names no release"));
    }
}
