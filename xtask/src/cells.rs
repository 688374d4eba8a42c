//! The cells of the test matrix: every crate, and every backend with every choice of its features.

use crate::cpp_compiler::CPP_COMPILER;
use crate::features::{combinations, named, of_package};
use crate::libtorch::TORCH;
use crate::opencl::OPENCL;
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
    Alone { package: &'static str, features: Vec<String> },
    /// In a run of its own, from another workspace, into the same target folder.
    Elsewhere { manifest: &'static str },
    /// Compiled only, once for every combination of features.
    EveryCombination { package: &'static str },
}

/// A crate of backends: each combination of its features is a cell.
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

/// Every cell, in the order of the table.
pub(crate) fn all(workspace: &Workspace) -> Vec<Cell> {
    let mut cells = vec![
        together("core", "bridge-core"),
        together("host", "bridge-host"),
        together("testkit", "bridge-testkit"),
    ];
    for backend in BACKENDS {
        cells.extend(backend_cells(workspace, backend));
    }
    cells.push(Cell {
        features: "planted faults".to_owned(),
        requirements: &[&TORCH],
        ..alone("torch", "bridge-torch", &["_faults"])
    });
    cells.extend([
        with_backends("facade", "arraybridge"),
        Cell {
            requirements: &[&TORCH],
            ..cell("features", "each combination", How::EveryCombination { package: "arraybridge" })
        },
        with_backends("cli", "bridge-cli"),
        alone("cli", "bridge-cli", &["candle", "ndarray", "pt"]),
        alone("cli", "bridge-cli", &["ndarray"]),
        with_backends("cross", "bridge-tests"),
        cell("third-party", "-", How::Elsewhere { manifest: "tests/third-party/Cargo.toml" }),
        Cell { requirements: &[&CPP_COMPILER], ..together("cuda kernels", "cuda-kernels") },
        together("cuda driver", "simulated-cuda"),
        together("cuda hand-over", "bridge-benches-cuda"),
        together("xtask", "xtask"),
        together("measured", "measured"),
        together("gpu-runner", "gpu-runner"),
    ]);
    cells
}

/// The arguments that choose what the cells that run together test: the whole workspace but the
/// packages in `left_out`, with all features of each backend crate, and with those that add it.
pub(crate) fn select_together(workspace: &Workspace, left_out: &[&str]) -> Vec<String> {
    let mut args = vec!["--workspace".to_owned()];
    for package in left_out {
        args.extend(["--exclude".to_owned(), (*package).to_owned()]);
    }
    let features = features_of_all(workspace, BUILT_ON_BACKENDS, left_out);
    if !features.is_empty() {
        args.extend(["--features".to_owned(), features.join(",")]);
    }
    args
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

/// All features run together with the rest of the workspace, the other combinations alone.
fn backend_cells(workspace: &Workspace, backend: &BackendCrate) -> Vec<Cell> {
    let &BackendCrate { name, package, requirements, .. } = backend;
    let features = workspace.package(package).map(Package::chosen_features);
    let features = features.unwrap_or_default();
    let cells = combinations(&features).into_iter().map(|chosen| Cell {
        name,
        features: named(&chosen),
        requirements,
        how: if chosen.len() == features.len() {
            How::Together { package }
        } else {
            How::Alone { package, features: chosen }
        },
    });
    cells.collect()
}

/// With every backend that can be built here.
fn with_backends(name: &'static str, package: &'static str) -> Cell {
    cell(name, "all that is here", How::Together { package })
}

/// With exactly these features.
fn alone(name: &'static str, package: &'static str, features: &[&str]) -> Cell {
    let features: Vec<String> = features.iter().map(|&feature| feature.to_owned()).collect();
    cell(name, &named(&features), How::Alone { package, features })
}

fn together(name: &'static str, package: &'static str) -> Cell {
    cell(name, "-", How::Together { package })
}

fn cell(name: &'static str, features: &str, how: How) -> Cell {
    Cell { name, features: features.to_owned(), requirements: &[], how }
}

#[cfg(test)]
mod tests {
    use super::{BackendCrate, How, backend_cells, select_together};
    use crate::workspace::tests::example;

    fn backend(name: &'static str, package: &'static str) -> BackendCrate {
        BackendCrate { name, package, feature: None, requirements: &[] }
    }

    #[test]
    fn a_backend_has_a_cell_for_each_combination_and_runs_all_features_together() {
        let backend = backend("cpu", "arraybridge");
        let cells = backend_cells(&example(), &backend);
        let names: Vec<_> = cells.iter().map(|cell| cell.features.as_str()).collect();
        assert_eq!(names, ["none", "candle", "ndarray", "candle+ndarray"]);
        let together = |cell: &super::Cell| matches!(cell.how, How::Together { .. });
        assert_eq!(cells.iter().map(together).collect::<Vec<_>>(), [false, false, false, true]);
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
        let How::Alone { package, features } = &planted.how else {
            panic!("they are no choice for the workspace's common run");
        };
        assert_eq!((*package, features.as_slice()), ("bridge-torch", &["_faults".to_owned()][..]));
    }

    #[test]
    fn what_is_left_out_is_excluded_from_the_common_run() {
        let args = select_together(&example(), &["bridge-cli"]);
        assert_eq!(args, ["--workspace", "--exclude", "bridge-cli"]);
    }
}
