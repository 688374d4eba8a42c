//! The JSON forms that others rely on. What depends on the backends is tested here without those that a
//! machine may lack, and with them in `every_backend`.

use serde_json::Value;

use crate::support::{Folder, counting, stored};

crate::support::cases! {
    #[cfg(not(any(feature = "torch", feature = "opencl", feature = "cuda")))]
    matrix_verifies_every_pair,
    #[cfg(all(feature = "ndarray", feature = "candle"))]
    matrix_says_which_steps_were_taken,
    #[cfg(all(feature = "ndarray", feature = "candle"))]
    #[cfg(not(any(feature = "torch", feature = "opencl", feature = "cuda")))]
    an_element_type_that_a_backend_lacks_is_not_applicable,
    #[cfg(all(feature = "ndarray", feature = "candle"))]
    #[cfg(not(any(feature = "torch", feature = "opencl", feature = "cuda")))]
    tables_show_every_cell,
    #[cfg(not(any(feature = "torch", feature = "opencl", feature = "cuda")))]
    doctor_lists_every_backend,
    the_report_of_one_array,
    the_report_of_several_arrays,
    #[cfg(all(feature = "ndarray", feature = "candle"))]
    the_plan_says_what_the_report_says,
    explaining_prints_the_plan_first,
}

#[track_caller]
fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

#[cfg(not(any(feature = "torch", feature = "opencl", feature = "cuda")))]
fn matrix_verifies_every_pair() {
    let backends = usize::from(cfg!(feature = "ndarray")) + usize::from(cfg!(feature = "candle"));
    for dtype in ["float32", "u8", "bfloat16", "float8_e4m3fn"] {
        for size in ["0", "1", "1000", "65536"] {
            let args = ["matrix", "--json", "--dtype", dtype, "--size", size];
            let matrix = Folder::new().succeed(&args).json();
            assert_eq!(keys(&matrix), ["cells"]);
            let cells = matrix["cells"].as_array().unwrap();
            assert_eq!(cells.len(), backends * backends);
            for cell in cells {
                assert_eq!(
                    keys(cell),
                    [
                        "device",
                        "nanoseconds",
                        "reason",
                        "source",
                        "status",
                        "steps",
                        "target",
                        "zero_copy"
                    ]
                );
                assert_eq!(cell["status"], "verified", "{cell}");
                assert_eq!(cell["device"], "cpu");
                assert_eq!(cell["reason"], Value::Null);
                assert!(cell["nanoseconds"].as_u64().is_some());
                assert!(!cell["steps"].as_array().unwrap().is_empty());
                assert_eq!(cell["zero_copy"], true, "{cell}");
            }
        }
    }
}

#[cfg(all(feature = "ndarray", feature = "candle"))]
fn matrix_says_which_steps_were_taken() {
    let matrix = Folder::new().succeed(&["matrix", "--json"]).json();
    let steps = |source: &str, target: &str| {
        let cells = matrix["cells"].as_array().unwrap().iter();
        let mut cells = cells.filter(|cell| cell["source"] == source && cell["target"] == target);
        cells.next().unwrap()["steps"].clone()
    };
    assert_eq!(steps("ndarray", "candle"), serde_json::json!(["move"]));
    assert_eq!(steps("candle", "ndarray"), serde_json::json!(["share"]));
}

#[cfg(all(feature = "ndarray", feature = "candle"))]
#[cfg(not(any(feature = "torch", feature = "opencl", feature = "cuda")))]
fn an_element_type_that_a_backend_lacks_is_not_applicable() {
    let matrix = Folder::new().succeed(&["matrix", "--json", "--dtype", "uint16"]).json();
    for cell in matrix["cells"].as_array().unwrap() {
        if cell["source"] == "ndarray" && cell["target"] == "ndarray" {
            assert_eq!(cell["status"], "verified");
        } else {
            assert_eq!(cell["status"], "not applicable");
            assert!(cell["reason"].as_str().unwrap().contains("candle has no uint16"), "{cell}");
            assert_eq!(cell["zero_copy"], Value::Null);
        }
    }
}

#[cfg(all(feature = "ndarray", feature = "candle"))]
#[cfg(not(any(feature = "torch", feature = "opencl", feature = "cuda")))]
fn tables_show_every_cell() {
    let folder = Folder::new();
    let markdown = folder.succeed(&["matrix", "--markdown"]).stdout;
    assert_eq!(markdown.lines().count(), 6, "{markdown}");
    assert!(
        markdown.lines().all(|line| line.starts_with('|') && line.ends_with('|')),
        "{markdown}"
    );
    let table = folder.succeed(&["matrix"]).stdout;
    assert_eq!(table.matches("verified").count(), 4, "{table}");
    assert!(folder.succeed(&["doctor"]).stdout.contains("candle-core"));
}

#[cfg(not(any(feature = "torch", feature = "opencl", feature = "cuda")))]
fn doctor_lists_every_backend() {
    let found = Folder::new().succeed(&["doctor", "--json"]).json();
    assert_eq!(keys(&found), ["backends", "host", "memory"]);
    assert_eq!(
        keys(&found["host"]),
        [
            "cpus",
            "memory_available",
            "memory_available_from",
            "memory_problems",
            "memory_total",
            "memory_total_from"
        ]
    );
    assert_eq!(keys(&found["memory"]), ["devices", "problems", "process"]);
    // These backends take memory of the host through no allocator that counts.
    assert_eq!(found["memory"]["devices"], serde_json::json!([]));
    if cfg!(target_os = "linux") {
        assert!(found["memory"]["process"]["resident"].as_u64() > Some(0));
        assert!(
            found["host"]["memory_available"].as_u64() <= found["host"]["memory_total"].as_u64()
        );
        let source = found["host"]["memory_total_from"].as_str().unwrap();
        let text = Folder::new().succeed(&["doctor"]).stdout;
        assert!(text.contains(&format!("({source}), ")), "{source}: {text}");
        assert!(text.contains(" resident"), "{text}");
    }
    let backends = found["backends"].as_array().unwrap();
    let names: Vec<&str> = backends.iter().map(|found| found["name"].as_str().unwrap()).collect();
    let mut wanted = Vec::new();
    wanted.extend(cfg!(feature = "ndarray").then_some("ndarray"));
    wanted.extend(cfg!(feature = "candle").then_some("candle"));
    assert_eq!(names, wanted);
    for backend in backends {
        assert_eq!(backend["status"], "ready");
        assert_eq!(backend["reason"], Value::Null);
        assert_eq!(backend["remedy"], Value::Null);
        assert_eq!(backend["devices"], serde_json::json!(["cpu"]));
        assert!(backend["dtypes"].as_array().unwrap().contains(&Value::from("float32")));
        assert!(backend["framework"].as_str().unwrap().contains(' '));
    }
}

fn folder() -> Folder {
    let folder = Folder::new();
    let (x, y) = (counting(2, 3), counting(5, 1));
    folder.file("a.npy", &x);
    folder.file("two.npz", stored(&[("x.npy", &x), ("y.npy", &y)]));
    folder
}

fn the_report_of_one_array() {
    let report = folder().succeed(&["convert", "a.npy", "b.npz", "--json"]).json();
    assert_eq!(
        keys(&report),
        [
            "arrays",
            "bytes_copied",
            "bytes_written",
            "dtype",
            "input",
            "output",
            "seconds",
            "shape",
            "skipped",
            "steps",
            "zero_copy"
        ]
    );
    assert_eq!(report["steps"], serde_json::json!(["stay"]));
    assert_eq!(report["zero_copy"], true);
    assert_eq!(report["bytes_copied"], 0);
    assert_eq!(report["dtype"], "float32");
    assert_eq!(report["shape"], serde_json::json!([2, 3]));
    assert!(report["seconds"].as_f64().unwrap() > 0.0);
    assert_eq!(
        keys(&report["arrays"][0]),
        [
            "bytes_copied",
            "dtype",
            "hops",
            "name",
            "seconds",
            "shape",
            "steps",
            "windows",
            "zero_copy"
        ]
    );
    assert_eq!(
        keys(&report["arrays"][0]["hops"][0]),
        ["bytes_copied", "declined", "source", "steps", "target"]
    );
}

fn the_report_of_several_arrays() {
    let folder = folder();
    let args = ["convert", "two.npz", "b.safetensors", "--dtype", "f64", "--json"];
    let report = folder.succeed(&args).json();
    assert_eq!(report["dtype"], Value::Null);
    assert_eq!(report["shape"], Value::Null);
    assert_eq!(report["bytes_copied"], (6 + 5) * 8);
    assert_eq!(report["arrays"].as_array().unwrap().len(), 2);
    assert_eq!(report["bytes_written"], folder.read("b.safetensors").len());
}

#[cfg(all(feature = "ndarray", feature = "candle"))]
fn the_plan_says_what_the_report_says() {
    let folder = folder();
    let columns = crate::support::npy("'<f4'", true, "(3, 2)", &crate::support::floats(6));
    folder.file("f.npy", columns);
    folder.file("z.npz", crate::support::deflated(&[("x.npy", &counting(2, 3))]));
    for input in ["a.npy", "f.npy", "two.npz", "z.npz"] {
        let vias = [
            &[][..],
            &["--via", "ndarray"],
            &["--via", "ndarray,candle"],
            &["--via", "candle,ndarray,candle"],
        ];
        for via in vias {
            for dtype in [&[][..], &["--dtype", "f16"], &["--dtype", "i8"]] {
                for copy in ["if-needed", "always"] {
                    let options = [via, dtype, &["--json", "--copy", copy]].concat();
                    let plan = folder.succeed(&[&["plan", input][..], &options].concat()).json();
                    let convert = [&["convert", input, "b.npz"][..], &options].concat();
                    let report = folder.succeed(&convert).json();
                    for key in ["steps", "bytes_copied", "zero_copy", "dtype", "shape"] {
                        assert_eq!(plan[key], report[key], "{convert:?} {key}");
                    }
                    for (planned, done) in plan["arrays"]
                        .as_array()
                        .unwrap()
                        .iter()
                        .zip(report["arrays"].as_array().unwrap())
                    {
                        assert_eq!(planned["hops"], done["hops"], "{convert:?}");
                    }
                }
            }
        }
    }
}

fn explaining_prints_the_plan_first() {
    let folder = folder();
    let ran = folder.succeed(&["convert", "a.npy", "b.npz", "--explain"]);
    let plan = folder.succeed(&["plan", "a.npy"]).stdout;
    assert!(ran.stdout.starts_with(plan.trim_end()), "{ran:?}");
    assert!(ran.stdout.contains("b.npz: float32 [2, 3]"), "{ran:?}");
    // With --json there is JSON only; it has the same reasons.
    folder.succeed(&["convert", "a.npy", "b.npz", "--explain", "--json"]).json();
}
