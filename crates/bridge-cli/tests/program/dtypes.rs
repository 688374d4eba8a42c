//! Casts: on request only, and never with a silent change of a value.

use crate::support::{Folder, floats, npy};

crate::support::cases! {
    a_cast_is_a_copy,
    a_cast_under_copy_never_is_refused,
    values_that_do_not_fit,
    a_value_that_does_not_fit_far_into_the_file,
    casts_that_lose_a_part_are_refused,
    element_types_by_every_name_that_numpy_reads,
    #[cfg(feature = "candle")]
    an_element_type_that_a_backend_lacks,
    #[cfg(feature = "candle")]
    copies_that_a_backend_needs_are_refused_under_copy_never,
}

fn folder(values: &[f32]) -> Folder {
    let folder = Folder::new();
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    folder.file("a.npy", npy("'<f4'", false, &format!("({},)", values.len()), &bytes));
    folder
}

fn a_cast_is_a_copy() {
    let folder = folder(&[1.0, 2.0, -3.0]);
    let args = ["convert", "a.npy", "b.npy", "--dtype", "i16", "--json"];
    let report = folder.succeed(&args).json();
    assert_eq!(report["dtype"], "int16");
    assert_eq!(report["bytes_copied"], 6);
    assert_eq!(report["zero_copy"], false);
    assert_eq!(folder.read("b.npy"), npy("'<i2'", false, "(3,)", &[1, 0, 2, 0, 0xfd, 0xff]));
}

fn a_cast_under_copy_never_is_refused() {
    let folder = folder(&[1.0]);
    let args = ["--dtype", "f64", "--copy", "never"];
    let says = ["copies are forbidden", "float32 has to be cast to float64", "--copy never"];
    folder.fail(1, &[&["convert", "a.npy", "b.npy"][..], &args].concat(), &says);
    folder.fail(1, &[&["plan", "a.npy"][..], &args].concat(), &says);
    folder.succeed(&["convert", "a.npy", "b.npy", "--copy", "never"]);
}

fn values_that_do_not_fit() {
    let folder = folder(&[1.0, 300.0, -5.0]);
    let args = ["convert", "a.npy", "b.npy", "--dtype", "uint8"];
    folder.fail(1, &args, &["the array \"a\"", "element 1 is 300", "--overflow saturate"]);
    folder.succeed(&[&args[..], &["--overflow", "saturate"]].concat());
    assert_eq!(folder.read("b.npy"), npy("'|u1'", false, "(3,)", &[1, 255, 0]));
    folder.succeed(&[&args[..], &["--overflow", "wrap"]].concat());
    assert_eq!(folder.read("b.npy"), npy("'|u1'", false, "(3,)", &[1, 44, 251]));
}

fn a_value_that_does_not_fit_far_into_the_file() {
    let folder = Folder::new();
    let mut values = floats(100);
    values[99 * 4..].copy_from_slice(&1e9_f32.to_le_bytes());
    folder.file("a.npy", npy("'<f4'", false, "(100,)", &values));
    let args = ["convert", "a.npy", "b.npy", "--dtype", "u8", "--memory-limit", "320"];
    folder.fail(1, &args, &["in the part that starts at element 80", "element 19 is"]);
}

fn casts_that_lose_a_part_are_refused() {
    let folder = Folder::new();
    folder.file("a.npy", npy("'<c8'", false, "(1,)", &[0; 8]));
    folder.fail(1, &["convert", "a.npy", "b.npy", "--dtype", "f32"], &["imaginary"]);
}

#[cfg(feature = "candle")]
fn an_element_type_that_a_backend_lacks() {
    let folder = Folder::new();
    folder.file("a.npy", npy("'<u2'", false, "(2,)", &[1, 0, 2, 0]));
    let args = ["convert", "a.npy", "b.npy", "--via", "candle"];
    folder.fail(1, &args, &["candle has no uint16", "--dtype uint32"]);
    folder.succeed(&[&args[..], &["--dtype", "uint32"]].concat());
    // A type that only the file has to have is cast to behind the backend.
    folder.file("c.npy", npy("'|u1'", false, "(2,)", &[1, 2]));
    let args = ["convert", "c.npy", "b.npy", "--via", "candle", "--dtype", "uint16", "--json"];
    let report = folder.succeed(&args).json();
    assert_eq!(report["hops"], serde_json::Value::Null);
    assert_eq!(report["arrays"][0]["hops"][1]["steps"][0], "cast");
    assert_eq!(folder.read("b.npy"), npy("'<u2'", false, "(2,)", &[1, 0, 2, 0]));
}

#[cfg(feature = "candle")]
fn copies_that_a_backend_needs_are_refused_under_copy_never() {
    let folder = folder(&[1.0]);
    let args = ["convert", "a.npy", "b.npy", "--via", "candle", "--copy", "never"];
    folder.fail(1, &args, &["candle cannot take", "Rust vectors"]);
}

fn element_types_by_every_name_that_numpy_reads() {
    let folder = Folder::new();
    for (descr, data_type, size) in [
        ("'float32'", "float32", 4),
        ("'f4'", "float32", 4),
        ("'<f'", "float32", 4),
        ("'d'", "float64", 8),
        ("'|?'", "bool", 1),
        ("'bool'", "bool", 1),
        ("'b'", "int8", 1),
        ("'=i8'", "int64", 8),
        ("'complex128'", "complex128", 16),
    ] {
        folder.file("a.npy", npy(descr, false, "(2,)", &vec![0; 2 * size]));
        let plan = folder.succeed(&["plan", "a.npy", "--json"]).json();
        assert_eq!(plan["arrays"][0]["dtype"], data_type, "{descr}");
    }
    for (descr, says) in
        [("'<f1'", "floating-point numbers of this size"), ("'<f16'", "extended precision")]
    {
        folder.file("a.npy", npy(descr, false, "(1,)", &[0; 16]));
        folder.fail(1, &["plan", "a.npy"], &[says]);
    }
}
