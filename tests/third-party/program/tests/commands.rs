//! What the program knows of the backends that it links.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

fn run(args: &[&str]) -> (Option<i32>, Value) {
    let output = Command::new(env!("CARGO_BIN_EXE_arraybridge")).args(args).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    let json = serde_json::from_slice(&output.stdout);
    (output.status.code(), json.unwrap_or_else(|error| panic!("{args:?}: {error}: {errors}")))
}

#[test]
fn doctor_lists_both_backends() {
    let (code, found) = run(&["doctor", "--json"]);
    assert_eq!(code, Some(0));
    let backends = found["backends"].as_array().unwrap();
    let names: Vec<_> = backends.iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["nalgebra", "arrow"]);
    assert!(backends.iter().all(|one| one["status"] == "ready"), "{found}");
}

#[test]
fn matrix_verifies_every_pair() {
    for dtype in ["float64", "float32", "float16", "int8", "uint64"] {
        let (code, matrix) = run(&["matrix", "--json", "--dtype", dtype, "--size", "6000"]);
        let cells = matrix["cells"].as_array().unwrap();
        assert_eq!(cells.len(), 4, "{dtype}");
        for cell in cells {
            assert_eq!(cell["status"], "verified", "{cell}");
        }
        assert_eq!(code, Some(0), "{dtype}");
    }
}

#[test]
fn a_type_that_arrow_lacks_is_not_applicable() {
    let (code, matrix) = run(&["matrix", "--json", "--dtype", "bfloat16"]);
    for cell in matrix["cells"].as_array().unwrap() {
        let both_have_it = cell["source"] == "nalgebra" && cell["target"] == "nalgebra";
        let wanted = if both_have_it { "verified" } else { "not applicable" };
        assert_eq!(cell["status"], wanted, "{cell}");
        let reason = cell["reason"].as_str().unwrap_or_default();
        assert!(both_have_it || reason.contains("arrow has no bfloat16"), "{cell}");
    }
    assert_eq!(code, Some(0));
}

/// It is built without the features of the program's own package.
#[test]
fn files_of_pytorch_need_the_feature_that_is_named() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("without_pt");
    std::fs::create_dir_all(&folder).unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let header = "{'descr': '|u1', 'fortran_order': False, 'shape': (1,), }";
    let npy =
        [&b"\x93NUMPY\x01\x00\x76\x00"[..], format!("{header:<117}\n\x07").as_bytes()].concat();
    // What torch.save begins with, before PyTorch 1.6.
    let legacy = *b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.";
    for (input, output) in [(file("a.npy", &npy), "b.pth"), (file("a.pt", &legacy), "b.npy")] {
        let output = folder.join(output);
        let ran = Command::new(env!("CARGO_BIN_EXE_arraybridge"))
            .args([Path::new("convert"), &input, &output])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&ran.stderr);
        assert_eq!(ran.status.code(), Some(2), "{said}");
        assert!(said.contains("feature pt") && said.contains("--features pt"), "{said}");
        assert!(!output.exists());
    }
}
