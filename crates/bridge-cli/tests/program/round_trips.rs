//! What goes from format to format comes back bit by bit.

use crate::support::{Folder, counting, deflated, floats, noise, npy, safetensors, stored};

crate::support::cases! {
    every_element_type_through_every_format,
    complex128_which_safetensors_lacks,
    every_element_type_of_safetensors,
    bfloat16_into_npy_on_request,
    column_major_arrays_stay_so_where_they_can,
    #[cfg(all(feature = "ndarray", feature = "candle"))]
    through_the_frameworks_nothing_changes,
    names_and_all_arrays_are_kept,
    files_without_arrays,
    what_a_safetensors_file_says_of_itself_is_kept,
    metadata_that_the_new_format_does_not_keep_is_told,
    a_file_is_the_same_however_often_it_is_written,
    arrays_without_elements_come_in_the_same_order_each_time,
    npyz_reads_what_is_written,
    safetensors_reads_what_is_written,
}

/// `descr`, bytes of an element, and the type's name; all that NumPy and safetensors both have.
const SHARED: [(&str, usize, &str); 13] = [
    ("'|b1'", 1, "bool"),
    ("'|i1'", 1, "int8"),
    ("'<i2'", 2, "int16"),
    ("'<i4'", 4, "int32"),
    ("'<i8'", 8, "int64"),
    ("'|u1'", 1, "uint8"),
    ("'<u2'", 2, "uint16"),
    ("'<u4'", 4, "uint32"),
    ("'<u8'", 8, "uint64"),
    ("'<f2'", 2, "float16"),
    ("'<f4'", 4, "float32"),
    ("'<f8'", 8, "float64"),
    ("'<c8'", 8, "complex64"),
];

fn elements(count: usize, size: usize, descr: &str) -> Vec<u8> {
    let mut bytes = noise(count * size);
    if descr == "'|b1'" {
        bytes.iter_mut().for_each(|byte| *byte &= 1);
    }
    bytes
}

fn every_element_type_through_every_format() {
    for (descr, size, name) in SHARED {
        for (shape, count) in [("()", 1), ("(0, 3)", 0), ("(7,)", 7), ("(2, 3, 5)", 30)] {
            let folder = Folder::new();
            let array = npy(descr, false, shape, &elements(count, size, descr));
            folder.file("a.npy", &array);
            let ran = folder.succeed(&["convert", "a.npy", "b.safetensors", "--json"]);
            assert_eq!(ran.json()["dtype"], name);
            folder.succeed(&["convert", "b.safetensors", "c.npz"]);
            folder.succeed(&["convert", "c.npz", "d.npy"]);
            assert!(folder.read("d.npy") == array, "{name} {shape}");
        }
    }
}

fn complex128_which_safetensors_lacks() {
    let folder = Folder::new();
    let array = npy("'<c16'", false, "(3,)", &noise(48));
    folder.file("a.npy", &array);
    folder.succeed(&["convert", "a.npy", "b.npz"]);
    folder.succeed(&["convert", "b.npz", "c.npy"]);
    assert_eq!(folder.read("c.npy"), array);
    folder.fail(1, &["convert", "a.npy", "d.safetensors"], &["complex128", "write to a .npz file"]);
}

fn every_element_type_of_safetensors() {
    for (dtype, name, shape, bytes) in [
        ("BF16", "bfloat16", "[2,3]", 12),
        ("F8_E4M3", "float8_e4m3fn", "[5]", 5),
        ("F8_E5M2", "float8_e5m2", "[5]", 5),
        ("F8_E8M0", "float8_e8m0fnu", "[5]", 5),
        ("F8_E4M3FNUZ", "float8_e4m3fnuz", "[5]", 5),
        ("F8_E5M2FNUZ", "float8_e5m2fnuz", "[5]", 5),
        ("F6_E2M3", "float6_e2m3fn", "[3,8]", 18),
        ("F6_E3M2", "float6_e3m2fn", "[4]", 3),
        ("F4", "float4_e2m1fn", "[3,6]", 9),
        ("C64", "complex64", "[2]", 16),
    ] {
        let folder = Folder::new();
        let header =
            format!(r#"{{"x":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[0,{bytes}]}}}}"#);
        let elements = noise(bytes);
        folder.file("a.safetensors", safetensors(&header, &elements));
        for limit in ["16", "1GiB"] {
            let args =
                ["convert", "a.safetensors", "b.safetensors", "--json", "--memory-limit", limit];
            let report = folder.succeed(&args).json();
            assert_eq!(report["dtype"], name);
            assert!(folder.read("b.safetensors").ends_with(&elements), "{name}");
        }
        if dtype != "C64" {
            folder.fail(
                1,
                &["convert", "a.safetensors", "b.npy"],
                &[name, ".npy files cannot store"],
            );
        }
    }
}

fn bfloat16_into_npy_on_request() {
    let folder = Folder::new();
    let header = r#"{"x":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}"#;
    folder.file("a.safetensors", safetensors(header, &[0x80, 0x3f, 0x00, 0xc0]));
    folder.fail(1, &["convert", "a.safetensors", "b.npy"], &["--dtype float32", ".safetensors"]);
    folder.succeed(&["convert", "a.safetensors", "b.npy", "--dtype", "float32"]);
    let wanted: Vec<u8> = [1.0_f32, -2.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    assert_eq!(folder.read("b.npy"), npy("'<f4'", false, "(2,)", &wanted));
}

fn column_major_arrays_stay_so_where_they_can() {
    let folder = Folder::new();
    let columns = npy("'<f4'", true, "(3, 2)", &floats(6));
    folder.file("a.npy", &columns);
    for limit in ["8", "1GiB"] {
        let limit = ["--memory-limit", limit];
        folder.succeed(&[&["convert", "a.npy", "b.npz"][..], &limit].concat());
        folder.succeed(&[&["convert", "b.npz", "c.npy"][..], &limit].concat());
        assert_eq!(folder.read("c.npy"), columns);
        folder.file("z.npz", deflated(&[("a.npy", &columns)]));
        for input in ["a.npy", "b.npz", "z.npz"] {
            folder.succeed(&[&["convert", input, "d.safetensors"][..], &limit].concat());
            folder.succeed(&["convert", "d.safetensors", "e.npy"]);
            let rows: Vec<u8> =
                [0_f32, 3.0, 1.0, 4.0, 2.0, 5.0].iter().flat_map(|v| v.to_le_bytes()).collect();
            assert_eq!(folder.read("e.npy"), npy("'<f4'", false, "(3, 2)", &rows), "{input}");
        }
    }
}

#[cfg(all(feature = "ndarray", feature = "candle"))]
fn through_the_frameworks_nothing_changes() {
    for (shape, fortran_order) in
        [("()", false), ("(0, 3)", false), ("(4, 5)", false), ("(4, 5)", true), ("(2, 3, 4)", true)]
    {
        let folder = Folder::new();
        let count = match shape {
            "()" => 1,
            "(0, 3)" => 0,
            "(4, 5)" => 20,
            _ => 24,
        };
        let array = npy("'<f4'", fortran_order, shape, &floats(count));
        folder.file("a.npy", &array);
        for via in
            ["ndarray", "candle", "ndarray,candle", "candle,ndarray,candle", "ND, Candle-Core"]
        {
            for copy in ["if-needed", "always"] {
                let args = ["convert", "a.npy", "b.npy", "--via", via, "--copy", copy];
                folder.succeed(&args);
                assert_eq!(folder.read("b.npy"), array, "{shape} {via} {copy}");
            }
        }
    }
}

fn names_and_all_arrays_are_kept() {
    let folder = Folder::new();
    let (x, y, z) = (
        counting(2, 3),
        npy("'<f8'", false, "(2,)", &noise(16)),
        npy("'|u1'", false, "(3,)", b"abc"),
    );
    let arrays: [(&str, &[u8]); 3] =
        [("bytes.npy", &z), ("layer/weight.npy", &y), ("模型.npy", &x)];
    folder.file("a.npz", stored(&arrays));
    folder.file("z.npz", deflated(&arrays));
    for input in ["a.npz", "z.npz"] {
        folder.succeed(&["convert", input, "b.safetensors"]);
        folder.succeed(&["convert", "b.safetensors", "c.npz"]);
        for (name, bytes) in [("bytes", &z), ("layer/weight", &y), ("模型", &x)] {
            folder.succeed(&["convert", "c.npz", "d.npy", "--name", name]);
            assert_eq!(&folder.read("d.npy"), bytes, "{name}");
        }
    }
}

fn files_without_arrays() {
    let folder = Folder::new();
    folder.file("a.npz", stored(&[]));
    folder.file("a.safetensors", safetensors("{}", &[]));
    for input in ["a.npz", "a.safetensors"] {
        folder.succeed(&["plan", input]);
        let report = folder.succeed(&["convert", input, "b.safetensors", "--json"]).json();
        assert_eq!(report["arrays"].as_array().unwrap().len(), 0);
        folder.succeed(&["convert", "b.safetensors", "c.npz"]);
        folder.fail(2, &["convert", input, "b.npy"], &["has 0 arrays"]);
    }
}

fn what_a_safetensors_file_says_of_itself_is_kept() {
    let folder = Folder::new();
    folder.file("a.safetensors", safetensors(r#"{"__metadata__":{"format":"pt"}}"#, &[]));
    folder.succeed(&["convert", "a.safetensors", "b.safetensors"]);
    let text = String::from_utf8_lossy(&folder.read("b.safetensors")[8..]).into_owned();
    assert_eq!(text.trim_end(), r#"{"__metadata__":{"format":"pt"}}"#);
}

fn metadata_that_the_new_format_does_not_keep_is_told() {
    let folder = Folder::new();
    let header = r#"{"__metadata__":{"made by":"me","format":"pt"},"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
    folder.file("a.safetensors", safetensors(header, &floats(2)));
    let formats: &[&str] =
        if cfg!(feature = "pt") { &["npy", "npz", "pt"] } else { &["npy", "npz"] };
    for format in formats {
        let convert = ["convert", "a.safetensors", &format!("b.{format}")];
        let line = format!("metadata, which no .{format} file keeps: \"format\", \"made by\"");
        let told = folder.succeed(&convert).stdout;
        assert!(told.lines().any(|it| it.trim() == line), "{format}: {told}");
        let report = folder.succeed(&[&convert[..], &["--json"]].concat()).json();
        assert_eq!(report["remarks"], serde_json::json!([line]), "{format}");
    }
    let told = folder.succeed(&["convert", "a.safetensors", "b.safetensors"]).stdout;
    assert!(!told.contains("metadata"), "{told}");
}

/// A reader that is not ours finds the same.
fn a_file_is_the_same_however_often_it_is_written() {
    let folder = Folder::new();
    let notes: Vec<String> = (0..20).map(|note| format!("\"note {note}\":\"{note}\"")).collect();
    let header = format!(
        r#"{{"__metadata__":{{{}}},"x":{{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}}}"#,
        notes.join(",")
    );
    folder.file("a.safetensors", safetensors(&header, &floats(2)));
    folder.succeed(&["convert", "a.safetensors", "b.safetensors"]);
    folder.succeed(&["convert", "b.safetensors", "c.safetensors"]);
    assert!(folder.read("b.safetensors") == folder.read("c.safetensors"), "in another order");
}

fn arrays_without_elements_come_in_the_same_order_each_time() {
    let folder = Folder::new();
    let empty = |name| format!(r#""{name}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}"#);
    let header = format!("{{{}}}", ["e", "c", "a", "d", "b", "f"].map(empty).join(","));
    folder.file("a.safetensors", safetensors(&header, &[]));
    let found = folder.succeed(&["info", "a.safetensors", "--json"]).json();
    let arrays = found["files"][0]["arrays"].as_array().unwrap().clone();
    let names: Vec<_> = arrays.iter().filter_map(|array| array["name"].as_str()).collect();
    assert_eq!(names, ["a", "b", "c", "d", "e", "f"]);
}

fn npyz_reads_what_is_written() {
    let folder = Folder::new();
    folder.file("a.npy", npy("'<f4'", true, "(3, 2)", &floats(6)));
    folder.succeed(&["convert", "a.npy", "b.npz"]);
    folder.succeed(&["convert", "b.npz", "c.npy"]);
    let bytes = folder.read("c.npy");
    let file = npyz::NpyFile::new(&bytes[..]).unwrap();
    assert_eq!((file.shape(), file.order()), (&[3, 2][..], npyz::Order::Fortran));
    let values: Vec<f32> = file.into_vec().unwrap();
    assert_eq!(values, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
}

fn safetensors_reads_what_is_written() {
    let folder = Folder::new();
    let (x, y) = (counting(2, 3), npy("'|u1'", false, "(3,)", b"abc"));
    folder.file("a.npz", stored(&[("y.npy", &y), ("x.npy", &x)]));
    folder.succeed(&["convert", "a.npz", "b.safetensors"]);
    let bytes = folder.read("b.safetensors");
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(file.tensor("x").unwrap().shape(), [2, 3]);
    assert_eq!(file.tensor("x").unwrap().data(), floats(6));
    assert_eq!(file.tensor("y").unwrap().data(), b"abc");
}
