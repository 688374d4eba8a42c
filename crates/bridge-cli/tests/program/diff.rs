//! What `diff` finds between files of any two formats.

use serde_json::{Value, json};

use crate::support::{Folder, counting, deflated, floats, npy, replaced, safetensors, stored};

crate::support::cases! {
    equal_files_of_any_formats,
    the_first_and_the_worst_difference,
    arrays_of_one_file_only,
    shapes_and_element_types,
    tolerances,
    nan_and_infinity,
    integers_are_compared_exactly,
    small_and_packed_and_complex_elements,
    orders_do_not_matter,
    large_arrays_are_compared_to_their_end,
    only_chosen_arrays_are_compared,
    arrays_without_a_name,
    arrays_without_elements,
    raw_elements_are_compared_as_bytes,
    what_cannot_be_compared,
}

fn numbers(values: &[f32]) -> Vec<u8> {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    npy("'<f4'", false, &format!("({},)", values.len()), &bytes)
}

/// A folder with these two, as `a.npy` and `b.npy`.
fn both(a: &[u8], b: &[u8]) -> Folder {
    let folder = Folder::new();
    folder.file("a.npy", a);
    folder.file("b.npy", b);
    folder
}

#[track_caller]
fn diff(folder: &Folder, code: i32, args: &[&str]) -> Value {
    let ran = folder.run(&[&["diff"], args, &["--json"]].concat());
    assert_eq!(ran.code, Some(code), "{ran:?}");
    let found = ran.json();
    assert_eq!(found["equal"], code == 0, "{found}");
    assert_eq!(found["differences"] == json!([]), code == 0, "{found}");
    found
}

/// The only difference between `a.npy` and `b.npy`.
#[track_caller]
fn difference(a: &[u8], b: &[u8], args: &[&str]) -> Value {
    let found = diff(&both(a, b), 1, &[&["a.npy", "b.npy"], args].concat());
    assert_eq!(found["differences"].as_array().expect("a list").len(), 1, "{found}");
    found["differences"][0].clone()
}

#[track_caller]
fn equal(a: &[u8], b: &[u8], args: &[&str]) {
    diff(&both(a, b), 0, &[&["a.npy", "b.npy"], args].concat());
}

fn equal_files_of_any_formats() {
    let folder = Folder::new();
    let (x, y) = (counting(2, 3), npy("'|b1'", true, "(2, 2)", &[0, 1, 1, 0]));
    folder.file("a.npz", stored(&[("x.npy", &x), ("y.npy", &y)]));
    folder.file("b.npz", deflated(&[("y.npy", &y), ("x.npy", &x)]));
    folder.succeed(&["convert", "a.npz", "c.safetensors"]);
    let mut files = vec!["a.npz", "b.npz", "c.safetensors"];
    if cfg!(feature = "pt") {
        folder.succeed(&["convert", "a.npz", "d.pt"]);
        files.push("d.pt");
    }
    for a in &files {
        for b in &files {
            let ran = folder.succeed(&["diff", a, b]);
            assert_eq!(ran.stdout, format!("{a} and {b} are equal: 2 arrays compared\n"));
            assert_eq!(ran.stderr, "");
        }
    }
    let quiet = folder.succeed(&["diff", "a.npz", "b.npz", "--quiet"]);
    assert_eq!(quiet.stdout, "");
}

fn the_first_and_the_worst_difference() {
    let (a, b) = (numbers(&[0.0, 1.0, 2.0, 8.0]), numbers(&[0.0, 1.25, 2.0, 10.0]));
    let found = difference(&a, &b, &[]);
    assert_eq!(
        found,
        json!({"kind": "values", "name": "a", "elements": 4, "different": 2,
               "first": {"index": [1], "a": 1.0, "b": 1.25, "absolute": 0.25, "relative": 0.2},
               "worst": {"index": [3], "a": 8.0, "b": 10.0, "absolute": 2.0, "relative": 0.2}})
    );
    let folder = both(&a, &b);
    let ran = folder.run(&["diff", "a.npy", "b.npy"]);
    assert_eq!(ran.code, Some(1));
    let shown = "a: 2 of 4 elements differ\n  first at [1]: 1.0 and 1.25 (off by 0.25, relative 0.2)\n  \
                 worst at [3]: 8.0 and 10.0 (off by 2, relative 0.2)\n\
                 a.npy and b.npy differ: 1 array compared\n";
    assert_eq!(ran.stdout, shown);
    let quiet = folder.run(&["diff", "a.npy", "b.npy", "-q"]);
    assert_eq!((quiet.code, quiet.stdout.as_str()), (Some(1), ""));
    // A float32 is shown with the digits that it has.
    let folder = both(&numbers(&[0.1]), &numbers(&[0.2]));
    let shown = folder.run(&["diff", "a.npy", "b.npy"]).stdout;
    assert!(shown.contains("first at [0]: 0.1 and 0.2 ("), "{shown}");
}

fn arrays_of_one_file_only() {
    let folder = Folder::new();
    let x = counting(2, 3);
    folder.file("a.npz", stored(&[("x.npy", &x), ("old.npy", &x)]));
    folder.file("b.npz", stored(&[("new.npy", &x), ("x.npy", &x)]));
    let found = diff(&folder, 1, &["a.npz", "b.npz"]);
    assert_eq!(
        found["differences"],
        json!([{"kind": "only_in_a", "name": "old"}, {"kind": "only_in_b", "name": "new"}])
    );
    assert_eq!(found["compared"], 1);
    let shown = folder.run(&["diff", "a.npz", "b.npz"]).stdout;
    assert!(shown.contains("old: only in a.npz\nnew: only in b.npz\n"), "{shown}");
}

fn shapes_and_element_types() {
    let found = difference(&counting(2, 3), &counting(3, 2), &[]);
    assert_eq!(found, json!({"kind": "shape", "name": "a", "a": [2, 3], "b": [3, 2]}));
    let doubles: Vec<u8> = [1.0_f64, 2.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    let (a, b) = (numbers(&[1.0, 2.0]), npy("'<f8'", false, "(2,)", &doubles));
    let found = difference(&a, &b, &[]);
    assert_eq!(found, json!({"kind": "dtype", "name": "a", "a": "float32", "b": "float64"}));
    equal(&a, &b, &["--ignore-dtype"]);
    // Both are told: the type, and what it changed.
    let found = diff(&both(&numbers(&[1.0, 2.5]), &b), 1, &["a.npy", "b.npy"]);
    assert_eq!(found["differences"][0]["kind"], "dtype");
    assert_eq!(found["differences"][1]["first"]["index"], json!([1]));
}

fn tolerances() {
    let (a, b) = (numbers(&[100.0, 1.0]), numbers(&[101.0, 1.5]));
    assert_eq!(difference(&a, &b, &["--atol", "0.6"])["different"], 1);
    assert_eq!(difference(&a, &b, &["--rtol", "0.01"])["first"]["index"], json!([1]));
    equal(&a, &b, &["--rtol", "0.01", "--atol", "0.5"]);
    let folder = both(&a, &b);
    for wrong in ["-1", "nan", "inf", "much"] {
        let args = ["diff", "a.npy", "b.npy", &format!("--rtol={wrong}")];
        folder.fail(2, &args, &["is not a tolerance", "1e-5"]);
    }
}

fn nan_and_infinity() {
    let (nan, infinite) = (f32::NAN, f32::INFINITY);
    // Another bit pattern is a NaN all the same.
    let other = f32::from_bits(nan.to_bits() ^ 0x8000_0001);
    let (a, b) = (numbers(&[nan, infinite, -0.0]), numbers(&[other, infinite, 0.0]));
    equal(&a, &b, &[]);
    assert_eq!(difference(&a, &b, &["--nan-differs"])["different"], 1);
    assert_eq!(difference(&a, &a, &["--nan-differs"])["first"]["a"], "NaN");
    let found = difference(&numbers(&[nan, 1.0]), &numbers(&[1.0, -infinite]), &["--atol", "9"]);
    assert_eq!(found["different"], 2);
    assert_eq!(found["worst"]["absolute"], "inf");
    assert_eq!((&found["first"]["a"], &found["first"]["b"]), (&json!("NaN"), &json!(1.0)));
}

fn integers_are_compared_exactly() {
    let large = (1_u64 << 63) + 1;
    let a = npy("'<u8'", false, "(2,)", &[large.to_le_bytes(), 5_u64.to_le_bytes()].concat());
    let b = npy("'<u8'", false, "(2,)", &[(large - 1).to_le_bytes(), 5_u64.to_le_bytes()].concat());
    let found = difference(&a, &b, &[]);
    assert_eq!((&found["first"]["a"], &found["first"]["b"]), (&json!(large), &json!(large - 1)));
    assert_eq!(found["first"]["absolute"], 1.0);
    let c = npy("'<i8'", false, "(2,)", &[(-5_i64).to_le_bytes(), 5_i64.to_le_bytes()].concat());
    let found = difference(&a, &c, &["--ignore-dtype"]);
    assert_eq!((&found["different"], &found["first"]["b"]), (&json!(1), &json!(-5)));
}

fn small_and_packed_and_complex_elements() {
    let folder = Folder::new();
    let header = r#"{"f4":{"dtype":"F4","shape":[2,2],"data_offsets":[0,2]},"f8":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[2,4]}}"#;
    folder.file("a.safetensors", safetensors(header, &[0x21, 0x43, 0x38, 0x40]));
    folder.file("b.safetensors", safetensors(header, &[0x21, 0x44, 0x38, 0x48]));
    let found = diff(&folder, 1, &["a.safetensors", "b.safetensors"]);
    let found = &found["differences"];
    assert_eq!(found[0]["first"]["index"], json!([1, 0]), "{found}");
    assert_eq!((&found[1]["first"]["a"], &found[1]["first"]["b"]), (&json!(2.0), &json!(4.0)));
    // Beside the same values in a type that is read in other parts.
    folder.succeed(&["convert", "a.safetensors", "c.npz", "--dtype", "f32"]);
    diff(&folder, 0, &["a.safetensors", "c.npz", "--ignore-dtype"]);
    let a = npy("'<c8'", false, "(2,)", &floats(4));
    let b = replaced(&a, &3_f32.to_le_bytes(), &7_f32.to_le_bytes());
    let found = difference(&a, &b, &[]);
    assert_eq!(
        (&found["first"]["a"], &found["first"]["b"]),
        (&json!([2.0, 3.0]), &json!([2.0, 7.0]))
    );
    assert_eq!(found["first"]["absolute"], 4.0);
}

fn orders_do_not_matter() {
    let rows = npy("'<f4'", false, "(2, 2)", &floats(4));
    let columns: Vec<u8> =
        [0_f32, 2.0, 1.0, 3.0].iter().flat_map(|one| one.to_le_bytes()).collect();
    let columns = npy("'<f4'", true, "(2, 2)", &columns);
    equal(&rows, &columns, &[]);
    let found = difference(&rows, &npy("'<f4'", true, "(2, 2)", &floats(4)), &[]);
    assert_eq!((&found["different"], &found["first"]["index"]), (&json!(2), &json!([0, 1])));
    let folder = Folder::new();
    folder.file("a.npz", deflated(&[("x.npy", &columns)]));
    folder.file("b.npz", deflated(&[("x.npy", &rows)]));
    diff(&folder, 0, &["a.npz", "b.npz"]);
}

/// Several parts are read of each, and not as many of both.
fn large_arrays_are_compared_to_their_end() {
    let count = 3_000_000;
    let bytes: Vec<u8> = (0..count).map(|index| (index % 251) as u8).collect();
    let wide: Vec<u8> = bytes.iter().flat_map(|&byte| f32::from(byte).to_le_bytes()).collect();
    let shape = format!("({count},)");
    let folder = Folder::new();
    folder.file("a.npz", deflated(&[("x.npy", &npy("'|u1'", false, &shape, &bytes))]));
    let mut wide = npy("'<f4'", false, &shape, &wide);
    folder.file("b.npz", stored(&[("x.npy", &wide)]));
    diff(&folder, 0, &["a.npz", "b.npz", "--ignore-dtype"]);
    diff(&folder, 0, &["b.npz", "a.npz", "--ignore-dtype"]);
    let last = wide.len() - 4;
    wide[last..].copy_from_slice(&999_f32.to_le_bytes());
    folder.file("b.npz", stored(&[("x.npy", &wide)]));
    let found = diff(&folder, 1, &["a.npz", "b.npz", "--ignore-dtype"]);
    assert_eq!(found["differences"][0]["worst"]["index"], json!([count - 1]));
    assert_eq!(found["differences"][0]["different"], 1);
}

fn only_chosen_arrays_are_compared() {
    let folder = Folder::new();
    let (x, y) = (counting(2, 3), counting(3, 2));
    folder.file("a.npz", stored(&[("x1.npy", &x), ("x2.npy", &x), ("y.npy", &x)]));
    folder.file("b.npz", stored(&[("x1.npy", &x), ("y.npy", &y)]));
    diff(&folder, 0, &["a.npz", "b.npz", "--name", "x1"]);
    let found = diff(&folder, 1, &["a.npz", "b.npz", "--name", "x*"]);
    assert_eq!(found["differences"], json!([{"kind": "only_in_a", "name": "x2"}]));
    folder.fail(2, &["diff", "a.npz", "b.npz", "--name", "z"], &["neither file", "do:"]);
}

fn arrays_without_a_name() {
    let folder = both(&counting(2, 3), &counting(2, 3));
    diff(&folder, 0, &["a.npy", "b.npy"]);
    folder.file("one.npz", stored(&[("weights.npy", &counting(2, 3))]));
    diff(&folder, 0, &["a.npy", "one.npz"]);
    folder.file("two.npz", stored(&[("x.npy", &counting(2, 3)), ("y.npy", &counting(3, 2))]));
    folder.fail(2, &["diff", "two.npz", "a.npy"], &["one file has 2 arrays", "no name", "--name"]);
    diff(&folder, 0, &["a.npy", "two.npz", "--name", "x"]);
    let found = diff(&folder, 1, &["a.npy", "two.npz", "--name", "y"]);
    assert_eq!(found["differences"][0]["name"], "y");
}

fn arrays_without_elements() {
    let folder = Folder::new();
    let empty = npy("'<f4'", false, "(0, 3)", &[]);
    let (two, three) = (numbers(&[0.0, 1.0]), numbers(&[0.0, 1.0, 2.0]));
    let members = [("a.npy", &two[..]), ("b.npy", &empty), ("c.npy", &three)];
    folder.file("a.npz", stored(&members));
    folder.file("b.npz", deflated(&members));
    for pair in [["a.npz", "b.npz"], ["b.npz", "a.npz"], ["a.npz", "a.npz"]] {
        assert_eq!(diff(&folder, 0, &pair)["compared"], 3);
    }
    folder.file("one.npy", &empty);
    folder.file("one.npz", stored(&[("x.npy", &empty)]));
    diff(&folder, 0, &["one.npy", "one.npz"]);
    diff(&folder, 0, &["one.npz", "one.npy"]);
}

fn raw_elements_are_compared_as_bytes() {
    let raw = |fortran: bool, bytes: &[u8]| npy("'|V2'", fortran, "(2, 2)", bytes);
    let a = raw(false, &[1, 2, 3, 4, 5, 6, 7, 8]);
    equal(&a, &a, &[]);
    let found = difference(&a, &raw(false, &[1, 2, 3, 4, 5, 9, 7, 0]), &[]);
    assert_eq!(found["kind"], "values");
    // The last number is which byte of the element.
    assert_eq!(found["first"]["index"], json!([1, 0, 1]));
    assert_eq!((&found["first"]["a"], &found["first"]["b"]), (&json!(6), &json!(9)));
    assert_eq!(found["worst"]["index"], json!([1, 1, 1]));
    assert_eq!(found["different"], 2);
    // The order that they lie in is no difference, nor is how they are stored.
    let b = raw(true, &[1, 2, 5, 6, 3, 4, 7, 8]);
    equal(&a, &b, &[]);
    let folder = both(&a, &b);
    folder.file("a.npz", deflated(&[("x.npy", &a)]));
    folder.file("b.npz", deflated(&[("x.npy", &b)]));
    diff(&folder, 0, &["a.npz", "b.npz"]);
    diff(&folder, 0, &["b.npz", "a.npz"]);
    let records = npy("[('k', '|u1'), ('w', '|V2')]", false, "(2,)", &[7, 1, 2, 7, 3, 4]);
    folder.file("records.npy", &records);
    folder.file("w.npz", stored(&[("w.npy", &npy("'|V2'", false, "(2,)", &[1, 2, 3, 4]))]));
    diff(&folder, 0, &["records.npy", "w.npz", "--name", "w"]);

    // Beside numbers the type is a difference, and bytes are what can be compared.
    let numbers = npy("'<u2'", false, "(2, 2)", &[1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(difference(&a, &numbers, &[])["kind"], "dtype");
    equal(&a, &numbers, &["--ignore-dtype"]);
    let wide = npy("'|V4'", false, "(2, 2)", &[0; 16]);
    assert_eq!(difference(&a, &wide, &[])["kind"], "dtype");
    assert_eq!(difference(&a, &wide, &["--ignore-dtype"])["kind"], "dtype");
}

fn what_cannot_be_compared() {
    let folder = Folder::new();
    let (x, text) = (counting(2, 3), npy("'<U2'", false, "(2,)", &[0; 16]));
    folder.file("a.npz", stored(&[("x.npy", &x), ("t.npy", &text)]));
    folder.file("b.npz", stored(&[("x.npy", &x)]));
    folder.fail(2, &["diff", "a.npz", "none.npz"], &["compare a.npz with none.npz", "none.npz"]);
    folder.fail(2, &["diff", "a.npz", "b.npz"], &["a.npz", "\"t.npy\"", "--skip-unsupported"]);
    let found = diff(&folder, 0, &["a.npz", "b.npz", "--skip-unsupported"]);
    assert_eq!(
        (&found["skipped"][0]["file"], &found["skipped"][0]["name"]),
        (&json!("a.npz"), &json!("t"))
    );
    let shown = folder.succeed(&["diff", "a.npz", "b.npz", "--skip-unsupported"]).stdout;
    assert!(shown.contains("not compared, in a.npz: the member \"t.npy\": "), "{shown}");
    // Damage is found while the elements are read, on either side.
    let large = npy("'|u1'", false, "(9000000,)", &vec![7; 9_000_000]);
    folder.file("whole.npz", deflated(&[("x.npy", &large)]));
    let mut damaged = deflated(&[("x.npy", &large)]);
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0x10;
    folder.file("damaged.npz", damaged);
    for pair in [["whole.npz", "damaged.npz"], ["damaged.npz", "whole.npz"]] {
        folder.fail(2, &[&["diff"], &pair[..]].concat(), &["the array \"x\""]);
    }
}
