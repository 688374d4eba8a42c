//! Element types that NumPy writes and that are not read where they lie: of the other byte order, and raw
//! bytes.

use std::process::Command;

use crate::support::{Folder, deflated, floats, noise, npy, stored};

crate::support::cases! {
    numbers_of_the_other_byte_order,
    the_swap_is_a_copy_and_said,
    swapped_numbers_in_many_windows,
    raw_bytes_as_bfloat16,
    raw_bytes_of_several_arrays,
    any_bytes_as_another_type_of_their_size,
    types_that_do_not_fit_the_bytes,
    float8_e5m2_which_numpy_calls_f1,
    fields_of_records_are_arrays_of_their_own,
    records_within_records_and_the_space_between_fields,
    fields_in_many_windows,
    fields_that_cannot_be_named_or_read,
    types_with_notes_as_h5py_makes_them,
    names_of_fields_as_numpy_writes_them,
    names_of_fields_that_are_no_text,
    names_of_fields_longer_than_any_memory,
    records_of_too_many_fields_or_axes,
    records_as_python_writes_them,
}

/// The bytes of each number in reverse.
fn reversed(bytes: &[u8], size: usize) -> Vec<u8> {
    bytes.chunks(size).flat_map(|number| number.iter().rev().copied()).collect()
}

/// Numbers of each type, `descr` without its order, bytes of a number, bytes of an element.
const TYPES: [(&str, usize, usize); 11] = [
    ("i2", 2, 2),
    ("i4", 4, 4),
    ("i8", 8, 8),
    ("u2", 2, 2),
    ("u4", 4, 4),
    ("u8", 8, 8),
    ("f2", 2, 2),
    ("f4", 4, 4),
    ("f8", 8, 8),
    ("c8", 4, 8),
    ("c16", 8, 16),
];

fn numbers_of_the_other_byte_order() {
    let folder = Folder::new();
    for (kind, number, size) in TYPES {
        for (fortran_order, shape, count) in
            [(false, "(7,)", 7), (true, "(2, 3)", 6), (false, "()", 1), (false, "(0, 2)", 0)]
        {
            let bytes = noise(count * size);
            let little = npy(&format!("'<{kind}'"), fortran_order, shape, &bytes);
            let big = npy(&format!("'>{kind}'"), fortran_order, shape, &reversed(&bytes, number));
            folder.file("little.npy", &little);
            folder.file("big.npy", &big);
            folder.file("stored.npz", stored(&[("x.npy", &big)]));
            folder.file("deflated.npz", deflated(&[("x.npy", &big)]));
            for from in ["big.npy", "stored.npz", "deflated.npz"] {
                folder.succeed(&["convert", from, "out.npy"]);
                assert!(folder.read("out.npy") == little, "{kind} {shape} of {from}");
                if kind == "c16" {
                    continue; // which safetensors lacks
                }
                // Written row-major, whatever the order it is read in.
                folder.succeed(&["convert", from, "out.safetensors", "--name", "x"]);
                folder.succeed(&["convert", "little.npy", "wanted.safetensors", "--name", "x"]);
                let same = folder.read("out.safetensors") == folder.read("wanted.safetensors");
                assert!(same, "{kind} {shape} of {from}");
            }
        }
    }
    // Numbers of one byte have no order.
    folder.file("one.npy", npy("'>u1'", false, "(2,)", &[1, 2]));
    let plan = folder.succeed(&["plan", "one.npy", "--json"]).json();
    assert_eq!((&plan["dtype"], &plan["zero_copy"]), (&"uint8".into(), &true.into()));
}

fn the_swap_is_a_copy_and_said() {
    let folder = Folder::new();
    folder.file("a.npy", npy("'>f4'", false, "(3,)", &reversed(&floats(3), 4)));
    let plan = folder.succeed(&["plan", "a.npy"]).stdout;
    assert!(plan.contains("byte order swapped"), "{plan}");
    let plan = folder.succeed(&["plan", "a.npy", "--json"]).json();
    let report = folder.succeed(&["convert", "a.npy", "b.npz", "--json"]).json();
    for said in [&plan, &report] {
        assert_eq!(said["steps"][0], "swap", "{said}");
        assert_eq!((&said["bytes_copied"], &said["zero_copy"]), (&12.into(), &false.into()));
        assert_eq!(said["arrays"][0]["byte_order"], "swapped");
    }
    let said = folder.succeed(&["convert", "a.npy", "b.npz"]).stdout;
    assert!(said.contains("byte order swapped"), "{said}");
    let never = ["convert", "a.npy", "c.npz", "--copy", "never"];
    folder.fail(1, &never, &["copies are forbidden", "other byte order", "--copy never"]);
    // Casts come behind it.
    folder.succeed(&["convert", "a.npy", "c.npy", "--dtype", "i16"]);
    assert_eq!(folder.read("c.npy"), npy("'<i2'", false, "(3,)", &[0, 0, 1, 0, 2, 0]));
    if cfg!(feature = "ndarray") {
        folder.succeed(&["convert", "a.npy", "c.npy", "--via", "ndarray"]);
        assert_eq!(folder.read("c.npy"), npy("'<f4'", false, "(3,)", &floats(3)));
    }
}

fn swapped_numbers_in_many_windows() {
    let folder = Folder::new();
    let bytes = noise(30 * 50 * 8);
    for fortran_order in [false, true] {
        let big = npy("'>f8'", fortran_order, "(30, 50)", &reversed(&bytes, 8));
        folder.file("little.npy", npy("'<f8'", fortran_order, "(30, 50)", &bytes));
        folder.file("big.npy", &big);
        folder.file("big.npz", deflated(&[("little.npy", &big)]));
        for to in ["npy", "safetensors"] {
            let (out, wanted) = (format!("out.{to}"), format!("wanted.{to}"));
            folder.succeed(&["convert", "little.npy", &wanted]);
            for from in ["big.npy", "big.npz"] {
                let limit = ["--memory-limit", "1000", "--name", "little", "--json"];
                let args = [&["convert", from, &out][..], &limit].concat();
                let report = folder.succeed(&args).json();
                assert!(report["arrays"][0]["windows"].as_u64().unwrap() > 10, "{report}");
                assert_eq!(report["bytes_copied"].as_u64().unwrap() / 12_000, 1, "{report}");
                assert!(report["memory_peak"].as_u64().unwrap() <= 1000, "{report}");
                assert!(folder.read(&out) == folder.read(&wanted), "{from} to {to}");
            }
        }
    }
}

fn raw_bytes_as_bfloat16() {
    let folder = Folder::new();
    folder.file("a.npy", npy("'<V2'", false, "(2,)", &[0x80, 0x3f, 0xc0, 0x3f]));
    let args = ["convert", "a.npy", "b.npy", "--dtype", "f32"];
    let says = ["the array \"a\": elements of 2 bytes each", "ml_dtypes", "do:", "--as bfloat16"];
    folder.fail(1, &args, &says);
    folder.fail(1, &["plan", "a.npy"], &says);
    assert!(folder.succeed(&["info", "a.npy"]).stdout.contains("raw bytes, see --as"));
    folder.succeed(&[&args[..], &["--as", "bfloat16"]].concat());
    let values = [1.0_f32, 1.5].map(f32::to_le_bytes).concat();
    assert_eq!(folder.read("b.npy"), npy("'<f4'", false, "(2,)", &values));
    // Nothing is copied: the bytes are what they were.
    let args = ["convert", "a.npy", "b.safetensors", "--as", "bf16", "--copy", "never", "--json"];
    let report = folder.succeed(&args).json();
    assert_eq!((&report["dtype"], &report["zero_copy"]), (&"bfloat16".into(), &true.into()));
    assert!(folder.read("b.safetensors").ends_with(&[0x80, 0x3f, 0xc0, 0x3f]));
}

fn raw_bytes_of_several_arrays() {
    let folder = Folder::new();
    let archive = stored(&[
        ("weight.npy", &npy("'<V2'", false, "(1,)", &[0x80, 0x3f])),
        ("small.npy", &npy("'|V1'", false, "(1,)", &[0x38])),
        ("ids.npy", &npy("'<u2'", false, "(1,)", &[7, 0])),
    ]);
    folder.file("a.npz", archive);
    let args = ["convert", "a.npz", "b.safetensors", "--as", "bfloat16,float8_e4m3fn"];
    folder.succeed(&args);
    let plan = folder.succeed(&["plan", "b.safetensors", "--json"]).json();
    let arrays = plan["arrays"].as_array().unwrap();
    let found: Vec<&str> = arrays.iter().map(|array| array["dtype"].as_str().unwrap()).collect();
    assert_eq!(found.len(), 3);
    for dtype in ["bfloat16", "float8_e4m3fn", "uint16"] {
        assert!(found.contains(&dtype), "{found:?}");
    }
    let args = ["convert", "a.npz", "b.safetensors", "--as", "bfloat16"];
    folder.fail(2, &args, &["the array \"small\"", "1 byte each", "bfloat16 has 2"]);
    let args = ["convert", "a.npz", "b.safetensors", "--as", "bfloat16,float16"];
    folder.fail(2, &args, &["elements of 2 bytes could be either"]);
    // What is left out is not asked.
    folder.succeed(&["convert", "a.npz", "b.npy", "--name", "ids"]);
}

fn any_bytes_as_another_type_of_their_size() {
    let folder = Folder::new();
    folder.file("a.npy", npy("'<u2'", false, "(1,)", &[0x80, 0x3f]));
    folder.succeed(&["convert", "a.npy", "b.npy", "--as", "bfloat16", "--dtype", "f32"]);
    assert_eq!(folder.read("b.npy"), npy("'<f4'", false, "(1,)", &1_f32.to_le_bytes()));
    // Of the other byte order they are swapped first.
    folder.file("a.npy", npy("'>u2'", false, "(1,)", &[0x3f, 0x80]));
    folder.succeed(&["convert", "a.npy", "b.npy", "--as", "bfloat16", "--dtype", "f32"]);
    assert_eq!(folder.read("b.npy"), npy("'<f4'", false, "(1,)", &1_f32.to_le_bytes()));
    let two = stored(&[
        ("x.npy", &npy("'<u2'", false, "(0,)", &[])),
        ("y.npy", &npy("'<u2'", false, "(0,)", &[])),
    ]);
    folder.file("two.npz", two);
    folder.fail(2, &["plan", "two.npz", "--as", "bfloat16"], &["none of the arrays", "--name"]);
    folder.succeed(&["plan", "two.npz", "--as", "bfloat16", "--name", "x"]);
}

fn types_that_do_not_fit_the_bytes() {
    let folder = Folder::new();
    folder.file("a.npy", npy("'<f4'", false, "(1,)", &[0; 4]));
    let says =
        ["elements of float32, which have 4 bytes each", "bfloat16 has 2", "--as changes no bytes"];
    folder.fail(2, &["convert", "a.npy", "b.npy", "--as", "bfloat16"], &says);
    let says = ["--as float4_e2m1fn", "share a byte"];
    folder.fail(2, &["convert", "a.npy", "b.npy", "--as", "float4_e2m1fn"], &says);
    for (size, remedy) in [(3, "arrays of their own"), (4, "--as float32"), (16, "--as complex128")]
    {
        folder.file("a.npy", npy(&format!("'|V{size}'"), false, "(1,)", &vec![0; size]));
        folder.fail(1, &["plan", "a.npy"], &[remedy]);
    }
}

fn float8_e5m2_which_numpy_calls_f1() {
    let folder = Folder::new();
    folder.file("a.npy", npy("'<f1'", false, "(1,)", &[0x3c]));
    folder.succeed(&["convert", "a.npy", "b.npy", "--dtype", "f32"]);
    assert_eq!(folder.read("b.npy"), npy("'<f4'", false, "(1,)", &1_f32.to_le_bytes()));
}

/// Each field of records of `size` bytes: its bytes at `offset` of each.
fn field(records: &[u8], size: usize, offset: usize, length: usize) -> Vec<u8> {
    records.chunks(size).flat_map(|record| record[offset..offset + length].to_vec()).collect()
}

fn fields_of_records_are_arrays_of_their_own() {
    let folder = Folder::new();
    let records = noise(4 * 10);
    let array = npy("[('x', '<f4'), ('y', '<i2', (3,))]", false, "(4,)", &records);
    folder.file("a.npy", &array);
    folder.file("stored.npz", stored(&[("m.npy", &array)]));
    folder.file("deflated.npz", deflated(&[("m.npy", &array)]));
    let x = npy("'<f4'", false, "(4,)", &field(&records, 10, 0, 4));
    let y = npy("'<i2'", false, "(4, 3)", &field(&records, 10, 4, 6));
    for (from, prefix) in [("a.npy", ""), ("stored.npz", "m."), ("deflated.npz", "m.")] {
        for (name, wanted) in [("x", &x), ("y", &y)] {
            let name = format!("{prefix}{name}");
            folder.succeed(&["convert", from, "out.npy", "--name", &name]);
            assert!(folder.read("out.npy") == *wanted, "{name} of {from}");
        }
        folder.succeed(&["convert", from, "all.npz"]);
        folder.succeed(&["convert", "all.npz", "out.npy", "--name", &format!("{prefix}y")]);
        assert!(folder.read("out.npy") == y, "{from}");
    }
    folder.fail(2, &["convert", "a.npy", "out.npy"], &["has 2 arrays", "\"x\", \"y\""]);

    let report = folder.succeed(&["plan", "a.npy", "--json"]).json();
    assert_eq!(report["arrays"][1]["steps"][0], "gather", "{report}");
    assert_eq!((&report["bytes_copied"], &report["zero_copy"]), (&40.into(), &false.into()));
    let never = ["convert", "a.npy", "c.npz", "--copy", "never"];
    folder.fail(1, &never, &["copies are forbidden", "field of records", "--copy never"]);
}

fn records_within_records_and_the_space_between_fields() {
    let folder = Folder::new();
    // Aligned as NumPy does it: a byte, three bytes of space, then a big-endian number and records.
    let descr = "[('flag', '|b1'), ('', '|V3'), ('n', '>i4'), \
                 (('a title', 'inner'), [('a', '<u2'), ('b', '|u1', (2, 2))], (2,)), ('', '|V4')]";
    let mut records = noise(6 * 24);
    records.chunks_mut(24).for_each(|record| record[0] &= 1);
    for (fortran_order, order) in [(false, [0, 1, 2, 3, 4, 5]), (true, [0, 2, 4, 1, 3, 5])] {
        folder.file("a.npy", npy(descr, fortran_order, "(2, 3)", &records));
        // Written row-major.
        let records = order.map(|place| records[place * 24..][..24].to_vec()).concat();
        let inner = |offset: usize, length: usize| -> Vec<u8> {
            let both = |record: &[u8]| {
                [&record[8 + offset..][..length], &record[14 + offset..][..length]].concat()
            };
            records.chunks(24).flat_map(both).collect()
        };
        for (name, wanted) in [
            ("flag", npy("'|b1'", false, "(2, 3)", &field(&records, 24, 0, 1))),
            ("n", npy("'<i4'", false, "(2, 3)", &reversed(&field(&records, 24, 4, 4), 4))),
            ("inner.a", npy("'<u2'", false, "(2, 3, 2)", &inner(0, 2))),
            ("inner.b", npy("'|u1'", false, "(2, 3, 2, 2, 2)", &inner(2, 4))),
        ] {
            folder.succeed(&["convert", "a.npy", "out.npy", "--name", name]);
            assert!(folder.read("out.npy") == wanted, "{name}, Fortran: {fortran_order}");
        }
    }
    for (shape, count) in [("()", 1), ("(0,)", 0), ("(3, 0)", 0)] {
        folder.file("a.npy", npy(descr, false, shape, &records[..24 * count]));
        folder.succeed(&["convert", "a.npy", "out.npz"]);
    }
}

fn fields_in_many_windows() {
    let folder = Folder::new();
    let records = noise(500 * 12);
    let array = npy("[('x', '<f8'), ('y', '<u2', (2,))]", false, "(20, 25)", &records);
    folder.file("a.npy", &array);
    folder.file("a.npz", deflated(&[("m.npy", &array)]));
    for (from, name) in [("a.npy", "y"), ("a.npz", "m.y")] {
        let args = ["convert", from, "out.npy", "--name", name, "--memory-limit", "300", "--json"];
        let report = folder.succeed(&args).json();
        assert!(report["arrays"][0]["windows"].as_u64().unwrap() > 5, "{report}");
        let wanted = npy("'<u2'", false, "(20, 25, 2)", &field(&records, 12, 8, 4));
        assert!(folder.read("out.npy") == wanted, "{from}");
    }
}

fn fields_that_cannot_be_named_or_read() {
    let folder = Folder::new();
    for (descr, says) in [
        ("[('x', '<f4'), ('name', '<U3')]", &["the field \"name\"", "text is not a number"][..]),
        ("[('x', '<f4'), ('o', '|O')]", &["a field of the records", "pickle"]),
        (
            "[('a', [('b', '<f4')]), ('a.b', '<f4')]",
            &["two fields of the records are named \"a.b\""],
        ),
        ("[('x', '<f4')]", &["declares 16 bytes of elements, and 64 follow"]),
    ] {
        folder.file("a.npy", npy(descr, false, "(4,)", &[0; 64]));
        folder.fail(1, &["plan", "a.npy"], says);
    }
    let one = npy("[('x', '|u1')]", false, "(1,)", &[1]);
    let other = npy("'|u1'", false, "(1,)", &[1]);
    folder.file("a.npz", stored(&[("m.npy", &one), ("m.x.npy", &other)]));
    folder.fail(1, &["plan", "a.npz"], &["two arrays are named \"m.x\""]);
    // Raw bytes in a record are told as others are.
    folder.file("a.npy", npy("[('w', '<V2')]", false, "(1,)", &[0x80, 0x3f]));
    folder.fail(1, &["plan", "a.npy"], &["--as bfloat16"]);
    folder.succeed(&["convert", "a.npy", "b.npy", "--as", "bfloat16", "--dtype", "f32"]);
    assert_eq!(folder.read("b.npy"), npy("'<f4'", false, "(1,)", &1_f32.to_le_bytes()));
}

/// Older NumPy wrote the notes that h5py puts on types of fields, and no NumPy reads such headers.
fn types_with_notes_as_h5py_makes_them() {
    let folder = Folder::new();
    for notes in [
        "{'vlen': <class 'str'>}",
        "{'vlen': dtype('float32')}",
        "{'ref': <class 'h5py.h5r.Reference'>}",
    ] {
        let descr = format!("[('o', ('|O', {notes})), ('y', '<f4')]");
        let says = ["elements of the type '|O', Python objects", "a pickle", "do:", "HDF5"];
        folder.file("a.npy", npy(&descr, false, "(1,)", &[0; 12]));
        folder.fail(1, &["convert", "a.npy", "b.npz"], &says);
    }
    // Numbers are read, whatever is said of them.
    for notes in ["{}", "{'enum': {'RED': 0, 'a}\\'': 1}}", "{'enum': {'[': (1, 2)}, 'b': None}"] {
        let descr = format!("[('kind', ('|u1', {notes})), ('y', '<f4')]");
        let record = [&[7][..], &1_f32.to_le_bytes()].concat();
        folder.file("a.npy", npy(&descr, false, "(1,)", &record));
        folder.succeed(&["convert", "a.npy", "b.npy", "--name", "kind"]);
        assert_eq!(folder.read("b.npy"), npy("'|u1'", false, "(1,)", &[7]), "{notes}");
    }
    let text = "[('t', ('|S5', {'h5py_encoding': 'utf-8'})), ('y', '<f4')]";
    folder.file("a.npy", npy(text, false, "(1,)", &[0; 9]));
    folder.fail(1, &["plan", "a.npy"], &["the field \"t\"", "text is not a number"]);
    for (descr, says) in [
        ("[('x', ('|u1', {'enum': {'RED': {0}))]", "the notes on a type do not end"),
        ("[('x', ('|u1', {'enum': 'RED))]", "a string does not end"),
        ("[('x', ('|u1', {}, {}))]", "there should be ')'"),
    ] {
        folder.file("a.npy", npy(descr, false, "(1,)", &[0]));
        folder.fail(1, &["plan", "a.npy"], &["the header is broken", says]);
    }
}

/// An `.npy` file of one record of one byte, whose header of this version has this name in it.
fn named(version: u8, name: &[u8]) -> Vec<u8> {
    record(version, &[b"[(", name, b", '|u1')]"].concat(), b"(1,)", &[7])
}

fn record(version: u8, descr: &[u8], shape: &[u8], elements: &[u8]) -> Vec<u8> {
    let parts: [&[u8]; 5] =
        [b"{'descr': ", descr, b", 'fortran_order': False, 'shape': ", shape, b", }\n"];
    let header = parts.concat();
    let length = u32::try_from(header.len()).unwrap().to_le_bytes();
    let length = if version == 1 { &length[..2] } else { &length[..] };
    [b"\x93NUMPY", &[version, 0][..], length, &header, elements].concat()
}

fn names_of_fields_as_numpy_writes_them() {
    let folder = Folder::new();
    for (version, written, name) in [
        (1, &b"'gr\xf6\xdfe'"[..], "größe"),
        (2, b"'gr\xf6\xdfe'", "größe"),
        (3, "'größe 日本'".as_bytes(), "größe 日本"),
        (1, br"'a\\b'", r"a\b"),
        (1, br#"'a\'b"c'"#, r#"a'b"c"#),
        (1, br#""a'b""#, "a'b"),
        (1, br"'a\nb\t\r'", "a\nb\t\r"),
        (1, br"'\x07\x85'", "\u{7}\u{85}"),
        (1, br"'\u202e'", "\u{202e}"),
        (3, br"'\U000e0001'", "\u{e0001}"),
    ] {
        folder.file("a.npy", named(version, written));
        let plan = folder.succeed(&["plan", "a.npy", "--json"]).json();
        assert_eq!(plan["arrays"][0]["name"], name, "{plan}");
        let shown = folder.succeed(&["plan", "a.npy"]).stdout;
        assert!(!shown.contains(['\u{7}', '\t', '\r']), "{shown:?}");
    }
}

fn names_of_fields_that_are_no_text() {
    let folder = Folder::new();
    for (version, written, says) in [
        (3, &b"'gr\xf6\xdfe'"[..], "a string is not UTF-8"),
        (1, br"'a\q'", "does not write"),
        (1, br"'a\x4'", "does not write"),
        (1, br"'a\x+4'", "does not write"),
        (1, br"'\U00110000'", "does not write"),
        (1, br"'\ud800'", "half of a character"),
        (1, br"'a\'", "the header is broken"),
    ] {
        folder.file("a.npy", named(version, written));
        folder.fail(1, &["plan", "a.npy"], &[says, "why:", "do:"]);
    }
}

/// The name of the records around a field is part of its name: few bytes make many.
fn names_of_fields_longer_than_any_memory() {
    let folder = Folder::new();
    let around = "A".repeat(30_000);
    let says = ["names of the fields are longer than", "why:", "do:"];
    let fields: String = (0..200).map(|index| format!("('a{index}', '|i1'), ")).collect();
    let descr = format!("[('{around}', [{fields}])]");
    folder.file("a.npy", record(1, descr.as_bytes(), b"(0,)", &[]));
    folder.fail(1, &["plan", "a.npy"], &says);
    // What is no array needs no name.
    let others = "('', '|V1'), ('', []), ".repeat(200);
    let descr = format!("[('{around}', [{others}('x', '|i1')])]");
    folder.file("a.npy", record(1, descr.as_bytes(), b"(0,)", &[]));
    folder.succeed(&["plan", "a.npy"]);
}

fn records_of_too_many_fields_or_axes() {
    let folder = Folder::new();
    let fields: String = (0..65_537).map(|index| format!("('{index}','i1'),")).collect();
    folder.file("a.npy", record(2, format!("[{fields}]").as_bytes(), b"(0,)", &[]));
    folder.fail(1, &["plan", "a.npy"], &["the records have more than 65536 fields", "why:", "do:"]);
    let ones = "1,".repeat(40);
    let descr = format!("[('a', [('b', '|u1', ({ones}))], ({ones}))]");
    folder.file("a.npy", npy(&descr, false, "(1,)", &[7]));
    folder.fail(1, &["plan", "a.npy"], &["the field \"a.b\" has more than 64 axes", "why:", "do:"]);
}

/// With NumPy, where there is Python: what it writes, and what it makes of each field.
fn records_as_python_writes_them() {
    let Some(python) = python_peer::python() else {
        return;
    };
    let folder = Folder::new();
    let python = |script: &str| {
        let script = format!("import numpy as np\n{script}");
        let ran = Command::new(&python).args(["-c", &script]).current_dir(folder.path()).output();
        let ran = ran.expect("Python starts");
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    };
    python(
        "inner = np.dtype([('a', '<c8'), ('b', '>f2', (2,))], align=True)\n\
         kind = np.dtype([('x', '>f8'), ('k', '?'), ('inner', inner, (2,))], align=True)\n\
         a = np.frombuffer(np.random.default_rng(1).bytes(12 * kind.itemsize), kind).copy()\n\
         a['k'] = np.arange(12) % 2\n\
         a = a.reshape(3, 4)\n\
         np.save('c.npy', a)\n\
         np.save('f.npy', np.asfortranarray(a))\n\
         inner = {'inner.a': a['inner']['a'], 'inner.b': a['inner']['b']}\n\
         np.savez('wanted.npz', x=a['x'], k=a['k'], **inner)",
    );
    for from in ["c.npy", "f.npy"] {
        folder.succeed(&["convert", from, "out.npz"]);
        python(
            "out, wanted = np.load('out.npz'), np.load('wanted.npz')\n\
             assert sorted(out) == sorted(wanted), sorted(out)\n\
             for name in wanted:\n  \
               native = wanted[name].astype(wanted[name].dtype.newbyteorder('='))\n  \
               assert out[name].dtype == native.dtype, (name, out[name].dtype)\n  \
               assert out[name].shape == native.shape and out[name].tobytes() == native.tobytes(), name",
        );
    }
}
