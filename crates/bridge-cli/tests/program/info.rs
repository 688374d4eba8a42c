//! What `info` says of files, also of those that `convert` refuses.

use serde_json::{Value, json};

use crate::support::{Folder, counting, deflated, floats, npy, replaced, safetensors, stored};

crate::support::cases! {
    each_array_with_where_it_lies,
    metadata_and_totals,
    what_cannot_be_converted_and_why,
    files_that_cannot_be_read_do_not_hide_the_others,
    many_arrays_are_grouped,
    names_do_not_steer_the_terminal,
}

#[track_caller]
fn info(folder: &Folder, file: &str) -> Value {
    let info = folder.succeed(&["info", file, "--json"]).json();
    assert_eq!(info["files"].as_array().expect("files").len(), 1);
    info["files"][0].clone()
}

fn each_array_with_where_it_lies() {
    let folder = Folder::new();
    let columns = npy("'<f8'", true, "(3, 2)", &[7; 48]);
    folder.file("a.npy", &columns);
    let found = info(&folder, "a.npy");
    assert_eq!(found["file"], "a.npy");
    assert_eq!(found["format"], "npy");
    assert_eq!(found["size"], columns.len());
    assert_eq!(
        found["arrays"],
        json!([{"name": null, "dtype": "float64", "shape": [3, 2], "order": "column-major",
                "strides": [1, 3], "offset": columns.len() - 48, "bytes": 48}])
    );
    for (name, packed) in
        [("s.npz", stored(&[("x.npy", &columns)])), ("d.npz", deflated(&[("x.npy", &columns)]))]
    {
        folder.file(name, &packed);
        let found = info(&folder, name);
        let array = &found["arrays"][0];
        assert_eq!((&array["name"], &array["bytes"]), (&json!("x"), &json!(48)));
        let offset = array["offset"].as_u64().map(|offset| offset as usize);
        let at = packed.windows(48).position(|bytes| bytes == [7; 48]);
        assert_eq!(offset, at, "{name}: none where it is compressed");
    }
    let shown = folder.succeed(&["info", "a.npy", "d.npz"]).stdout;
    for says in
        ["a.npy: npy", "(no name)", "float64", "[3, 2]", "column-major", "d.npz: npz", "compressed"]
    {
        assert!(shown.contains(says), "{says}: {shown}");
    }
}

fn metadata_and_totals() {
    let folder = Folder::new();
    let header = r#"{"__metadata__":{"format":"pt","made by":"me"},"x":{"dtype":"F32","shape":[3,4],"data_offsets":[0,48]},"y":{"dtype":"BF16","shape":[2],"data_offsets":[48,52]}}"#;
    folder.file("a.safetensors", safetensors(header, &[floats(12), vec![0; 4]].concat()));
    let found = info(&folder, "a.safetensors");
    assert_eq!(found["metadata"], json!({"format": "pt", "made by": "me"}));
    assert_eq!(
        found["total"],
        json!({"arrays": 2, "elements": 14, "bytes": 52, "dtypes": {
            "float32": {"arrays": 1, "elements": 12, "bytes": 48},
            "bfloat16": {"arrays": 1, "elements": 2, "bytes": 4}}})
    );
    assert_eq!(found["unsupported"], json!([]));
    let shown = folder.succeed(&["info", "a.safetensors"]).stdout;
    for says in ["2 arrays, 14 elements, 52 B: 1 bfloat16, 1 float32", "metadata: made by = me"] {
        assert!(shown.contains(says), "{says}: {shown}");
    }
}

fn what_cannot_be_converted_and_why() {
    let folder = Folder::new();
    let (x, text) = (counting(2, 3), npy("'<U2'", false, "(2,)", &[0; 16]));
    let damaged = replaced(&x, b"fortran_order", b"fortran_Order");
    let members: [(&str, &[u8]); 4] =
        [("t.npy", &text), ("d/", b""), ("d/x.npy", &x), ("d/y.npy", &damaged)];
    folder.file("a.npz", stored(&members));
    let found = info(&folder, "a.npz");
    assert_eq!(found["arrays"].as_array().expect("arrays").len(), 1);
    let entries = found["unsupported"].as_array().expect("entries");
    let kinds: Vec<_> = entries.iter().map(|entry| (&entry["name"], &entry["kind"])).collect();
    assert_eq!(
        kinds,
        [
            (&json!("t"), &json!("unsupported")),
            (&json!("d/"), &json!("beside")),
            (&json!("d/y"), &json!("damaged"))
        ]
    );
    assert_eq!(entries[0]["why"], "text is not a number");
    assert_eq!(entries[0]["bytes"], text.len());
    assert!(entries[0]["found"].is_string() && entries[0]["do"].is_string());
    let shown = folder.succeed(&["info", "a.npz"]).stdout;
    for says in [
        "cannot be converted: 2",
        "text is not a number",
        "no part of the arrays: 1",
        "it is a folder",
    ] {
        assert!(shown.contains(says), "{says}: {shown}");
    }
    // So is an .npy file that is nothing else.
    folder.file("t.npy", &text);
    let found = info(&folder, "t.npy");
    assert_eq!(found["arrays"], json!([]));
    assert_eq!(found["unsupported"][0]["name"], Value::Null);
    assert_eq!(found["unsupported"][0]["why"], "text is not a number");
    folder.fail(1, &["convert", "t.npy", "o.npz"], &["text is not a number"]);
}

fn files_that_cannot_be_read_do_not_hide_the_others() {
    let folder = Folder::new();
    folder.file("a.npy", counting(2, 3));
    folder.file("bad.npz", b"PK\x03\x04 and no more");
    let ran = folder.run(&["info", "none.npy", "bad.npz", "a.npy"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stdout.starts_with("a.npy: npy"), "{ran:?}");
    for says in ["say what is in none.npy", "say what is in bad.npz", "not a readable zip archive"]
    {
        assert!(ran.stderr.contains(says), "{says}: {ran:?}");
    }
    let ran = folder.run(&["info", "none.npy", "a.npy", "--json"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(1), ""));
    let files = &ran.json()["files"];
    assert_eq!(files[0]["file"], "none.npy");
    assert_eq!(files[0]["error"]["exit_code"], 1);
    assert!(files[0]["error"]["found"].is_string());
    assert_eq!(files[1]["arrays"][0]["shape"], json!([2, 3]));
    assert_eq!(folder.run(&["info"]).code, Some(2));
}

fn many_arrays_are_grouped() {
    let folder = Folder::new();
    let (weight, bias) = (counting(2, 3), counting(1, 3));
    let mut members: Vec<(String, &[u8])> = Vec::new();
    for layer in 0..30 {
        members.push((format!("layers.{layer}.w.npy"), &weight));
        members.push((format!("layers.{layer}.b.npy"), &bias));
    }
    members.push(("head.npy".to_owned(), &weight));
    let members: Vec<_> = members.iter().map(|(name, bytes)| (name.as_str(), *bytes)).collect();
    folder.file("a.npz", stored(&members));
    let shown = folder.succeed(&["info", "a.npz"]).stdout;
    for says in ["61 arrays, 276 elements", "layers.*.w", "layers.*.b", "head", "--all"] {
        assert!(shown.contains(says), "{says}: {shown}");
    }
    assert!(!shown.contains("layers.7."), "{shown}");
    // The pattern is one that --name takes.
    folder.succeed(&["convert", "a.npz", "w.npz", "--name", "layers.*.w"]);
    assert_eq!(info(&folder, "w.npz")["total"]["arrays"], 30);
    let shown = folder.succeed(&["info", "a.npz", "--all"]).stdout;
    assert!(shown.contains("layers.7.w") && shown.contains("layers.29.b"), "{shown}");
    assert_eq!(info(&folder, "a.npz")["arrays"].as_array().expect("arrays").len(), 61);
}

fn names_do_not_steer_the_terminal() {
    let folder = Folder::new();
    let header = "{\"__metadata__\":{\"a\":\"\\u001b[31m\"},\"\\u001b[32m\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}";
    folder.file("a.safetensors", safetensors(header, &[0]));
    folder.file("b.npz", stored(&[("\u{1b}[33m.txt", b"x")]));
    for command in [&["info", "a.safetensors", "b.npz"][..], &["plan", "a.safetensors"]] {
        let ran = folder.succeed(command);
        assert!(!ran.stdout.contains('\u{1b}'), "{ran:?}");
    }
}
