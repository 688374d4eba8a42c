//! The floors of `docs/architecture.md`: who may depend on whom.

use crate::workspace::Workspace;

/// Each crate's floor. What it depends on lies on lower ones.
const FLOORS: [(&str, u32); 15] = [
    ("bridge-tensor", 0),
    ("bridge-core", 1),
    ("bridge-convert", 2),
    ("bridge-host", 2),
    ("bridge-macros", 2),
    ("bridge-testkit", 3),
    ("bridge-cpu", 3),
    ("bridge-torch", 3),
    ("bridge-opencl", 3),
    ("bridge-cuda", 3),
    ("bridge-memory", 3),
    ("arraybridge", 4),
    ("bridge-cli", 5),
    ("bridge-python", 6),
    ("bridge-tests", 6),
];

/// Crates that backends do not depend on: a third party's backend needs none of them either.
const NOT_FOR_BACKENDS: [&str; 2] = ["bridge-convert", "bridge-testkit"];

fn floor_of(name: &str) -> Option<u32> {
    FLOORS.iter().find(|(crate_name, _)| *crate_name == name).map(|(_, floor)| *floor)
}

#[test]
fn arrows_go_down_only() {
    let workspace = Workspace::find().unwrap();
    for (name, floor) in FLOORS {
        let package = workspace.package(name).unwrap_or_else(|| panic!("no package {name}"));
        for dependency in package.dependencies() {
            let below = floor_of(dependency).is_none_or(|below| below < floor);
            assert!(below, "{name} on floor {floor} depends on {dependency}");
        }
    }
}

#[test]
fn every_library_of_ours_has_its_floor() {
    for name in Workspace::find().unwrap().names() {
        let ours = name.starts_with("bridge-") && !name.starts_with("bridge-benches");
        assert!(!ours || floor_of(name).is_some(), "{name} has no floor");
    }
}

#[test]
fn backends_know_neither_each_other_nor_the_planner() {
    let workspace = Workspace::find().unwrap();
    let backends = ["bridge-cpu", "bridge-torch", "bridge-opencl", "bridge-cuda"];
    for name in backends {
        for dependency in workspace.package(name).unwrap().dependencies() {
            let forbidden =
                backends.contains(&dependency) || NOT_FOR_BACKENDS.contains(&dependency);
            assert!(!forbidden, "{name} depends on {dependency}");
        }
    }
}

#[test]
fn the_core_is_small() {
    let workspace = Workspace::find().unwrap();
    let core: Vec<_> = workspace.package("bridge-core").unwrap().dependencies().collect();
    assert_eq!(core, ["bridge-tensor", "inventory", "thiserror"]);
}
