//! The cells of the test matrix: every crate, and every choice of features that can differ.

use crate::cpp_compiler::CPP_COMPILER;
use crate::features::{named, of_package};
use crate::libtorch::TORCH;
use crate::opencl::OPENCL;
use crate::package_files::PACKAGE_FILES;
use crate::python_interpreters::INTERPRETERS;
use crate::python_packages::{
    CUPY, JAX, NVIDIA_GPU, PYCLESPERANTO, PYTHON_TOOLS, TENSORFLOW, TORCH_IN_PYTHON,
};
use crate::python_tests::{DOCTESTS, SIMULATED_CUPY, STUBS};
use crate::requirement::Requirement;
use crate::workspace::{Package, Workspace};

/// One row of the matrix.
pub(crate) struct Cell {
    pub(crate) name: &'static str,
    /// The features it runs with, as a person writes them; "-" where there is no choice.
    pub(crate) features: String,
    /// What it needs beyond Rust. Their variables are exported for its run.
    pub(crate) requirements: &'static [&'static Requirement],
    pub(crate) how: How,
}

/// How a cell is run.
pub(crate) enum How {
    /// With all the others in one build and one run of the workspace, its documentation included.
    Together { package: &'static str },
    /// In a run of its own, with exactly these features.
    Alone { package: &'static str, features: Vec<String>, targets: Targets },
    /// In a run of its own, from another workspace, into the same target folder.
    Elsewhere { manifest: &'static str },
    /// Its library is linted only, with no feature and with each alone.
    Linted { package: &'static str },
    /// With pytest: all of them in one run, from which this one counts the tests of its row.
    Python { row: &'static str },
    /// The Python package again, under another interpreter.
    UnderPython { version: &'static str },
}

/// Which tests of a package run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Targets {
    All,
    /// Those of the library itself.
    Library,
}

impl Cell {
    /// The member of the workspace that it is about.
    pub(crate) fn package(&self) -> Option<&'static str> {
        match self.how {
            How::Together { package } | How::Alone { package, .. } | How::Linted { package } => {
                Some(package)
            }
            How::Python { .. } | How::UnderPython { .. } => Some(PYTHON_PACKAGE),
            How::Elsewhere { .. } => None,
        }
    }
}

/// The package that Python imports. What cargo builds of it is no program, and pytest tests it.
pub(crate) const PYTHON_PACKAGE: &str = "bridge-python";

/// A crate of backends.
struct BackendCrate {
    name: &'static str,
    package: &'static str,
    /// The feature that adds it to the packages of [`BUILT_ON_BACKENDS`], where it is not there
    /// by default.
    feature: Option<&'static str>,
    requirements: &'static [&'static Requirement],
}

/// The packages that backends are added to by features. They are tested with all that can be built
/// here, and once more with their defaults.
const BUILT_ON_BACKENDS: &[&str] = &["arraybridge", "bridge-cli", "bridge-tests"];

const BACKENDS: &[BackendCrate] = &[
    BackendCrate { name: "cpu", package: "bridge-cpu", feature: None, requirements: &[] },
    BackendCrate {
        name: "torch",
        package: "bridge-torch",
        feature: Some("torch"),
        requirements: &[&TORCH],
    },
    BackendCrate {
        name: "opencl",
        package: "bridge-opencl",
        feature: Some("opencl"),
        requirements: &[&OPENCL],
    },
    // No GPU is needed: the tests bring a driver that is simulated in host memory.
    BackendCrate {
        name: "cuda (simulated)",
        package: "bridge-cuda",
        feature: Some("cuda"),
        requirements: &[&CPP_COMPILER],
    },
];

/// Each row of the Python package, and what its tests need.
const PYTHON_CELLS: &[(&str, &[&Requirement])] = &[
    ("package", &[&PYTHON_TOOLS]),
    ("numpy", &[&PYTHON_TOOLS]),
    ("torch", &[&PYTHON_TOOLS, &TORCH_IN_PYTHON]),
    ("jax", &[&PYTHON_TOOLS, &JAX]),
    ("tensorflow", &[&PYTHON_TOOLS, &TENSORFLOW]),
    ("pyclesperanto", &[&PYTHON_TOOLS, &PYCLESPERANTO, &OPENCL]),
    // A test double of its allocator and its exchange.
    (SIMULATED_CUPY, &[&PYTHON_TOOLS]),
    ("cupy", &[&NVIDIA_GPU, &PYTHON_TOOLS, &CUPY]),
    // Examples are of every framework.
    (DOCTESTS, &[&PYTHON_TOOLS, &TORCH_IN_PYTHON, &JAX, &TENSORFLOW, &PYCLESPERANTO, &OPENCL]),
    (STUBS, &[&PYTHON_TOOLS]),
];

/// The cells of these packages, or all where none is named, in the order of the table.
pub(crate) fn of(workspace: &Workspace, packages: &[String]) -> Vec<Cell> {
    let mut cells = all(workspace);
    let is_named = |cell: &Cell| packages.iter().any(|name| cell.package() == Some(name));
    cells.retain(|cell| packages.is_empty() || is_named(cell));
    cells
}

/// The backend crates that packages of these names are built with, beside those that are named themselves: what they need is
/// needed too.
pub(crate) fn built_in(
    packages: &[String],
) -> impl Iterator<Item = (&'static str, &'static [&'static Requirement])> + '_ {
    let has_backends = packages.iter().any(|name| BUILT_ON_BACKENDS.contains(&name.as_str()));
    let others = BACKENDS.iter().filter(move |backend| {
        has_backends && !packages.iter().any(|name| name == backend.package)
    });
    others.map(|backend| (backend.package, backend.requirements))
}

fn all(workspace: &Workspace) -> Vec<Cell> {
    let mut cells = vec![
        together("tensor", "bridge-tensor"),
        together("core", "bridge-core"),
        together("convert", "bridge-convert"),
        together("host", "bridge-host"),
        together("testkit", "bridge-testkit"),
    ];
    for backend in BACKENDS {
        cells.extend(backend_cells(workspace, backend));
    }
    // The faults are planted in the library, and its own tests are those that look at them.
    let faults = vec!["_faults".to_owned()];
    let how = How::Alone { package: "bridge-torch", features: faults, targets: Targets::Library };
    cells.push(Cell { requirements: &[&TORCH], ..cell("torch", "planted faults", how) });
    cells.extend([
        with_backends("facade", "arraybridge"),
        Cell { requirements: &[&TORCH], ..linted("facade", "arraybridge") },
        with_backends("cli", "bridge-cli"),
        // Without libtorch, and without what reads quantised files and draws pictures. The program of the Python
        // package has the default features, and the third party's none.
        alone("cli", "bridge-cli", &["ndarray", "pt"]),
        Cell {
            requirements: &[&PACKAGE_FILES],
            ..together("cli on files of packages", "package-files")
        },
        with_backends("cross", "bridge-tests"),
        cell("third-party", "-", How::Elsewhere { manifest: "tests/third-party/Cargo.toml" }),
        Cell { requirements: &[&CPP_COMPILER], ..together("cuda kernels", "cuda-kernels") },
        together("cuda driver", "simulated-cuda"),
        together("cuda hand-over", "bridge-benches-cuda"),
    ]);
    cells.extend(PYTHON_CELLS.iter().map(|&(row, requirements)| Cell {
        requirements,
        ..cell("python", row, How::Python { row })
    }));
    cells.extend(INTERPRETERS.iter().filter(|one| one.in_matrix).map(|one| Cell {
        requirements: one.requirements,
        ..cell(
            "python",
            &format!("NumPy under {}", one.version),
            How::UnderPython { version: one.version },
        )
    }));
    cells.extend([
        together("xtask", "xtask"),
        together("measured", "measured"),
        together("gpu-runner", "gpu-runner"),
    ]);
    cells
}

/// The arguments that choose what the cells that run together test: these packages, or the whole
/// workspace where none is named, but those in `left_out`; with all features of each backend crate, and
/// with those that add it.
pub(crate) fn select_together(
    workspace: &Workspace,
    packages: &[String],
    left_out: &[&str],
) -> Vec<String> {
    let mut features = features_of_all(workspace, BUILT_ON_BACKENDS, left_out);
    let mut args = Vec::new();
    if packages.is_empty() {
        args.push("--workspace".to_owned());
        args.extend(each("--exclude", left_out.iter().copied()));
    } else {
        let chosen = packages.iter().map(String::as_str).filter(|name| !left_out.contains(name));
        args.extend(each("--package", chosen));
        let asked_of = |feature: &String| feature.split('/').next().unwrap_or_default().to_owned();
        features.retain(|feature| packages.contains(&asked_of(feature)));
    }
    if !features.is_empty() {
        args.extend(["--features".to_owned(), features.join(",")]);
    }
    args
}

/// Every value with the option before it.
fn each<'a>(option: &str, values: impl Iterator<Item = &'a str>) -> Vec<String> {
    values.flat_map(|value| [option.to_owned(), value.to_owned()]).collect()
}

/// The features of every backend crate that is not left out, and those by which `packages` have it.
pub(crate) fn features_of_all(
    workspace: &Workspace,
    packages: &[&str],
    left_out: &[&str],
) -> Vec<String> {
    let mut features = Vec::new();
    for BackendCrate { package, feature, .. } in BACKENDS {
        let Some(found) = workspace.package(package).filter(|_| !left_out.contains(package)) else {
            continue;
        };
        features.extend(of_package(package, &found.chosen_features()));
        let Some(feature) = feature else { continue };
        // A package has it for those backends only that it does something with.
        let has = |package: &&&str| {
            let found = workspace.package(package);
            found.is_some_and(|found| found.chosen_features().iter().any(|one| one == feature))
        };
        let added = packages.iter().filter(has);
        features.extend(added.map(|package| format!("{package}/{feature}")));
    }
    features
}

/// All features run together with the rest of the workspace; fewer are linted, where there is a choice.
fn backend_cells(workspace: &Workspace, backend: &BackendCrate) -> Vec<Cell> {
    let &BackendCrate { name, package, requirements, .. } = backend;
    let features = workspace.package(package).map(Package::chosen_features);
    let features = features.unwrap_or_default();
    let with_all = cell(name, &named(&features), How::Together { package });
    let mut cells = vec![Cell { requirements, ..with_all }];
    if !features.is_empty() {
        cells.push(Cell { requirements, ..linted(name, package) });
    }
    cells
}

/// With every backend that can be built here.
fn with_backends(name: &'static str, package: &'static str) -> Cell {
    cell(name, "all that is here", How::Together { package })
}

/// With exactly these features.
fn alone(name: &'static str, package: &'static str, features: &[&str]) -> Cell {
    let features: Vec<String> = features.iter().map(|&feature| feature.to_owned()).collect();
    cell(name, &named(&features), How::Alone { package, features, targets: Targets::All })
}

/// Linted with no feature, and with each alone. Each feature adds items of its own and no code asks
/// for two at once, so what other combinations could break, these do or all features together do.
fn linted(name: &'static str, package: &'static str) -> Cell {
    cell(name, "none, each alone", How::Linted { package })
}

fn together(name: &'static str, package: &'static str) -> Cell {
    cell(name, "-", How::Together { package })
}

fn cell(name: &'static str, features: &str, how: How) -> Cell {
    Cell { name, features: features.to_owned(), requirements: &[], how }
}

#[cfg(test)]
mod tests {
    use super::{BackendCrate, How, Targets, backend_cells, select_together};
    use crate::workspace::tests::example;

    fn backend(name: &'static str, package: &'static str) -> BackendCrate {
        BackendCrate { name, package, feature: None, requirements: &[] }
    }

    #[test]
    fn all_features_of_a_backend_run_together_and_fewer_are_linted() {
        let cells = backend_cells(&example(), &backend("cpu", "arraybridge"));
        let names: Vec<_> = cells.iter().map(|cell| cell.features.as_str()).collect();
        assert_eq!(names, ["candle+ndarray", "none, each alone"]);
        assert!(matches!(cells[0].how, How::Together { .. }));
        assert!(matches!(cells[1].how, How::Linted { .. }));
    }

    #[test]
    fn what_is_built_on_backends_needs_what_they_need() {
        let needed = |names: &[&str]| {
            let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
            super::built_in(&names).map(|(package, _)| package).collect::<Vec<_>>()
        };
        assert_eq!(needed(&["bridge-host"]), [""; 0]);
        let others = ["bridge-cpu", "bridge-opencl", "bridge-cuda"];
        assert_eq!(needed(&["bridge-cli", "bridge-torch"]), others);
    }

    #[test]
    fn a_backend_crate_that_is_not_there_still_has_its_row() {
        let backend = backend("gone", "bridge-gone");
        assert_eq!(backend_cells(&example(), &backend).len(), 1);
    }

    #[test]
    fn the_faults_that_are_planted_in_the_shim_have_a_cell() {
        let cells = super::all(&example());
        let planted = cells.iter().find(|cell| cell.features == "planted faults").unwrap();
        let How::Alone { package, features, targets } = &planted.how else {
            panic!("they are no choice for the workspace's common run");
        };
        assert_eq!((*package, features.as_slice()), ("bridge-torch", &["_faults".to_owned()][..]));
        assert_eq!(*targets, Targets::Library);
    }

    #[test]
    fn every_row_that_pytest_counts_has_a_cell() {
        let cells = super::all(&example());
        let rows: Vec<_> = cells
            .iter()
            .filter_map(|cell| match cell.how {
                How::Python { row } => Some(row),
                _ => None,
            })
            .collect();
        assert_eq!(rows[..rows.len() - 1], crate::python_tests::ROWS);
        assert_eq!(rows.last(), Some(&crate::python_tests::STUBS));
    }

    #[test]
    fn what_is_left_out_is_excluded_from_the_common_run() {
        let args = select_together(&example(), &[], &["bridge-cli"]);
        assert_eq!(args, ["--workspace", "--exclude", "bridge-cli"]);
    }

    #[test]
    fn a_named_package_alone_is_chosen_with_its_own_cells() {
        let named = ["bridge-cli".to_owned()];
        assert_eq!(select_together(&example(), &named, &[]), ["--package", "bridge-cli"]);
        assert_eq!(select_together(&example(), &named, &["bridge-cli"]), [""; 0]);
        let cells = super::of(&example(), &named);
        assert!(!cells.is_empty());
        assert!(cells.iter().all(|cell| cell.package() == Some("bridge-cli")));
    }
}
