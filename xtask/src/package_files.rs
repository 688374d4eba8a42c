//! The requirement package-files: Python packages that bring array files of their own, which the program is
//! tried on, with the libraries that say what is in them. They are in the ignored target folder.

use crate::failure::Result;
use crate::python::{Dependencies, PythonEnvironment};
use crate::requirement::{Presence, Requirement};
use crate::workspace::Workspace;

/// The tests count on what these releases bring.
const PACKAGES: [&str; 3] = ["numpy==2.5.5", "scipy==1.18.1", "safetensors==0.8.0"];

/// The variable that tells the tests which Python has them.
const VARIABLE: &str = "ARRAYBRIDGE_PACKAGE_FILES";

pub(crate) const PACKAGE_FILES: Requirement = Requirement {
    name: "package-files",
    purpose: "the array files that NumPy and SciPy bring, for the tests of the program (50 MB to fetch)",
    detect,
    remedy: "run `cargo xtask setup package-files`",
    install: Some(install),
};

fn environment(workspace: &Workspace) -> PythonEnvironment<'_> {
    PythonEnvironment::at(workspace, workspace.target.join("package-files"))
}

fn detect(workspace: &Workspace) -> Presence {
    let environment = environment(workspace);
    let script = "import importlib.metadata as m; import numpy, safetensors; \
                  print(*(f'{name}=={m.version(name)}' for name in ('numpy', 'scipy', 'safetensors')))";
    match environment.evaluate(script) {
        Ok(found) if found.split_whitespace().eq(PACKAGES) => {
            let python = environment.programs().join("python3").display().to_string();
            let place = format!("{} in the target folder", found.trim());
            Presence::Found { place, env: vec![(VARIABLE.to_owned(), python)] }
        }
        Ok(found) => Presence::Missing {
            reason: format!(
                "the target folder has {}, and the tests count on {}",
                found.trim(),
                PACKAGES.join(" ")
            ),
        },
        Err(_) => Presence::Missing {
            reason: format!("{} are not in the target folder", PACKAGES.join(", ")),
        },
    }
}

fn install(workspace: &Workspace) -> Result<()> {
    environment(workspace).install(&PACKAGES, Dependencies::Named)
}

#[cfg(test)]
mod tests {
    use super::{PACKAGE_FILES, detect};
    use crate::requirement::Presence;
    use crate::workspace::tests::example;

    #[test]
    fn what_is_missing_is_named() {
        let Presence::Missing { reason } = detect(&example()) else {
            panic!("its folders are nowhere");
        };
        assert!(reason.contains("numpy==") && reason.contains("scipy=="), "{reason}");
        assert!(PACKAGE_FILES.install.is_some());
    }
}
