//! Mistakes of other bridges that only several frameworks together show, and the page about them all:
//! docs/known-bugs.md.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use arraybridge::backends::ndarray::SharedArray;
use arraybridge::{Convert, CopyPolicy, Layout, ManagedTensor, Options};
use candle_core::Tensor;
use ndarray::Array4;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(file: &str) -> Option<String> {
    fs::read_to_string(repository().join(file)).ok()
}

/// What the page names as `path/of/the_file.rs::test`, or `path/of/the_file.py::TestClass::test`.
fn named_tests(page: &str) -> Vec<(&str, &str)> {
    let quoted = page.split('`').skip(1).step_by(2);
    quoted
        .filter_map(|word| word.split_once("::"))
        .filter(|(file, _)| file.ends_with(".rs") || file.ends_with(".py"))
        .collect()
}

/// Whether a Python source has a method of this name in this class.
fn has_python_test(source: &str, class_and_name: &str) -> bool {
    let Some((class, name)) = class_and_name.split_once("::") else { return false };
    let mut lines = source.lines().skip_while(|line| *line != format!("class {class}:")).skip(1);
    let mut of_class = lines.by_ref().take_while(|line| line.is_empty() || line.starts_with(' '));
    of_class.any(|line| line.starts_with(&format!("    def {name}(")))
}

/// Whether a source has a test of this name: a function under `#[test]`, in `proptest!` too, or a
/// law of the conformance suite.
fn has_test(source: &str, name: &str, is_law: bool) -> bool {
    let mut lines = source.lines().map(str::trim_start);
    let mut under_attribute = false;
    lines.any(|line| {
        let is_function = line.starts_with(&format!("fn {name}("))
            || line.starts_with(&format!("pub(super) fn {name}("));
        let found = is_function && (under_attribute || is_law);
        under_attribute = line == "#[test]" || (under_attribute && line.starts_with("#["));
        found
    })
}

#[test]
fn every_test_that_the_page_names_exists() {
    let page = read("docs/known-bugs.md").unwrap();
    let tests = named_tests(&page);
    assert!(tests.len() > 150, "only {} tests were found on the page", tests.len());
    let laws: Vec<&str> = bridge_testkit::conformance::law_names().collect();
    let mut sources = BTreeMap::new();
    let mut missing = Vec::new();
    for (file, name) in tests {
        let source = sources.entry(file).or_insert_with(|| read(file).unwrap_or_default());
        let found = match file.ends_with(".py") {
            true => has_python_test(source, name),
            false => has_test(source, name, laws.contains(&name)),
        };
        if !found {
            missing.push(format!("{file}::{name}"));
        }
    }
    assert!(missing.is_empty(), "docs/known-bugs.md names tests that are not there: {missing:#?}");
}

#[test]
fn every_row_of_the_page_has_a_link_and_an_answer() {
    let page = read("docs/known-bugs.md").unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| ---"));
    let rows: Vec<_> = rows.filter(|line| !line.starts_with("| what went wrong")).collect();
    assert!(rows.len() > 100, "only {} rows were found", rows.len());
    for row in rows {
        let columns: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let &[what, link, here] = &columns[..] else { panic!("not three columns: {row}") };
        assert!(!what.is_empty() && link.contains("](https://"), "{row}");
        let answers = [".rs::", ".py::", "annot happen", "not built yet"];
        assert!(answers.iter().any(|answer| here.contains(answer)), "{row}");
    }
}

#[test]
fn no_crate_with_a_known_advisory_is_in_the_tree() {
    let lock = read("Cargo.lock").unwrap();
    for name in ["arrow", "arrow2", "linkme", "ouroboros", "owning_ref"] {
        assert!(!lock.contains(&format!("name = \"{name}\"\n")), "{name} has come into the tree");
    }
    // The first versions with the fixes.
    for (name, fixed) in [("inventory", [0, 2, 0]), ("memmap2", [0, 9, 11]), ("pyo3", [0, 29, 0])] {
        let found = lock.split_once(&format!("name = \"{name}\"\nversion = \"")).unwrap().1;
        let version = found.split_once('"').unwrap().0;
        let numbers: Vec<u32> = version.split('.').map(|part| part.parse().unwrap()).collect();
        assert!(numbers[..] >= fixed[..], "{name} {version}");
    }
}

#[test]
fn an_empty_tensor_is_taken_in_place_whatever_its_strides() {
    // onnxruntime#27450, python_backend#444: refused as not contiguous; nanobind#1259: for strides of 0.
    let never = Options::default().copy(CopyPolicy::Never);
    for strides in [[0, 0, 0, 0], [1024, 128, 128, 1], [1, 1, 8, 8], [-5, 77, 0, 3]] {
        let layout = Layout::new(&[1, 8, 0, 128], &strides, 0).unwrap();
        assert!(layout.is_row_major() && layout.is_column_major(), "{strides:?}");
        let empty =
            || ManagedTensor::from_vec_with_layout(Vec::<f32>::new(), layout.clone()).unwrap();
        let candle: Tensor = empty().convert_to(never).unwrap();
        assert_eq!(candle.dims(), [1, 8, 0, 128], "{strides:?}");
        let shared: SharedArray<f32> = candle.convert_to(never).unwrap();
        assert_eq!(shared.view().shape(), [1, 8, 0, 128], "{strides:?}");
        let owned: Array4<f32> = empty().convert_to(never).unwrap();
        assert_eq!(owned.dim(), (1, 8, 0, 128), "{strides:?}");
    }
}
