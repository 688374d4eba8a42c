//! Truncated, damaged and forged files: a clear error, exit code 1, and no file left.

use crate::support::{
    Folder, counting, deflated, floats, npy, npy_saying, replaced, safetensors, stored,
};

crate::support::cases! {
    an_empty_file,
    a_file_cut_short_anywhere,
    a_file_of_another_kind,
    what_came_in_place_of_the_file_is_named,
    members_compressed_in_another_way_are_not_called_damaged,
    an_npy_header_longer_than_the_file,
    npy_shapes_beyond_all_memory,
    npy_records_beyond_all_memory,
    npy_fields_beyond_the_elements_of_nothing,
    npy_fields_of_a_member_with_a_long_name,
    negative_extents,
    npy_data_of_another_length,
    npy_headers_that_are_no_dictionary_of_numpys,
    element_types_that_are_no_numbers,
    safetensors_headers_that_lie,
    archives_that_lie,
    two_members_of_one_name,
    members_that_share_their_bytes,
    damaged_elements_of_an_archive,
    a_bomb_is_bounded_by_its_own_header,
    booleans_that_are_neither,
    names_cannot_steer_the_terminal,
}

/// Converts the file to every format; each must fail, and so must `plan`, but for what only the
/// elements show.
#[track_caller]
fn refuse(name: &str, bytes: &[u8], says: &[&str]) {
    let folder = Folder::new();
    folder.file(name, bytes);
    folder.fail(1, &["plan", name], says);
    for target in ["out.npy", "out.npz", "out.safetensors"] {
        folder.fail(1, &["convert", name, target, "--json"], says);
    }
}

fn an_empty_file() {
    for name in ["a.npy", "a.npz", "a.safetensors"] {
        refuse(
            name,
            b"",
            &["convert a.", "is empty"].map(|s| if s == "convert a." { "a." } else { s }),
        );
    }
}

fn a_file_cut_short_anywhere() {
    let folder = Folder::new();
    let array = counting(3, 4);
    let other = npy("'<i8'", false, "(5,)", &[7; 40]);
    let files = [
        ("a.npy", array.clone()),
        ("s.npz", stored(&[("x.npy", &array), ("y.npy", &other)])),
        ("d.npz", deflated(&[("x.npy", &array), ("y.npy", &other)])),
        (
            "a.safetensors",
            safetensors(
                r#"{"x":{"dtype":"F32","shape":[3,4],"data_offsets":[0,48]}}"#,
                &floats(12),
            ),
        ),
    ];
    for (name, whole) in files {
        folder.file(name, &whole);
        folder.succeed(&["convert", name, "whole.safetensors"]);
        std::fs::remove_file(folder.path().join("whole.safetensors")).unwrap();
        for length in (0..whole.len()).step_by(whole.len() / 20) {
            folder.file(name, &whole[..length]);
            folder.fail(1, &["convert", name, "out.safetensors"], &["error:", "found:"]);
        }
    }
}

fn a_file_of_another_kind() {
    refuse("a.npy", b"PK\x03\x04 this is a zip archive", &["does not start as an .npy file"]);
    refuse("a.npz", b"neither of them", &["not a readable zip archive"]);
    refuse("a.safetensors", b"neither of them", &["header claims to be"]);
    refuse("a.npy", &vec![0; 4096], &["does not start as an .npy file"]);
}

fn an_npy_header_longer_than_the_file() {
    let mut bytes = counting(2, 2);
    bytes[8..10].copy_from_slice(&[0xff, 0xff]);
    refuse("a.npy", &bytes, &["claims to be 65545 bytes long", "the file has 144"]);
    let mut bytes = counting(2, 2);
    bytes[6] = 2;
    bytes[8..12].copy_from_slice(&[0xff; 4]);
    refuse("a.npy", &bytes, &["claims to be 4294967295 bytes long"]);
    bytes[6] = 9;
    refuse("a.npy", &bytes, &["version 9.0"]);
}

fn npy_shapes_beyond_all_memory() {
    for shape in
        ["(4294967296, 4294967296, 16)", "(9223372036854775807,)", "(2, 9223372036854775808)"]
    {
        refuse("a.npy", &npy("'<f4'", false, shape, &[0; 64]), &["declares the shape", "fit"]);
    }
    refuse("a.npy", &npy("'<f4'", false, "(99999999999999999999,)", &[]), &["beyond 64 bits"]);
    let many = format!("({})", "1, ".repeat(65));
    refuse("a.npy", &npy("'<f4'", false, &many, &[0; 4]), &["more than 64 extents"]);
}

fn npy_records_beyond_all_memory() {
    let folder = Folder::new();
    let good = counting(1, 2);
    let half = "('a', 'V9223372036854775807'), ('b', 'V9223372036854775807')";
    let within = "('c', [('d', 'V9223372036854775806'), ('e', 'i1')], (0,))";
    let most = "('a', 'V9223372036854775807')";
    for (descr, shape, says) in [
        ("[('a', '<f4')]".to_owned(), "(4611686018427387904, 8)", "exceed the address space"),
        ("[('a', '<f4', (4611686018427387904, 8))]".to_owned(), "(1,)", "exceed the address space"),
        (format!("[{half}, {within}]"), "(0,)", "the field \"b\" of the records ends beyond"),
        (format!("[{most}, {within}]"), "(0,)", "the field \"c.e\" of the records ends beyond"),
        ("[('a', 'i1', (0,))]".to_owned(), "(4611686018427387904, 4)", "the field \"a\""),
    ] {
        let forged = npy(&descr, false, shape, &[]);
        refuse("a.npy", &forged, &[says, "why:", "do:"]);
        // What is forged is not passed over as what cannot be read is.
        folder.file("a.npz", stored(&[("w.npy", &good), ("x.npy", &forged)]));
        let args = ["convert", "a.npz", "out.npz", "--skip-unsupported"];
        folder.fail(1, &args, &["the member \"x.npy\"", says]);
    }
}

/// The fields of records of which there are none lie behind the elements that there are.
fn npy_fields_beyond_the_elements_of_nothing() {
    let folder = Folder::new();
    let descr = "[('a', '|u1'), ('c', [('d', '|u1', (1000,)), ('e', '|i1')], (0,))]";
    folder.file("a.npy", npy(descr, false, "(2,)", &[7, 8]));
    for (name, wanted) in
        [("a", npy("'|u1'", false, "(2,)", &[7, 8])), ("c.e", npy("'|i1'", false, "(2, 0)", &[]))]
    {
        folder.succeed(&["convert", "a.npy", "out.npy", "--name", name]);
        assert!(folder.read("out.npy") == wanted, "{name}");
    }
}

/// Each field is named after its member.
fn npy_fields_of_a_member_with_a_long_name() {
    let fields: Vec<String> = (0..100).map(|field| format!("('f{field}', '|i1')")).collect();
    let records = npy(&format!("[{}]", fields.join(", ")), false, "(0,)", &[]);
    let name = format!("{}.npy", "n".repeat(60_000));
    refuse("a.npz", &stored(&[(&name, &records)]), &["names of the fields are longer", "do:"]);
}

fn negative_extents() {
    refuse("a.npy", &npy("'<f4'", false, "(-1,)", &[0; 64]), &["-1 is negative"]);
    refuse("a.npy", &npy("'<f4'", false, "(2, -9223372036854775808)", &[]), &["negative"]);
    refuse(
        "a.safetensors",
        &safetensors(r#"{"x":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}"#, &[0; 4]),
        &["has [-1] as its \"shape\"", "not negative"],
    );
}

fn npy_data_of_another_length() {
    refuse(
        "a.npy",
        &npy("'<f4'", false, "(5,)", &[0; 19]),
        &["declares 20 bytes", "19 follow", "cut short"],
    );
    refuse("a.npy", &npy("'<f4'", false, "(5,)", &[0; 21]), &["21 follow", "would be lost"]);
    refuse("a.npy", &npy("'<f4'", false, "()", &[]), &["declares 4 bytes"]);
}

fn npy_headers_that_are_no_dictionary_of_numpys() {
    for dictionary in [
        "",
        "{}",
        "(((((((((((((((((((((((((((((",
        "{'descr': __import__('os').system('true'), 'fortran_order': False, 'shape': ()}",
        "{'descr': '<f4', 'fortran_order': 1, 'shape': (1,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': 1}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'extra': 1}",
    ] {
        refuse("a.npy", &npy_saying(dictionary, &[0; 4]), &["the header is broken at its byte"]);
    }
    let deep = "(".repeat(60_000);
    refuse("a.npy", &npy_saying(&deep, &[]), &["the header is broken"]);
}

fn element_types_that_are_no_numbers() {
    let types = [
        ("'|O'", "pickle"),
        ("'<U5'", "text is not a number"),
        ("'|S5'", "text is not a number"),
        ("'<M8[ns]'", "dates"),
        ("'<m8[s]'", "dates"),
        ("'|V40'", "wider than any"),
        ("[('x', '<f4'), ('y', '|O')]", "pickle"),
        ("('<f4', (2,))", "structured"),
        ("'<f16'", "extended precision"),
        ("'<i5'", "<i5"),
    ];
    for (descr, says) in types {
        let bytes = npy(descr, false, "(4,)", &[0; 16]);
        refuse("a.npy", &bytes, &[says, "do: "]);
        refuse("a.npz", &stored(&[("x.npy", &bytes)]), &["the member \"x.npy\"", says]);
        refuse("a.npz", &deflated(&[("x.npy", &bytes)]), &["the member \"x.npy\"", says]);
    }
}

fn safetensors_headers_that_lie() {
    let x = |dtype: &str, shape: &str, offsets: &str| {
        format!(r#"{{"x":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}"#)
    };
    let cases: [(String, usize, &str); 20] = [
        (x("F32", "[2]", "[0,8]"), 7, "do not fill the file"),
        (x("F32", "[2]", "[0,8]"), 9, "do not fill the file"),
        (x("F32", "[2]", "[0,800]"), 8, "do not match"),
        (x("F32", "[2]", "[4,12]"), 12, "overlaps another, or there is a gap"),
        (x("F32", "[2]", "[8,0]"), 8, "overlaps another, or there is a gap"),
        (x("F32", "[3]", "[0,8]"), 8, "do not match"),
        (x("F32", "[4294967296,4294967296,16]", "[0,8]"), 8, "cannot be counted"),
        (x("F99", "[2]", "[0,8]"), 8, "the array \"x\" has elements of F99"),
        (x("F32", "[2.5]", "[0,8]"), 8, "has [2.5] as its \"shape\""),
        (x("F32", "[2]", "[0,8,9]"), 8, "where it begins and where it ends"),
        (r#"{"x":3}"#.to_owned(), 0, "the array \"x\" is the number 3"),
        (r#"{"x":{"shape":[],"data_offsets":[0,1]}}"#.to_owned(), 1, "has no \"dtype\""),
        (r#"{"__metadata__":{"epoch":3}}"#.to_owned(), 0, "\"epoch\" in __metadata__ is the number 3"),
        (format!("{}\0\0", x("F32", "[2]", "[0,8]")), 8, "the header ends with 2 NUL bytes"),
        (
            r#"{"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"x":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}"#
                .to_owned(),
            2,
            "two arrays are named \"x\"",
        ),
        (
            r#"{"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"x":{"dtype":"I8","shape":[1],"data_offsets":[0,1]}}"#
                .to_owned(),
            1,
            "two arrays are named \"x\"",
        ),
        (x("F4", "[3]", "[0,1]"), 1, "ends within a byte"),
        ("{".to_owned(), 0, "JSON"),
        ("[]".to_owned(), 0, "JSON"),
        (
            r#"{"x":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"y":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}}"#
                .to_owned(),
            6,
            "\"y\" overlaps another",
        ),
    ];
    for (header, length, says) in cases {
        refuse("a.safetensors", &safetensors(&header, &vec![0; length]), &[says]);
    }
    refuse("a.safetensors", &[1, 2, 3], &["has 3 bytes, too few for the length of a header"]);
    refuse("a.safetensors", &[0xff; 64], &["claims to be 18446744073709551615 bytes long"]);
    let deep = "[".repeat(100_000);
    refuse("a.safetensors", &safetensors(&deep, &[]), &["error:"]);
}

fn archives_that_lie() {
    let array = npy("'|u1'", false, "(1000,)", &[7; 1000]);
    let short = npy("'|u1'", false, "(1000,)", &[7; 10]);
    let long = npy("'|u1'", false, "(10,)", &[7; 1000]);
    for pack in [stored, deflated] {
        refuse("a.npz", &pack(&[("x.npy", &short)]), &["declares 1128 bytes, and the archive 138"]);
        let says = ["declares 138 bytes, and the archive 1128", "what follows the array", "do:"];
        refuse("a.npz", &pack(&[("x.npy", &long)]), &says);
        refuse("a.npz", &pack(&[("x.txt", &array)]), &["\"x.txt\"", "it is not an .npy file"]);
        refuse("a.npz", &pack(&[("x.npy", b"hello")]), &["does not start as an .npy file"]);
        for name in ["../x.npy", "/x.npy", "a/../../x.npy", "C:/x.npy", "a\\x.npy"] {
            refuse("a.npz", &pack(&[(name, &array)]), &["zip archive"]);
        }
    }
}

fn two_members_of_one_name() {
    let array = counting(2, 2);
    let archive = stored(&[("x.npy", &array), ("y.npy", &array)]);
    // The second name occurs in its local header and in the directory.
    let renamed = replaced(&replaced(&archive, b"y.npy", b"x.npy"), b"y.npy", b"x.npy");
    refuse("a.npz", &renamed, &["same name", "lost"]);
}

fn members_that_share_their_bytes() {
    let array = counting(2, 2);
    for pack in [stored, deflated] {
        let mut archive = pack(&[("x.npy", &array), ("y.npy", &array)]);
        // The second entry of the directory is led to the first member.
        let entry = archive.windows(4).rposition(|bytes| bytes == b"PK\x01\x02").unwrap();
        archive[entry + 42..entry + 46].fill(0);
        refuse("a.npz", &archive, &["overlap"]);
    }
}

fn damaged_elements_of_an_archive() {
    let array = npy("'|u1'", false, "(4000,)", &[7; 4000]);
    for pack in [stored, deflated] {
        let mut bytes = pack(&[("x.npy", &array)]);
        let middle = bytes.len() / 2;
        let place = if bytes.len() > 4000 { middle } else { 60 };
        bytes[place] ^= 0x10;
        let folder = Folder::new();
        folder.file("a.npz", &bytes);
        folder.fail(1, &["convert", "a.npz", "out.npy"], &["x", "its bytes cannot be read"]);
    }
}

fn a_bomb_is_bounded_by_its_own_header() {
    // The directory claims 2^40 bytes in a few compressed ones.
    let claims = npy("'|u1'", false, "(1099511627776,)", &[0; 100]);
    refuse("a.npz", &deflated(&[("x.npy", &claims)]), &["declares 1099511627904 bytes"]);
    // It expands to far more than the header declares: nothing but the header is expanded.
    let bomb = npy("'|u1'", false, "(10,)", &vec![0; 50_000_000]);
    let archive = deflated(&[("x.npy", &bomb)]);
    assert!(archive.len() < 100_000);
    refuse("a.npz", &archive, &["declares 138 bytes, and the archive 50000128"]);
    // The directory agrees with the header, and the compressed bytes do not.
    let mut forged = archive.clone();
    for at in 0..forged.len() - 4 {
        if forged[at..at + 4] == 50_000_128_u32.to_le_bytes() {
            forged[at..at + 4].copy_from_slice(&138_u32.to_le_bytes());
        }
    }
    let folder = Folder::new();
    folder.file("a.npz", &forged);
    folder.fail(1, &["convert", "a.npz", "out.npy"], &["the array \"x\""]);
}

fn booleans_that_are_neither() {
    let folder = Folder::new();
    folder.file("a.npy", npy("'|b1'", false, "(3,)", &[0, 1, 2]));
    let says = ["byte 2", "is 2", "only 0 and 1", "why:", "--as uint8"];
    folder.fail(1, &["convert", "a.npy", "out.npz"], &says);
    // Both ways that the remedy names.
    folder.succeed(&["convert", "a.npy", "out.npy", "--as", "uint8"]);
    assert_eq!(folder.read("out.npy"), npy("'|u1'", false, "(3,)", &[0, 1, 2]));
    let all_but_zero = ["--as", "uint8", "--dtype", "bool", "--inexact", "allow"];
    folder.succeed(&[&["convert", "a.npy", "out.npy"][..], &all_but_zero].concat());
    assert_eq!(folder.read("out.npy"), npy("'|b1'", false, "(3,)", &[0, 1, 1]));
    std::fs::remove_file(folder.path().join("out.npy")).unwrap();
    if cfg!(feature = "ndarray") {
        let via = ["convert", "a.npy", "out.npz", "--via", "ndarray"];
        folder.fail(1, &via, &["only 0 and 1"]);
    }
}

fn names_cannot_steer_the_terminal() {
    let folder = Folder::new();
    folder.file("a.npz", stored(&[("\u{1b}[31mred.txt", b"")]));
    let ran = folder.run(&["plan", "a.npz"]);
    assert_eq!(ran.code, Some(1));
    assert!(!ran.stderr.contains('\u{1b}'), "{ran:?}");
}

fn what_came_in_place_of_the_file_is_named() {
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
    let pages =
        ["<!DOCTYPE html>\n<title>Log in</title>", "\u{feff}\n <HTML><body>404</body></HTML>"];
    for name in ["a.npy", "a.npz", "a.safetensors"] {
        refuse(name, pointer.as_bytes(), &["is a Git LFS pointer", "git lfs pull"]);
        pages.iter().for_each(|page| refuse(name, page.as_bytes(), &["is a web page"]));
        refuse(name, &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0], &["compressed with gzip", "gunzip"]);
    }
}

/// As Python's `zipfile` writes them with `ZIP_BZIP2` and `ZIP_LZMA`.
fn members_compressed_in_another_way_are_not_called_damaged() {
    let archive = stored(&[("x.npy", &counting(1, 2))]);
    for (method, called) in [(12, "Bzip2"), (14, "Lzma")] {
        let mut other = archive.clone();
        for (header, offset) in [(b"PK\x03\x04", 8), (b"PK\x01\x02", 10)] {
            let at = other.windows(4).position(|window| window == header).unwrap();
            other[at + offset] = method;
        }
        let found = format!("the member \"x.npy\": it is compressed with the method {called}");
        refuse("a.npz", &other, &[&found, "which is not read here", "numpy.savez"]);
    }
}
