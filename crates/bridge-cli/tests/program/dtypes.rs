//! Casts: on request only, and never with a silent change of a value.

use crate::support::{Folder, floats, npy, safetensors, stored};

crate::support::cases! {
    a_cast_is_a_copy,
    a_cast_under_copy_never_is_refused,
    values_that_do_not_fit,
    a_value_that_does_not_fit_far_into_the_file,
    casts_that_lose_a_part_are_refused,
    element_types_by_every_name_that_numpy_reads,
    of_several_arrays_those_of_the_kind_are_cast,
    integers_that_a_float_lacks_are_refused,
    integers_that_every_float_has_are_cast,
    fractions_that_an_integer_lacks_are_refused,
    numbers_that_a_bool_lacks_are_refused,
    bytes_that_are_no_bool_are_not_cast,
    swapped_numbers_as_parts_of_others,
    names_cannot_forge_lines_of_the_report,
    what_is_refused_is_named_by_its_row_major_index,
    names_of_types_as_other_frameworks_write_them,
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

fn bytes_that_are_no_bool_are_not_cast() {
    let folder = Folder::new();
    folder.file("rows.npy", npy("'|b1'", false, "(2, 2)", &[0, 1, 2, 1]));
    folder.file("columns.npy", npy("'|b1'", true, "(2, 2)", &[0, 1, 2, 1]));
    for file in ["rows.npy", "columns.npy"] {
        folder.fail(1, &["convert", file, "b.npy", "--dtype", "f32"], &["2", "bool"]);
    }
    folder.file("right.npy", npy("'|b1'", true, "(1, 2)", &[0, 1]));
    folder.succeed(&["convert", "right.npy", "b.npy", "--dtype", "f32"]);
}

/// As NumPy's `view` has them: the bytes of each number are swapped, and no parts change places.
fn swapped_numbers_as_parts_of_others() {
    let folder = Folder::new();
    folder.file(
        "f8.npy",
        npy("'>f8'", false, "(1,)", &[1.0_f32, 2.0].map(f32::to_be_bytes).concat()),
    );
    folder.succeed(&["convert", "f8.npy", "c8.npy", "--as", "c64"]);
    let parts = [1.0_f32, 2.0].map(f32::to_le_bytes).concat();
    assert_eq!(folder.read("c8.npy"), npy("'<c8'", false, "(1,)", &parts));
    folder.file("c8.npy", npy("'>c8'", false, "(1,)", &1.5_f64.to_be_bytes()));
    folder.succeed(&["convert", "c8.npy", "f8.npy", "--as", "f64"]);
    assert_eq!(folder.read("f8.npy"), npy("'<f8'", false, "(1,)", &1.5_f64.to_le_bytes()));
}

fn names_cannot_forge_lines_of_the_report() {
    let folder = Folder::new();
    let header = r#"{"x\n  OUT: \u001b[31m":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},"w":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}}"#;
    folder.file("a.safetensors", safetensors(header, &[0; 12]));
    let ran = folder.succeed(&["convert", "a.safetensors", "b.safetensors", "--dtype", "f16"]);
    assert!(ran.stdout.contains("not cast") && !ran.stdout.contains(['\u{1b}']), "{ran:?}");
    assert!(!ran.stdout.contains("\n  OUT"), "{ran:?}");
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
    let said = folder.run(&args).stderr;
    assert!(!said.contains("Overflow::"), "the program's own options are named: {said}");
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
        [("'<f3'", "floating-point numbers of this size"), ("'<f16'", "extended precision")]
    {
        folder.file("a.npy", npy(descr, false, "(1,)", &[0; 16]));
        folder.fail(1, &["plan", "a.npy"], &[says]);
    }
}

/// A checkpoint: weights, counters, a mask, a transform.
fn checkpoint() -> Folder {
    let folder = Folder::new();
    let ids: Vec<u8> = (0..300_i64).flat_map(i64::to_le_bytes).collect();
    folder.file(
        "model.npz",
        stored(&[
            ("weight.npy", &npy("'<f4'", false, "(3,)", &floats(3))),
            ("half.npy", &npy("'<f2'", false, "(1,)", &[0, 0x3c])),
            ("ids.npy", &npy("'<i8'", false, "(300,)", &ids)),
            ("mask.npy", &npy("'|b1'", false, "(2,)", &[0, 1])),
            ("rotation.npy", &npy("'<c8'", false, "(1,)", &floats(2))),
        ]),
    );
    folder
}

fn dtypes(folder: &Folder, file: &str) -> Vec<String> {
    let plan = folder.succeed(&["plan", file, "--json"]).json();
    let arrays = plan["arrays"].as_array().unwrap().iter();
    let mut found: Vec<String> = arrays
        .map(|array| {
            format!("{} {}", array["name"].as_str().unwrap(), array["dtype"].as_str().unwrap())
        })
        .collect();
    found.sort();
    found
}

fn of_several_arrays_those_of_the_kind_are_cast() {
    let folder = checkpoint();
    let args = ["model.npz", "--dtype", "bf16"];
    let plan = folder.succeed(&[&["plan"][..], &args, &["--json"]].concat()).json();
    assert_eq!(plan["not_cast"], serde_json::json!(["ids", "mask", "rotation"]));
    let plan = folder.succeed(&[&["plan"][..], &args].concat()).stdout;
    assert!(plan.contains("ids: int64 [300], zero-copy, not cast"), "{plan}");
    assert!(plan.contains("not cast, as of another kind: \"ids\" (int64), \"mask\""), "{plan}");

    let args = ["convert", "model.npz", "b.safetensors", "--dtype", "bf16"];
    let report = folder.succeed(&[&args[..], &["--json"]].concat()).json();
    let mut left: Vec<&str> =
        report["not_cast"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    left.sort_unstable();
    assert_eq!(left, ["ids", "mask", "rotation"]);
    let said = folder.succeed(&args).stdout;
    assert!(said.contains("not cast, as of another kind") && said.contains("--cast-all"), "{said}");
    let wanted =
        ["half bfloat16", "ids int64", "mask bool", "rotation complex64", "weight bfloat16"];
    assert_eq!(dtypes(&folder, "b.safetensors"), wanted);

    // Integers for integers, complex numbers for what has no imaginary part yet.
    for (target, wanted) in [
        ("i32", ["half float16", "ids int32", "mask bool", "rotation complex64", "weight float32"]),
        (
            "c128",
            [
                "half complex128",
                "ids int64",
                "mask bool",
                "rotation complex128",
                "weight complex128",
            ],
        ),
    ] {
        folder.succeed(&["convert", "model.npz", "c.npz", "--dtype", target]);
        assert_eq!(dtypes(&folder, "c.npz"), wanted);
    }

    // On request everything is cast, and then everything has to fit.
    let all = ["convert", "model.npz", "c.npz", "--dtype", "c128", "--cast-all"];
    folder.succeed(&all);
    assert!(dtypes(&folder, "c.npz").iter().all(|array| array.ends_with("complex128")));
    let all = ["convert", "model.npz", "c.safetensors", "--dtype", "bf16", "--cast-all"];
    folder.fail(
        1,
        &all,
        &["the array \"ids\": element 257 is 257, and bfloat16 has no such value"],
    );
    let all = [&all[..], &["--inexact", "allow"]].concat();
    folder.fail(1, &all, &["there is no cast from complex64", "the array \"rotation\""]);
    // So is what is asked for by name, and a file's only array.
    let named = ["convert", "model.npz", "ids.safetensors", "--dtype", "bf16", "--name", "ids"];
    folder.fail(1, &named, &["element 257 is 257, and bfloat16 has no such value"]);
    folder.succeed(&["convert", "model.npz", "mask.npy", "--dtype", "f16", "--name", "mask"]);
    assert_eq!(folder.read("mask.npy"), npy("'<f2'", false, "(2,)", &[0, 0, 0, 0x3c]));
    folder.fail(2, &["plan", "model.npz", "--cast-all"], &["--dtype"]);
}

fn integers_that_a_float_lacks_are_refused() {
    let folder = Folder::new();
    let mut values: Vec<i64> = (0..300).collect();
    folder.file("a.npy", npy("'<i8'", false, "(300,)", &le(&values)));
    let args = ["convert", "a.npy", "b.npz", "--dtype", "f16"];
    folder.succeed(&args);
    let args = ["convert", "a.npy", "b.safetensors", "--dtype", "bf16"];
    folder.fail(
        1,
        &args,
        &[
            "the array \"a\": element 257 is 257, and bfloat16 has no such value",
            "8 significant bits: above 256 it lacks integers",
            "--inexact allow",
        ],
    );
    // They are none that is out of range: the rule for that does not let them pass.
    folder.fail(1, &[&args[..], &["--overflow", "saturate"]].concat(), &["element 257 is 257"]);
    let report = folder.succeed(&[&args[..], &["--inexact", "allow", "--json"]].concat()).json();
    // 257 to 299 has 22 odd numbers.
    assert_eq!((&report["inexact"], &report["arrays"][0]["inexact"]), (&22.into(), &22.into()));
    let said = folder.succeed(&[&args[..], &["--inexact", "allow"]].concat()).stdout;
    assert!(said.contains("values that the new type lacks, and that were changed: 22"), "{said}");
    let bytes = folder.read("b.safetensors");
    // The nearest, ties to even: 257 becomes 256, and 299 becomes 300.
    assert_eq!(bytes[bytes.len() - 43 * 2..][..2], [0x80, 0x43]);
    assert_eq!(bytes[bytes.len() - 2..], [0x96, 0x43]);

    // What is out of range comes first.
    values[0] = 70_000;
    folder.file("a.npy", npy("'<i8'", false, "(300,)", &le(&values)));
    let args = ["convert", "a.npy", "b.npz", "--dtype", "f16", "--inexact", "allow"];
    folder.fail(1, &args, &["element 0 is 70000, which float16 cannot hold", "out of the range"]);
    // Beyond 2^53 float64 lacks integers too.
    values[299] = (1 << 53) + 1;
    folder.file("a.npy", npy("'<i8'", false, "(300,)", &le(&values)));
    let args = ["convert", "a.npy", "b.npz", "--dtype", "f64"];
    folder.fail(1, &args, &["element 299 is 9007199254740993"]);
}

fn le(values: &[i64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn integers_that_every_float_has_are_cast() {
    let folder = Folder::new();
    folder.file("a.npy", npy("'|u1'", false, "(256,)", &Vec::from_iter(0..=255)));
    for (dtype, to) in [("bf16", "b.safetensors"), ("f16", "b.npy"), ("c64", "b.npy")] {
        folder.succeed(&["convert", "a.npy", to, "--dtype", dtype]);
    }
    folder.fail(
        1,
        &["convert", "a.npy", "b.safetensors", "--dtype", "float8_e4m3fn"],
        &["element 17 is 17, and float8_e4m3fn has no such value", "cast with --dtype float32"],
    );
}

fn fractions_that_an_integer_lacks_are_refused() {
    let folder = folder(&[1.0, -2.0, 2.5, -0.5]);
    let args = ["convert", "a.npy", "b.npy", "--dtype", "i32"];
    folder.fail(1, &args, &["element 2 is 2.5, and int32 has no such value", "--inexact allow"]);
    let report = folder.succeed(&[&args[..], &["--inexact", "allow", "--json"]].concat()).json();
    assert_eq!(report["inexact"], 2);
    let toward_zero = [1_i32, -2, 2, 0].map(i32::to_le_bytes).concat();
    assert_eq!(folder.read("b.npy"), npy("'<i4'", false, "(4,)", &toward_zero));
    // The smaller floats too.
    folder.file("h.npy", npy("'<f2'", false, "(2,)", &[0, 0x3c, 0, 0x3e]));
    folder.fail(1, &["convert", "h.npy", "b.npy", "--dtype", "i8"], &["element 1 is 1.5"]);
}

fn numbers_that_a_bool_lacks_are_refused() {
    let folder = folder(&[0.0, 1.0, 0.5]);
    let args = ["convert", "a.npy", "b.npy", "--dtype", "bool"];
    folder.fail(1, &args, &["element 2 is 0.5, and bool has no such value", "all but 0 true"]);
    folder.succeed(&[&args[..], &["--inexact", "allow"]].concat());
    assert_eq!(folder.read("b.npy"), npy("'|b1'", false, "(3,)", &[0, 1, 1]));
}

fn what_is_refused_is_named_by_its_row_major_index() {
    let folder = Folder::new();
    let mut values = [0_i64; 6];
    values[3] = 257; // of shape (2, 3) and column-major: at (1, 1)
    folder.file("a.npy", npy("'<i8'", true, "(2, 3)", &le(&values)));
    let args = ["convert", "a.npy", "b.safetensors", "--dtype", "bf16"];
    folder.fail(1, &args, &["element 4 is 257"]);
}

fn names_of_types_as_other_frameworks_write_them() {
    let folder = folder(&[1.0]);
    for (name, dtype) in [
        ("half", "float16"),
        ("float", "float32"),
        ("<f8", "float64"),
        ("torch.float64", "float64"),
    ] {
        let plan = folder.succeed(&["plan", "a.npy", "--dtype", name, "--json"]).json();
        assert_eq!(plan["dtype"], dtype, "{name}");
    }
    folder.fail(2, &["plan", "a.npy", "--dtype", "int"], &["write int32 or int64"]);
    folder.fail(2, &["plan", "a.npy", "--dtype", "flaot16"], &["did you mean float16?"]);
    // So are safetensors' own names.
    let header = r#"{"x":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[0,1]}}"#;
    folder.file("x.safetensors", safetensors(header, &[0]));
    let plan = folder.succeed(&["plan", "x.safetensors", "--dtype", "BF16", "--json"]).json();
    assert_eq!(plan["dtype"], "bfloat16");
}
