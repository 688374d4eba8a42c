//! The program with every backend: some of them may not be able to run on this machine.
#![cfg(all(feature = "torch", feature = "opencl", feature = "cuda"))]

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::Folder;

crate::support::cases! {
    every_cell_is_verified_or_says_why_not,
    pairs_on_the_host_share_where_they_can,
    doctor_tells_what_each_backend_is,
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

fn every_cell_is_verified_or_says_why_not() {
    let doctor = Folder::new().succeed(&["doctor", "--json"]).json();
    let status: BTreeMap<&str, &str> = list(&doctor["backends"])
        .iter()
        .map(|found| (found["name"].as_str().unwrap(), found["status"].as_str().unwrap()))
        .collect();
    assert_eq!(
        Vec::from_iter(status.keys()),
        [&"candle", &"cuda", &"ndarray", &"opencl", &"torch"]
    );

    for (dtype, size) in [("float32", "0"), ("float32", "65536"), ("u8", "1000"), ("bf16", "1")] {
        let args = ["matrix", "--json", "--dtype", dtype, "--size", size];
        let matrix = Folder::new().succeed(&args).json();
        assert!(list(&matrix["cells"]).len() >= 25);
        for cell in list(&matrix["cells"]) {
            let ready = |end: &str| status[cell[end].as_str().unwrap()] == "ready";
            if ready("source") && ready("target") {
                assert_eq!(cell["status"], "verified", "{cell}");
            } else {
                assert_eq!(cell["status"], "unavailable", "{cell}");
                assert!(!cell["reason"].as_str().unwrap().is_empty());
            }
        }
    }
}

fn pairs_on_the_host_share_where_they_can() {
    let matrix = Folder::new().succeed(&["matrix", "--json"]).json();
    let steps = |source: &str, target: &str| {
        let mut cells = list(&matrix["cells"]).iter();
        let cell = cells.find(|cell| cell["source"] == source && cell["target"] == target).unwrap();
        (cell["zero_copy"].clone(), cell["steps"].clone())
    };
    let zero_copy = |steps: &[&str]| (Value::from(true), Value::from(steps));
    assert_eq!(steps("ndarray", "torch"), zero_copy(&["share"]));
    assert_eq!(steps("torch", "ndarray"), zero_copy(&["share"]));
    assert_eq!(steps("torch", "candle"), zero_copy(&["move"]), "the vector it came from");
    // candle's memory is read-only, and torch would write to it.
    assert_eq!(steps("candle", "torch").0, Value::from(false));
}

fn doctor_tells_what_each_backend_is() {
    let folder = Folder::new();
    let found = folder.succeed(&["doctor", "--json"]).json();
    let backend = |name: &str| {
        list(&found["backends"]).iter().find(|one| one["name"] == name).unwrap().clone()
    };
    let details = list(&backend("torch")["details"]).to_vec();
    assert!(details.iter().any(|one| one["value"].as_str().unwrap().contains("2.")), "{details:?}");
    for name in ["opencl", "cuda"] {
        let found = backend(name);
        if found["status"] == "ready" {
            assert!(!list(&found["details"]).is_empty(), "{found}");
        } else {
            assert!(!found["reason"].as_str().unwrap().is_empty(), "{found}");
            assert!(!found["remedy"].as_str().unwrap().is_empty(), "{found}");
        }
    }
    assert!(folder.succeed(&["doctor"]).stdout.contains("torch"));
}
