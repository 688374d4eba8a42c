//! Files of which only a part is converted: because it is chosen, or because the rest cannot be.

use serde_json::json;

use crate::support::{Folder, counting, npy, replaced, safetensors, stored};

crate::support::cases! {
    patterns_choose_arrays,
    a_name_that_looks_like_a_pattern,
    what_names_choose_must_be_there,
    only_chosen_arrays_are_asked,
    text_is_not_lost_without_being_told,
    text_is_left_out_where_that_is_asked_for,
    types_of_a_later_safetensors_do_not_block_the_rest,
    text_in_records_does_not_block_their_numbers,
    damage_is_never_left_out,
    folders_and_notes_of_macos_do_not_matter,
    what_the_new_format_lacks_can_be_left_out,
    quiet_says_nothing_but_errors,
    failures_are_told_as_json,
    #[cfg(feature = "pt")]
    numbers_of_a_dictionary_do_not_block_its_tensors,
    plans_of_many_arrays_are_told_once,
}

/// Two arrays, texts and an array of Python objects; the first of them is the text.
fn mixed() -> Folder {
    let folder = Folder::new();
    let (x, y) = (counting(2, 3), counting(1, 4));
    let text = npy("'<U2'", false, "(2,)", &[0; 16]);
    let objects = npy("'|O'", false, "(1,)", &[0; 8]);
    let members: [(&str, &[u8]); 5] = [
        ("labels.npy", &text),
        ("layer1.x.npy", &x),
        ("layer1.pairs.npy", &objects),
        ("layer2.y.npy", &y),
        ("README.txt", b"what this is"),
    ];
    folder.file("a.npz", stored(&members));
    folder.file("whole.npz", stored(&[("layer1.x.npy", &x), ("layer2.y.npy", &y)]));
    folder
}

#[track_caller]
fn names(folder: &Folder, file: &str) -> Vec<String> {
    let info = folder.succeed(&["info", file, "--json"]).json();
    let arrays = info["files"][0]["arrays"].as_array().expect("arrays").iter();
    arrays.map(|array| array["name"].as_str().expect("a name").to_owned()).collect()
}

fn patterns_choose_arrays() {
    let folder = Folder::new();
    let array = counting(1, 2);
    let members = ["enc/1.w", "enc/1.b", "enc/12.w", "dec/1.w", "head"];
    let members: Vec<_> = members.map(|name| (format!("{name}.npy"), array.clone())).into();
    let members: Vec<_> = members.iter().map(|(name, bytes)| (&**name, &**bytes)).collect();
    folder.file("a.npz", stored(&members));
    let cases: [(&[&str], &[&str]); 6] = [
        (&["enc/*"], &["enc/1.b", "enc/1.w", "enc/12.w"]),
        (&["*.w"], &["dec/1.w", "enc/1.w", "enc/12.w"]),
        (&["*/?.w"], &["dec/1.w", "enc/1.w"]),
        (&["enc/1.[wb]"], &["enc/1.b", "enc/1.w"]),
        (&["head", "dec*", "*c/1.w"], &["dec/1.w", "enc/1.w", "head"]),
        (&["*"], &["dec/1.w", "enc/1.b", "enc/1.w", "enc/12.w", "head"]),
    ];
    for (patterns, wanted) in cases {
        let patterns: Vec<_> = patterns.iter().flat_map(|pattern| ["--name", pattern]).collect();
        folder.succeed(&[&["convert", "a.npz", "b.npz"], &*patterns].concat());
        let mut found = names(&folder, "b.npz");
        found.sort_unstable();
        assert_eq!(found, wanted, "{patterns:?}");
    }
}

fn a_name_that_looks_like_a_pattern() {
    let folder = Folder::new();
    let header = r#"{"x[0]":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"x0":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}"#;
    folder.file("a.safetensors", safetensors(header, &[1, 2]));
    folder.succeed(&["convert", "a.safetensors", "b.npz", "--name", "x[0]"]);
    assert_eq!(names(&folder, "b.npz"), ["x[0]"]);
    // The array of an .npy file gets the name, which a pattern is not.
    folder.file("a.npy", counting(1, 1));
    folder.succeed(&["convert", "a.npy", "b.npz", "--name", "y[0]"]);
    assert_eq!(names(&folder, "b.npz"), ["y[0]"]);
    let says = &["--name y* is a pattern", "has no name", "do:"];
    folder.fail(2, &["convert", "a.npy", "b.npz", "--name", "y*"], says);
    let says = &["--name is given 2 times", "has no name"];
    folder.fail(2, &["convert", "a.npy", "b.npz", "--name", "y", "--name", "z"], says);
}

fn what_names_choose_must_be_there() {
    let folder = mixed();
    let convert = |name: &str, says: &[&str]| {
        folder.fail(2, &["convert", "a.npz", "b.npz", "--name", "layer2.y", "--name", name], says);
    };
    convert("layer3.*", &["no array whose name matches \"layer3.*\"", "\"layer1.x\"", "do:"]);
    convert("layer3", &["no array \"layer3\"", "\"layer1.x\"", "do:"]);
    convert("layer[1", &["--name layer[1 is not a pattern", "at its letter", "do:"]);
    convert("a**", &["is not a pattern"]);
}

fn only_chosen_arrays_are_asked() {
    let folder = mixed();
    folder.succeed(&["convert", "a.npz", "b.npy", "--name", "layer1.x"]);
    assert_eq!(folder.read("b.npy"), counting(2, 3));
    folder.succeed(&["convert", "a.npz", "c.npz", "--name", "layer2.*", "--name", "layer1.x"]);
    assert_eq!(names(&folder, "c.npz"), ["layer1.x", "layer2.y"]);
    let one = ["convert", "a.npz", "d.npz", "--name", "labels"];
    folder.fail(1, &one, &["the member \"labels.npy\"", "text is not a number"]);
    folder.fail(1, &[&one[..], &["--skip-unsupported"]].concat(), &["text is not a number"]);
}

fn text_is_not_lost_without_being_told() {
    let folder = mixed();
    let says =
        &["\"labels.npy\"", "text", "2 others cannot", "the other arrays", "--skip-unsupported"];
    folder.fail(1, &["convert", "a.npz", "b.npz"], says);
    folder.fail(1, &["plan", "a.npz"], says);
    // Nothing is left that the flag could help with.
    folder.file("text.npz", stored(&[("x.npy", &npy("'<U2'", false, "(2,)", &[0; 16]))]));
    for flag in [&[][..], &["--skip-unsupported"]] {
        let ran = folder.run(&[&["convert", "text.npz", "b.npz"], flag].concat());
        assert_eq!(ran.code, Some(1));
        assert!(!ran.stderr.contains("--skip"), "{ran:?}");
    }
}

fn text_is_left_out_where_that_is_asked_for() {
    let folder = mixed();
    let ran = folder.succeed(&["convert", "a.npz", "b.npz", "--skip-unsupported"]);
    assert!(ran.stdout.contains("2 arrays"), "{ran:?}");
    for says in [
        "left out 3",
        "\"labels.npy\": ",
        "text is not a number",
        "\"layer1.pairs.npy\": ",
        "\"README.txt\": ",
    ] {
        assert!(ran.stderr.contains(says), "{says}: {ran:?}");
    }
    folder.succeed(&["convert", "whole.npz", "wanted.npz"]);
    assert!(folder.read("b.npz") == folder.read("wanted.npz"));
    let ran = folder.succeed(&["convert", "a.npz", "b.npz", "--skip-unsupported", "--json"]);
    assert_eq!(ran.stderr, "");
    let skipped = &ran.json()["skipped"];
    assert_eq!(skipped.as_array().expect("a list").len(), 3);
    assert_eq!(skipped[0]["name"], "labels");
    assert!(skipped[0]["found"].as_str().expect("text").contains("<U2"), "{skipped}");
    assert_eq!(skipped[0]["why"], "text is not a number");
    assert!(skipped[0]["do"].is_string());
    let plan = folder.succeed(&["plan", "a.npz", "--skip-unsupported"]).stdout;
    assert!(plan.contains("layer2.y: float32 [1, 4]") && plan.contains("left out 3"), "{plan}");
    let plan = folder.succeed(&["plan", "a.npz", "--skip-unsupported", "--json"]).json();
    assert_eq!(&plan["skipped"], skipped);
    // One array is left for a file that holds one.
    let one = ["--name", "layer1.*", "--skip-unsupported"];
    folder.succeed(&[&["convert", "a.npz", "c.npy"][..], &one].concat());
    assert_eq!(folder.read("c.npy"), counting(2, 3));
}

/// An entry of a header.
fn entry(name: &str, dtype: &str, shape: &str, start: usize, end: usize) -> String {
    format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{start},{end}]}}"#)
}

fn types_of_a_later_safetensors_do_not_block_the_rest() {
    let folder = Folder::new();
    let notes = r#""__metadata__":{"format":"pt"}"#;
    let (x, y) = (entry("x", "F32", "[2]", 0, 8), entry("y", "U8", "[3]", 13, 16));
    let later = entry("later", "F5_NEW", "[8]", 8, 13);
    let elements: Vec<u8> = (0..16).collect();
    let all = format!("{{{y},{notes},{later},{x}}}");
    folder.file("a.safetensors", safetensors(&all, &elements));
    let convert = ["convert", "a.safetensors", "b.safetensors"];
    let says = &["the array \"later\" has elements of F5_NEW", "--skip-unsupported"];
    folder.fail(1, &convert, says);
    let told = folder.succeed(&[&convert[..], &["--skip-unsupported", "--json"]].concat()).json();
    assert_eq!(told["skipped"].as_array().unwrap().len(), 1);
    assert_eq!(told["skipped"][0]["name"], "later");
    assert_eq!(names(&folder, "b.safetensors"), ["x", "y"]);
    folder.succeed(&["convert", "a.safetensors", "y.npy", "--name", "y"]);
    assert_eq!(folder.read("y.npy"), npy("'|u1'", false, "(3,)", &[13, 14, 15]));
    let info = folder.succeed(&["info", "a.safetensors", "--json"]).json();
    assert_eq!(info["files"][0]["unsupported"][0]["bytes"], 5);
    assert_eq!(info["files"][0]["metadata"]["format"], "pt");
    folder.succeed(&["diff", "a.safetensors", "b.safetensors", "--skip-unsupported"]);

    // All else is checked as ever.
    for (header, says) in [
        (format!("{{{y},{later}}}"), "\"later\" overlaps another, or there is a gap"),
        (format!("{{{later},{x}}}"), "do not fill the file"),
        (format!("{{{x},{y},{}}}", entry("later", "F5_NEW", "[8]", 8, 12)), "\"y\" overlaps"),
        (format!("{{{x},{y},{}}}", entry("later", "F5_NEW", "[8]", 13, 8)), "overlaps"),
        (format!("{{{x},{y},{later},{later}}}"), "two arrays are named \"later\""),
        (format!("{{{},{later},{y}}}", entry("x", "F32", "[3]", 0, 8)), "do not match"),
        (format!("{{{x},{later},{y},\"z\":3}}"), "\"z\" is the number 3"),
        (format!("{{{x},{y},{}}}", entry("later", "F5_NEW", "[-1]", 8, 13)), "\"shape\""),
    ] {
        folder.file("bad.safetensors", safetensors(&header, &elements));
        let args = ["convert", "bad.safetensors", "c.npz", "--skip-unsupported"];
        folder.fail(1, &args, &[says]);
    }
}

fn text_in_records_does_not_block_their_numbers() {
    let folder = Folder::new();
    let descr = "[('x', '<f4'), ('name', '<U2'), ('at', '<M8[s]'), ('n', '|u1', (2,))]";
    let record = |x: f32, n: u8| -> Vec<u8> {
        [&x.to_le_bytes()[..], &[65, 0, 0, 0, 66, 0, 0, 0], &[9; 8], &[n, n + 1]].concat()
    };
    let records = npy(descr, false, "(2,)", &[record(1.0, 3), record(2.0, 5)].concat());
    folder.file("a.npy", &records);
    let convert = ["convert", "a.npy", "b.npz"];
    let says = &["the field \"name\"", "text is not a number", "another one cannot"];
    folder.fail(1, &convert, says);
    let ran = folder.succeed(&[&convert[..], &["--skip-unsupported"]].concat());
    assert!(ran.stderr.starts_with("left out 2 of"), "{ran:?}");
    assert!(ran.stderr.contains("only NumPy knows"), "{ran:?}");
    let made = stored(&[
        ("x.npy", &npy("'<f4'", false, "(2,)", &[0, 0, 0x80, 0x3f, 0, 0, 0, 0x40])),
        ("n.npy", &npy("'|u1'", false, "(2, 2)", &[3, 4, 5, 6])),
    ]);
    folder.file("expected.npz", made);
    folder.succeed(&["diff", "b.npz", "expected.npz"]);
    // Chosen by name, the others do not matter.
    folder.succeed(&["convert", "a.npy", "x.npy", "--name", "x"]);
    folder.fail(1, &["convert", "a.npy", "c.npy", "--name", "at"], &["the field \"at\""]);
    // In an archive they are named after the member.
    folder.file("a.npz", stored(&[("m.npy", &records)]));
    let told = folder.succeed(&["convert", "a.npz", "c.npz", "--skip-unsupported", "--json"]);
    assert_eq!(told.json()["skipped"][0]["name"], "m.name");
    assert!(told.json()["skipped"][0]["found"].as_str().unwrap().contains("\"m.npy\""));
    assert_eq!(names(&folder, "c.npz"), ["m.x", "m.n"]);
}

fn damage_is_never_left_out() {
    let folder = Folder::new();
    let (x, text) = (counting(2, 3), npy("'<U2'", false, "(2,)", &[0; 16]));
    let cut = npy("'<f4'", false, "(2, 3)", &[0; 20]);
    let broken = replaced(&x, b"fortran_order", b"fortran_Order");
    for damaged in [cut, broken] {
        folder.file("a.npz", stored(&[("t.npy", &text), ("x.npy", &damaged), ("y.npy", &x)]));
        for flag in [&[][..], &["--skip-unsupported"]] {
            let args = [&["convert", "a.npz", "b.npz"], flag].concat();
            folder.fail(1, &args, &["the member \"x.npy\"", "pick the other array with --name"]);
        }
        folder.succeed(&["convert", "a.npz", "b.npy", "--name", "y"]);
        assert_eq!(folder.read("b.npy"), x);
        std::fs::remove_file(folder.path().join("b.npy")).expect("removed");
    }
}

fn folders_and_notes_of_macos_do_not_matter() {
    let folder = Folder::new();
    let x = counting(2, 3);
    let members: [(&str, &[u8]); 4] = [
        ("data/", b""),
        ("data/x.npy", &x),
        ("__MACOSX/data/._x.npy", b"\0\x05\x16\x07"),
        ("data/.DS_Store", b"\0\0\0\x01Bud1"),
    ];
    folder.file("a.npz", stored(&members));
    let ran = folder.succeed(&["convert", "a.npz", "b.npz"]);
    assert_eq!(ran.stderr, "");
    assert_eq!(names(&folder, "b.npz"), ["data/x"]);
    let report = folder.succeed(&["convert", "a.npz", "b.npz", "--json"]).json();
    assert_eq!(report["skipped"], json!([]));
    let asked = ["convert", "a.npz", "b.npz", "--name", "__MACOSX/data/._x.npy"];
    folder.fail(1, &asked, &["macOS"]);
}

fn what_the_new_format_lacks_can_be_left_out() {
    let folder = Folder::new();
    let header = r#"{"a":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]},"../y":{"dtype":"U8","shape":[1],"data_offsets":[2,3]},"z":{"dtype":"U8","shape":[1],"data_offsets":[3,4]}}"#;
    folder.file("a.safetensors", safetensors(header, &[0; 4]));
    let says = &["\"a\"", "cannot store bfloat16", "--dtype float32"];
    folder.fail(1, &["convert", "a.safetensors", "b.npz"], says);
    let args = ["convert", "a.safetensors", "b.npz", "--skip-unsupported"];
    let ran = folder.succeed(&args);
    assert!(ran.stderr.contains("the array \"a\": elements of bfloat16"), "{ran:?}");
    assert!(ran.stderr.contains("leads elsewhere"), "{ran:?}");
    assert_eq!(names(&folder, "b.npz"), ["z"]);
    let only = [&args[..], &["--name", "a"]].concat();
    folder.fail(1, &only, &["the array \"a\"", "cannot store bfloat16"]);
}

fn quiet_says_nothing_but_errors() {
    let folder = mixed();
    for flag in ["--quiet", "-q"] {
        let ran = folder.succeed(&["convert", "a.npz", "b.npz", "--skip-unsupported", flag]);
        assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));
        folder.fail(1, &["convert", "a.npz", "b.npz", flag], &["error:", "labels"]);
    }
    folder.fail(2, &["convert", "a.npz", "b.npz", "-q", "--json"], &["cannot be used with"]);
}

fn failures_are_told_as_json() {
    let folder = mixed();
    let error = |code: i32, args: &[&str]| {
        let ran = folder.run(args);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(code), ""), "{args:?}");
        let error: serde_json::Value = serde_json::from_str(&ran.stderr).expect("JSON");
        assert_eq!(error["error"]["exit_code"], code, "{error}");
        error["error"].clone()
    };
    let found = error(1, &["convert", "none.npz", "b.npz", "--json"]);
    assert_eq!(found["asked"], "convert none.npz to b.npz");
    assert!(found["found"].as_str().expect("text").contains("none.npz cannot be read"), "{found}");
    assert!(found["why"].is_string());
    assert!(found.as_object().expect("an object").contains_key("do"));
    error(1, &["plan", "--json", "none.npz"]);
    error(2, &["plan", "a.npz", "--json", "--name", "none"]);
    let found = error(2, &["plan", "a.npz", "--json", "--nonsense"]);
    assert!(found["found"].as_str().expect("text").contains("'--nonsense'"), "{found}");
    assert!(found["do"].as_str().expect("text").contains("--help"), "{found}");
    // Behind -- it is no option of this program.
    let ran = folder.run(&["monitor", "--", "/none", "--json"]);
    assert!(ran.stderr.starts_with("error:"), "{ran:?}");
}

#[cfg(feature = "pt")]
fn numbers_of_a_dictionary_do_not_block_its_tensors() {
    let folder = Folder::new();
    folder.file("a.pt", crate::torch_files::dictionary_with_a_number());
    folder.succeed(&["convert", "a.pt", "b.npy", "--name", "w"]);
    assert_eq!(folder.read("b.npy"), counting(2, 3));
    assert!(folder.succeed(&["info", "a.pt"]).stdout.contains("\": a number"));
}

fn plans_of_many_arrays_are_told_once() {
    let folder = Folder::new();
    let arrays = [counting(1, 2), npy("'<i8'", false, "(1,)", &[0; 8])];
    let members: Vec<_> =
        (0..30).map(|index| (format!("layer{index}.npy"), &arrays[index / 20])).collect();
    let members: Vec<_> = members.iter().map(|(name, bytes)| (&**name, &***bytes)).collect();
    folder.file("a.npz", stored(&members));
    let plan = folder.succeed(&["plan", "a.npz", "--dtype", "f64"]).stdout;
    // Members lie at any address: some have another reason for a copy.
    assert!(plan.contains(" B copied: layer0, ") && plan.contains(" more\n"), "{plan}");
    assert!(!plan.contains("layer19: "), "{plan}");
    let undisturbed = folder.succeed(&["plan", "a.npz"]).stdout;
    assert!(undisturbed.contains("20 arrays, float32, zero-copy: layer0, layer1, layer2 and 17"));
    assert!(undisturbed.contains("10 arrays, int64, zero-copy: layer20, layer21, layer22 and 7"));
    assert_eq!(undisturbed.lines().count(), 4, "{undisturbed}");
    let plan = folder.succeed(&["plan", "a.npz", "--json"]).json();
    assert_eq!(plan["arrays"].as_array().expect("arrays").len(), 30);
}
