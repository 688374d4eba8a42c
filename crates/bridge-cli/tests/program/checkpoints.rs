//! Checkpoints: tensors among nested values, under dotted names, and parts of them under other names.

use crate::pickles::{
    Pickled, built, bytes, call, dict, encoded, legacy_file, numpy_array, numpy_type, storage,
    tensor_in, torch_archive, torch_file,
};
use crate::support::{Folder, counting, floats, npy, replaced, stored};

use Pickled::{Bool, Dict, Float, Int, List, Object, Raw, Tensor, Text, Tuple};

crate::support::cases! {
    tensors_come_out_under_dotted_names,
    what_is_no_tensor_is_passed_over_and_told,
    a_list_is_named_by_its_indices,
    a_part_is_taken_and_names_change,
    names_that_would_be_the_same_are_refused,
    parts_and_prefixes_that_are_not_there,
    values_that_lead_back_to_themselves,
    a_few_values_that_stand_for_many,
    other_protocols,
    the_device_does_not_matter,
    tensors_that_are_not_read_are_named,
    arrays_of_numpy,
    arrays_of_numpy_that_lie,
    keys_that_give_no_name,
    tensors_without_a_name_of_their_own,
    attributes_that_are_no_tensors,
    files_from_before_version_1_6,
    damaged_files_from_before_version_1_6,
    what_libtorch_saves,
    programs_of_torch_script,
}

/// The names and the first elements of the arrays in an `.npz` file, by the program's own reading.
fn names(folder: &Folder, file: &str) -> Vec<String> {
    let plan = folder.succeed(&["plan", file, "--json"]).json();
    let arrays = plan["arrays"].as_array().unwrap().iter();
    arrays.map(|array| array["name"].as_str().unwrap().to_owned()).collect()
}

/// Asserts that this array of the file counts up from `first`.
#[track_caller]
fn counts(folder: &Folder, file: &str, name: &str, count: usize) {
    folder.succeed(&["convert", file, "one.npy", "--name", name]);
    let wanted = npy("'<f4'", false, &format!("({count},)"), &floats(count));
    assert_eq!(folder.read("one.npy"), wanted, "{name}");
}

/// A checkpoint as training writes it.
fn checkpoint() -> Vec<u8> {
    let state = dict(&[("step", Tensor("2", 1)), ("exp_avg", Tensor("3", 3))]);
    let group = dict(&[("lr", Float(0.1)), ("params", List(vec![Int(0), Int(1)]))]);
    let scalar = call(
        "numpy._core.multiarray",
        "scalar",
        &[call("numpy", "dtype", &[Text("f8"), Bool(false), Bool(true)]), Raw(b"C\x01a".to_vec())],
    );
    let value = dict(&[
        ("epoch", Int(3)),
        (
            "model_state_dict",
            dict(&[
                ("module.layer1.weight", Tensor("0", 4)),
                ("module.layer1.bias", Tensor("1", 2)),
            ]),
        ),
        (
            "optimizer_state_dict",
            dict(&[("state", Dict(vec![(Int(0), state)])), ("param_groups", List(vec![group]))]),
        ),
        ("loss", scalar),
        ("best", Pickled::None),
        ("size", call("torch", "Size", &[Tuple(vec![Int(2)])])),
        ("device", call("torch", "device", &[Text("cpu")])),
        ("dtype", Pickled::Global("torch", "float32")),
        ("seen", call("__builtin__", "set", &[List(vec![Int(1)])])),
        ("pair", Tuple(vec![Tensor("1", 2), Text("x")])),
    ]);
    let [four, two, one, three] = [4, 2, 1, 3].map(floats);
    torch_file(&value, &[("0", &four), ("1", &two), ("2", &one), ("3", &three)])
}

fn tensors_come_out_under_dotted_names() {
    let folder = Folder::new();
    folder.file("a.pt", checkpoint());
    let wanted = [
        "model_state_dict.module.layer1.weight",
        "model_state_dict.module.layer1.bias",
        "optimizer_state_dict.state.0.step",
        "optimizer_state_dict.state.0.exp_avg",
        "pair.0",
    ];
    assert_eq!(names(&folder, "a.pt"), wanted);
    for (name, count) in wanted.into_iter().zip([4, 2, 1, 3, 2]) {
        counts(&folder, "a.pt", name, count);
    }
    folder.succeed(&["convert", "a.pt", "b.safetensors"]);
    assert_eq!(names(&folder, "b.safetensors").len(), 5);
}

fn what_is_no_tensor_is_passed_over_and_told() {
    let folder = Folder::new();
    folder.file("a.pt", checkpoint());
    let told = folder.succeed(&["convert", "a.pt", "b.npz"]).stdout;
    for says in ["no arrays", "\"epoch\" (a number)", "param_groups\" (a list)", "and 4 more"] {
        assert!(told.contains(says), "{says}: {told}");
    }
    let report = folder.succeed(&["convert", "a.pt", "b.npz", "--json"]).json();
    assert!(report["remarks"][0].as_str().unwrap().contains("\"epoch\""), "{report}");
    let plan = folder.succeed(&["plan", "a.pt"]).stdout;
    assert!(plan.contains("\"epoch\" (a number)"), "{plan}");
    // Nothing is told of a file without.
    folder.file("c.pt", torch_file(&dict(&[("x", Tensor("0", 1))]), &[("0", &floats(1))]));
    let report = folder.succeed(&["convert", "c.pt", "b.npz", "--json"]).json();
    assert!(report.get("remarks").is_none(), "{report}");
}

fn a_list_is_named_by_its_indices() {
    let folder = Folder::new();
    for value in
        [List(vec![Tensor("0", 2), Tensor("1", 3)]), Tuple(vec![Tensor("0", 2), Tensor("1", 3)])]
    {
        folder.file("a.pt", torch_file(&value, &[("0", &floats(2)), ("1", &floats(3))]));
        assert_eq!(names(&folder, "a.pt"), ["0", "1"]);
    }
}

fn a_part_is_taken_and_names_change() {
    let folder = Folder::new();
    folder.file("a.ckpt", checkpoint());
    let part = ["--key", "model_state_dict", "--strip-prefix", "module."];
    let rename = ["--rename", "layer1.w=first.w", "--rename", "layer1.=other."];
    let convert = |more: &[&str]| {
        folder.succeed(&[&["convert", "a.ckpt", "b.npz"], more].concat());
        names(&folder, "b.npz")
    };
    assert_eq!(convert(&part), ["layer1.weight", "layer1.bias"]);
    assert_eq!(convert(&[&part[..], &rename].concat()), ["first.weight", "other.bias"]);
    assert_eq!(convert(&["--key", "optimizer_state_dict.state.0"]), ["step", "exp_avg"]);
    assert_eq!(convert(&["--key", "pair.0"]), ["0"]);
    // It is not only for checkpoints, and --name is about the new names.
    folder.file("c.npz", stored(&[("x.y.npy", &counting(1, 2)), ("xy.npy", &counting(1, 2))]));
    folder.succeed(&["convert", "c.npz", "d.npz", "--key", "x", "--name", "y"]);
    assert_eq!(names(&folder, "d.npz"), ["y"]);
    let plan = folder.succeed(&["plan", "c.npz", "--json", "--key", "x"]).json();
    assert_eq!(plan["arrays"][0]["name"], "y");
}

fn names_that_would_be_the_same_are_refused() {
    let folder = Folder::new();
    let nested = dict(&[("a", dict(&[("b", Tensor("0", 1))])), ("a.b", Tensor("0", 1))]);
    folder.file("a.pt", torch_file(&nested, &[("0", &floats(1))]));
    folder.fail(1, &["convert", "a.pt", "b.npz"], &["two tensors are named \"a.b\"", "lost"]);
    folder.file("c.npz", stored(&[("m.x.npy", &counting(1, 2)), ("x.npy", &counting(1, 2))]));
    let says = ["\"m.x\" and \"x\" would both be called \"x\"", "lost", "--rename"];
    folder.fail(2, &["convert", "c.npz", "b.npz", "--strip-prefix", "m."], &says);
    folder.fail(2, &["convert", "c.npz", "b.npz", "--strip-prefix", "x"], &["no name"]);
}

fn parts_and_prefixes_that_are_not_there() {
    let folder = Folder::new();
    folder.file("a.pt", checkpoint());
    let fail = |more: &[&str], says: &[&str]| {
        folder.fail(2, &[&["convert", "a.pt", "b.npz"], more].concat(), says);
    };
    let says =
        ["no arrays in \"model\"", "\"model_state_dict\", \"optimizer_state_dict\", \"pair\""];
    fail(&["--key", "model"], &says);
    fail(&["--key", "epoch"], &["no arrays in \"epoch\""]);
    fail(&["--strip-prefix", "modul."], &["no name begins with \"modul.\"", "--strip-prefix"]);
    fail(&["--rename", "modul.=x"], &["no name begins with \"modul.\"", "--rename"]);
    fail(&["--rename", "modul"], &["OLD=NEW"]);
    folder.file("x.npy", counting(1, 2));
    folder.fail(2, &["convert", "x.npy", "b.npz", "--key", "x"], &["without a name"]);
}

fn values_that_lead_back_to_themselves() {
    let folder = Folder::new();
    // A dictionary that is an entry of itself, and of a list beside a tensor in it.
    let tensor = Tensor("0", 2).operations();
    let itself = [
        b"}q\0".to_vec(),
        Text("self").operations(),
        b"h\0s".to_vec(),
        Text("list").operations(),
        b"](h\0".to_vec(),
        tensor,
        b"es".to_vec(),
    ];
    folder.file("a.pt", torch_file(&Raw(itself.concat()), &[("0", &floats(2))]));
    assert_eq!(names(&folder, "a.pt"), ["list.1"]);
    counts(&folder, "a.pt", "list.1", 2);
    // Nothing but itself.
    folder.file("b.pt", torch_file(&Raw(b"]q\0h\0a".to_vec()), &[]));
    folder.fail(1, &["convert", "b.pt", "b.npz"], &["no tensors"]);
}

/// Each list has the one before it twice: 2⁶⁰ names.
fn a_few_values_that_stand_for_many() {
    let folder = Folder::new();
    let doubled: Vec<u8> =
        (0..60_u8).flat_map(|at| [b'q', at, b'0', b'h', at, b'h', at, 0x86]).collect();
    let many = [Tensor("0", 1).operations(), doubled].concat();
    folder.file("a.pt", torch_file(&Raw(many), &[("0", &floats(1))]));
    let says = ["more values than there is room for"];
    folder.fail(1, &["convert", "a.pt", "b.npz"], &says);
    // Without a tensor nobody asks for their names.
    let doubled: Vec<u8> =
        (0..60_u8).flat_map(|at| [b'q', at, b'0', b'h', at, b'h', at, 0x86]).collect();
    let both = [b"(K\x01".to_vec(), doubled, Tensor("0", 1).operations(), b"t".to_vec()].concat();
    folder.file("a.pt", torch_file(&Raw(both), &[("0", &floats(1))]));
    assert_eq!(names(&folder, "a.pt"), ["1"]);
}

/// As Python pickles with protocols 3 to 5.
fn other_protocols() {
    let folder = Folder::new();
    let id = [
        &b"(\x8c\x07storage\x94\x8c\x05torch\x94\x8c\x0cFloatStorage\x94\x93\x94\x8c\x010\x94"[..],
        b"\x8c\x03cpu\x94K\x02t\x94Q",
    ]
    .concat();
    let value = [
        &b"\x95\x10\0\0\0\0\0\0\0}\x94(\x8c\x01x\x94\x8c\x0ctorch._utils\x94"[..],
        b"\x8c\x12_rebuild_tensor_v2\x94\x93\x94(",
        &id,
        b"K\0K\x02\x85\x94K\x01\x85\x94\x89\x8c\x0bcollections\x94\x8c\x0bOrderedDict\x94\x93)Rt\x94R\x94",
        b"\x8c\x01s\x94\x8f\x94(K\x01\x90\x8c\x01b\x94C\x02ab\x94u",
    ]
    .concat();
    for protocol in [3, 4, 5] {
        let mut file = torch_file(&Raw(value.clone()), &[("0", &floats(2))]);
        let at = file.windows(2).position(|window| window == b"\x80\x02").unwrap();
        // Its checksum is that of the other protocol, and is not compared: the pickle is read in place.
        file[at + 1] = protocol;
        folder.file("a.pt", file);
        assert_eq!(names(&folder, "a.pt"), ["x"], "{protocol}");
        counts(&folder, "a.pt", "x", 2);
    }
    let file = torch_archive(&Int(1), &[], &[]);
    let at = file.windows(2).position(|window| window == b"\x80\x02").unwrap();
    folder.file("b.pt", [&file[..=at], &[9], &file[at + 2..]].concat());
    folder.fail(1, &["convert", "b.pt", "b.npz"], &["protocol 9"]);
}

fn the_device_does_not_matter() {
    let folder = Folder::new();
    let value = dict(&[("x", tensor_in("FloatStorage", "0", "cuda:3", 2))]);
    folder.file("a.pt", torch_file(&value, &[("0", &floats(2))]));
    folder.file("b.pt", legacy_file(&value, &[("0", 2, &floats(2))]));
    counts(&folder, "a.pt", "x", 2);
    counts(&folder, "b.pt", "x", 2);
}

fn tensors_that_are_not_read_are_named() {
    let folder = Folder::new();
    let made = |name, given: &[Pickled]| call("torch._utils", name, given);
    let quantised = made("_rebuild_qtensor", &[storage("QInt8Storage", "0", "cpu", 1)]);
    let int4 = Pickled::Global("torch", "int4");
    let shape = || Tuple(vec![Int(1)]);
    let of_type = [Int(0), Int(0), shape(), shape(), Bool(false), Pickled::None, int4];
    let array = call(
        "numpy.core.multiarray",
        "_reconstruct",
        &[Pickled::Global("numpy", "ndarray"), shape(), Raw(b"C\x01b".to_vec())],
    );
    let cases: Vec<(Pickled, &[&str])> = vec![
        (made("_rebuild_sparse_tensor", &[]), &["a sparse tensor", "not zero", "to_dense()"]),
        (quantised, &["a quantised tensor", "scale", "dequantize()"]),
        (made("_rebuild_meta_tensor_no_storage", &[]), &["\"meta\"", "without values"]),
        (made("_rebuild_nested_tensor", &[]), &["a nested tensor", "unbind()"]),
        (made("_rebuild_tensor_v3", &of_type), &["torch.int4"]),
        (array, &["an array of NumPy", "plain numbers", "torch.from_numpy"]),
    ];
    for (value, says) in cases {
        let both = dict(&[("good", Tensor("0", 1)), ("odd", value.clone())]);
        folder.file("a.pt", torch_file(&both, &[("0", &floats(1))]));
        folder.fail(1, &["convert", "a.pt", "b.npz"], &[&["the entry \"odd\": "], says].concat());
        // Whoever does not ask for it is not told.
        folder.succeed(&["convert", "a.pt", "one.npz", "--name", "good"]);
        std::fs::remove_file(folder.path().join("one.npz")).unwrap();
        // Alone in its file.
        folder.file("a.pt", torch_file(&value, &[("0", &floats(1))]));
        folder.fail(1, &["convert", "a.pt", "b.npz"], says);
    }
    // Not where it is in another part.
    let parts = dict(&[
        ("good", dict(&[("x", Tensor("0", 1))])),
        ("odd", dict(&[("x", made("_rebuild_sparse_tensor", &[]))])),
    ]);
    folder.file("a.pt", torch_file(&parts, &[("0", &floats(1))]));
    folder.fail(1, &["convert", "a.pt", "b.npz"], &["the entry \"odd.x\""]);
    folder.succeed(&["convert", "a.pt", "b.npz", "--key", "good"]);
}

fn arrays_of_numpy() {
    let folder = Folder::new();
    let plain = |name, order| numpy_type(name, order, Pickled::None);
    let elements: Vec<u8> = (0..24).map(|number| number * 11).collect();
    let swapped: Vec<u8> = elements.chunks(4).flat_map(|it| it.iter().rev().copied()).collect();
    let buffer = Raw([&[0x96][..], &24_u64.to_le_bytes(), &elements].concat());
    let shape = Tuple(vec![Int(2), Int(3)]);
    let from_buffer =
        call("numpy._core.numeric", "_frombuffer", &[buffer, plain("u4", "<"), shape, Text("C")]);
    let value = dict(&[
        ("bytes", numpy_array(&[2, 3], &plain("u4", "<"), false, &bytes(&elements))),
        ("text", numpy_array(&[2, 3], &plain("u4", "<"), false, &encoded(&elements))),
        ("big", numpy_array(&[2, 3], &plain("u4", ">"), false, &encoded(&swapped))),
        ("columns", numpy_array(&[3, 2], &plain("u4", "<"), true, &encoded(&elements))),
        ("buffer", from_buffer),
        (
            "none",
            numpy_array(&[0, 3], &plain("f8", "<"), false, &call("__builtin__", "bytes", &[])),
        ),
        ("scalar", numpy_array(&[], &plain("b1", "|"), false, &bytes(&[1]))),
        ("x", Tensor("0", 2)),
    ]);
    folder.file("now.pt", torch_file(&value, &[("0", &floats(2))]));
    folder.file("before.pt", legacy_file(&value, &[("0", 2, &floats(2))]));
    let wanted = npy("'<u4'", false, "(2, 3)", &elements);
    for file in ["now.pt", "before.pt"] {
        folder.succeed(&["convert", file, "all.npz"]);
        assert_eq!(names(&folder, file).len(), 8);
        for name in ["bytes", "text", "big", "buffer"] {
            folder.succeed(&["convert", file, "one.npy", "--name", name]);
            assert!(folder.read("one.npy") == wanted, "{file} {name}");
        }
        folder.succeed(&["convert", file, "one.npy", "--name", "columns"]);
        assert!(folder.read("one.npy") == npy("'<u4'", true, "(3, 2)", &elements), "{file}");
        // Where the other order is written.
        folder.succeed(&["convert", file, "rows.safetensors", "--name", "columns"]);
        folder.succeed(&["diff", "one.npy", "rows.safetensors", "--ignore-dtype"]);
        folder.succeed(&["convert", file, "one.npy", "--name", "none"]);
        assert!(folder.read("one.npy") == npy("'<f8'", false, "(0, 3)", &[]), "{file}");
        folder.succeed(&["convert", file, "one.npy", "--name", "scalar"]);
        assert!(folder.read("one.npy") == npy("'|b1'", false, "()", &[1]), "{file}");
        let small = ["--memory-limit", "16", "--name", "text"];
        folder.succeed(&[&["convert", file, "one.npy"], &small[..]].concat());
        assert!(folder.read("one.npy") == wanted, "{file}");
        let info = folder.succeed(&["info", file]).stdout;
        assert!(info.contains("text in the pickle"), "{info}");
    }
    // One array alone has no name.
    let alone = numpy_array(&[2, 3], &plain("u4", "<"), false, &encoded(&elements));
    folder.file("alone.pt", torch_file(&alone, &[]));
    folder.succeed(&["convert", "alone.pt", "one.npy"]);
    assert!(folder.read("one.npy") == wanted);
    // The archive's checksum is of the pickle.
    let damaged = replaced(&folder.read("alone.pt"), &[11, 22, 33, 44], &[11, 22, 33, 45]);
    folder.file("alone.pt", damaged);
    folder.fail(1, &["convert", "alone.pt", "b.npz"], &["checksum"]);
    let shared = Raw([
        encoded(&elements).operations(),
        b"q\x01".to_vec(),
        numpy_array(&[6], &plain("u4", "<"), false, &Raw(b"h\x01".to_vec())).operations(),
        b"\x86".to_vec(),
    ]
    .concat());
    folder.file("shared.pt", torch_file(&shared, &[]));
    assert_eq!(names(&folder, "shared.pt"), ["1"]);
}

fn arrays_of_numpy_that_lie() {
    let folder = Folder::new();
    let plain = |name| numpy_type(name, "<", Pickled::None);
    let eight = || bytes(&[0; 8]);
    let forged: Vec<(Pickled, &str)> = vec![
        (numpy_array(&[3], &plain("u4"), false, &eight()), "of 12 bytes has 8"),
        (numpy_array(&[2], &plain("u4"), false, &encoded(&[0xff; 9])), "of 8 bytes has 9"),
        (numpy_array(&[-2], &plain("u4"), false, &eight()), "no tuple of extents"),
        (numpy_array(&[1 << 40, 1 << 40], &plain("u4"), false, &eight()), "error:"),
        (numpy_array(&[i64::MAX], &plain("u4"), false, &eight()), "error:"),
        (built(&numpy_array(&[], &plain("O8"), false, &List(vec![])), &Int(1)), "as NumPy does"),
    ];
    for (value, says) in forged {
        folder.file("a.pt", torch_file(&dict(&[("x", value)]), &[]));
        folder.fail(1, &["convert", "a.pt", "b.npz", "--skip-unsupported"], &[says]);
    }
    // A long text that is named often takes no more time than there is room for.
    let text = [&b"X"[..], &(4_u32 << 20).to_le_bytes(), &vec![b'a'; 4 << 20], b"q\x01"].concat();
    let again = call("_codecs", "encode", &[Raw(b"h\x01".to_vec()), Text("latin1")]);
    let often = [text, b"0](".to_vec(), again.operations().repeat(100), b"e".to_vec()].concat();
    folder.file("a.pt", torch_file(&Raw(often), &[]));
    folder.fail(1, &["convert", "a.pt", "b.npz"], &["more values than there is room for"]);
    let names = Tuple(vec![Text("a"), Text("b")]);
    let unread: Vec<Pickled> = vec![
        numpy_array(&[1], &plain("O8"), false, &List(vec![Int(1)])),
        numpy_array(&[1], &plain("U2"), false, &eight()),
        numpy_array(&[1], &plain("M8"), false, &eight()),
        numpy_array(&[1], &plain("f16"), false, &bytes(&[0; 16])),
        numpy_array(&[1], &numpy_type("V8", "|", names), false, &eight()),
        numpy_array(&[2], &plain("u4"), false, &Text("12345678")),
        numpy_array(&[2], &Text("u4"), false, &eight()),
    ];
    for (number, value) in unread.into_iter().enumerate() {
        let both = dict(&[("good", Tensor("0", 2)), ("odd", value)]);
        folder.file("a.pt", torch_file(&both, &[("0", &floats(2))]));
        let says = &["the entry \"odd\": an array of NumPy", "plain numbers"];
        folder.fail(1, &["convert", "a.pt", "b.npz"], says);
        let told = folder.succeed(&["convert", "a.pt", "c.npz", "--skip-unsupported", "--json"]);
        assert_eq!(told.json()["skipped"][0]["name"], "odd", "{number}");
        std::fs::remove_file(folder.path().join("c.npz")).unwrap();
    }
}

fn keys_that_give_no_name() {
    let folder = Folder::new();
    let pair = Tuple(vec![Int(1), Int(2)]);
    let value = Dict(vec![(pair.clone(), Tensor("0", 1)), (Text("x"), Tensor("0", 1))]);
    folder.file("a.pt", torch_file(&value, &[("0", &floats(1))]));
    folder.fail(1, &["convert", "a.pt", "b.npz"], &["its key is a tuple", "texts"]);
    // Where there is no tensor, no name is asked for.
    let value =
        Dict(vec![(pair, Int(1)), (Text("x"), Tensor("0", 1)), (Bool(true), Tensor("0", 1))]);
    folder.file("a.pt", torch_file(&value, &[("0", &floats(1))]));
    assert_eq!(names(&folder, "a.pt"), ["x", "True"]);
}

/// A tensor with these attributes, by the function of `torch._utils` or of `torch._tensor`.
fn with_attributes(attributes: Pickled) -> [Pickled; 2] {
    let hooks = || call("collections", "OrderedDict", &[]);
    let given = [Tensor("0", 1), Bool(true), hooks(), attributes.clone()];
    let parameter = call("torch._utils", "_rebuild_parameter_with_state", &given);
    let plain = call("torch._utils", "_rebuild_parameter", &given[..3]);
    let Pickled::Call(_, _, arguments) = plain else {
        panic!("it should be a call");
    };
    let function = Pickled::Global("torch._utils", "_rebuild_parameter");
    let class = Pickled::Global("torch.nn.parameter", "Parameter");
    let given = [function, class, Tuple(arguments), attributes];
    [parameter, call("torch._tensor", "_rebuild_from_type_v2", &given)]
}

/// None of them is left out without a word.
fn tensors_without_a_name_of_their_own() {
    let folder = Folder::new();
    let sparse = || call("torch._utils", "_rebuild_sparse_tensor", &[]);
    let tensor = || Tensor("0", 1);
    let set = |name, item| call("builtins", name, &[List(vec![item])]);
    let added = |item: Pickled| Raw([&b"\x8f("[..], &item.operations(), b"\x90"].concat());
    let frozen = |item: Pickled| Raw([&b"("[..], &item.operations(), b"\x91"].concat());
    let key = |key| Dict(vec![(key, Int(1)), (Text("x"), Int(2))]);
    let built = |value: Pickled, state: Pickled| {
        Raw([value.operations(), state.operations(), b"b".to_vec()].concat())
    };
    let in_set = ["\"odd\": a tensor in a set", "do:"];
    let in_key = ["\"odd.?\": a tensor in the key of a dictionary", "do:"];
    let in_attribute = ["\"odd.__dict__\": a tensor in an attribute", "do:"];
    let mut cases = vec![
        (set("set", tensor()), in_set),
        (set("frozenset", sparse()), in_set),
        (added(tensor()), in_set),
        (frozen(tensor()), in_set),
        (frozen(Tuple(vec![Int(1), frozen(sparse())])), in_set),
        (key(tensor()), in_key),
        (key(sparse()), in_key),
        (key(Tuple(vec![Int(1), tensor()])), in_key),
        (Dict(vec![(tensor(), tensor())]), in_key),
        (built(Dict(vec![]), dict(&[("scale", tensor())])), in_attribute),
        (built(tensor(), dict(&[("scale", tensor())])), in_attribute),
    ];
    let states = [
        dict(&[("scale", tensor())]),
        dict(&[("scale", sparse())]),
        Tuple(vec![dict(&[]), dict(&[("scales", List(vec![Int(1), tensor()]))])]),
    ];
    for state in states {
        cases.extend(with_attributes(state).map(|value| (value, in_attribute)));
    }
    for (value, says) in cases {
        let both = dict(&[("good", tensor()), ("odd", value.clone())]);
        folder.file("a.pt", torch_file(&both, &[("0", &floats(1))]));
        folder.fail(1, &["convert", "a.pt", "b.npz"], &says);
        let told = folder.succeed(&["convert", "a.pt", "c.npz", "--skip-unsupported"]).stderr;
        assert!(told.contains("odd"), "{told}");
        counts(&folder, "c.npz", "good", 1);
        std::fs::remove_file(folder.path().join("c.npz")).expect("it was written");
        // Alone in its file.
        folder.file("a.pt", torch_file(&value, &[("0", &floats(1))]));
        let what = says[0].rsplit(": ").next().expect("it should say what was found");
        folder.fail(1, &["convert", "a.pt", "b.npz"], &[what]);
    }
}

fn attributes_that_are_no_tensors() {
    let folder = Folder::new();
    for state in [dict(&[]), dict(&[("decay", Float(0.5)), ("seen", List(vec![Int(1)]))])] {
        for value in with_attributes(state) {
            folder.file("a.pt", torch_file(&dict(&[("x", value)]), &[("0", &floats(1))]));
            counts(&folder, "a.pt", "x", 1);
        }
    }
}

/// Two tensors of which each storage has its length before it.
fn legacy() -> Vec<u8> {
    let value =
        dict(&[("epoch", Int(1)), ("x", Tensor("b", 3)), ("y", dict(&[("z", Tensor("a", 2))]))]);
    legacy_file(&value, &[("a", 2, &floats(2)), ("b", 3, &floats(3))])
}

fn files_from_before_version_1_6() {
    let folder = Folder::new();
    folder.file("a.pth", legacy());
    assert_eq!(names(&folder, "a.pth"), ["x", "y.z"]);
    counts(&folder, "a.pth", "x", 3);
    counts(&folder, "a.pth", "y.z", 2);
    // Of Python 2: byte strings, an ordered dictionary of a list of pairs, and older functions.
    let id =
        [Text("storage"), Pickled::Global("torch", "FloatStorage"), Text("k"), Text("cpu"), Int(4)];
    let id = [&id[..], &[Pickled::None]].concat();
    let storage = Raw([Tuple(id).operations(), b"Q".to_vec()].concat());
    let two = || Tuple(vec![Int(2), Int(2)]);
    let strides = Tuple(vec![Int(2), Int(1)]);
    let tensor = call("torch._utils", "_rebuild_tensor", &[storage, Int(0), two(), strides]);
    let pairs = List(vec![List(vec![Raw(b"U\x01w".to_vec()), tensor])]);
    let value = call("collections", "OrderedDict", &[pairs]);
    folder.file("b.pth", legacy_file(&value, &[("k", 4, &floats(4))]));
    assert_eq!(names(&folder, "b.pth"), ["w"]);
    folder.succeed(&["convert", "b.pth", "w.npy"]);
    assert_eq!(folder.read("w.npy"), counting(2, 2));
    // One tensor has no name.
    folder.file("c.pth", legacy_file(&Tensor("k", 4), &[("k", 4, &floats(4))]));
    folder.succeed(&["convert", "c.pth", "c.npz"]);
    assert_eq!(names(&folder, "c.npz"), ["c"]);
}

fn damaged_files_from_before_version_1_6() {
    let folder = Folder::new();
    let whole = legacy();
    for length in (16..whole.len()).step_by(7) {
        folder.file("a.pt", &whole[..length]);
        folder.fail(1, &["convert", "a.pt", "b.npz"], &["found:"]);
    }
    let fail = |bytes: Vec<u8>, says: &str| {
        folder.file("a.pt", bytes);
        folder.fail(1, &["convert", "a.pt", "b.npz"], &[says]);
    };
    fail([&whole[..], b"x"].concat(), "1 bytes follow");
    let (x, two) = (Tensor("a", 2), floats(2));
    fail(legacy_file(&x, &[("a", 3, &floats(3))]), "said to have 8 bytes, and has 12");
    fail(legacy_file(&x, &[("a", u64::MAX, &two)]), "said to have 8 bytes");
    fail(legacy_file(&x, &[]), "\"a\" is not in the file");
    fail(legacy_file(&x, &[("b", 2, &two)]), "no tensor lies in the storage \"b\"");
    fail(legacy_file(&x, &[("a", 2, &two), ("a", 2, &two)]), "there twice");
    fail(legacy_file(&call("posix", "system", &[]), &[]), "posix.system");
}

/// `VarStore::save` of tch and `torch::save` of C++: an object of the class Module, whose names have no dots.
fn what_libtorch_saves() {
    let folder = Folder::new();
    let attributes = [("layer|weight", Tensor("0", 2)), ("bias", Tensor("1", 1))];
    let module = Object("__torch__", "Module", attributes.to_vec());
    let code = b"class Module(Module):\n";
    let more = [("code/__torch__.py", &code[..]), ("constants.pkl", b"\x80\x02).")];
    let file = torch_archive(&module, &[("0", &floats(2)), ("1", &floats(1))], &more);
    folder.file("a.ot", file);
    assert_eq!(names(&folder, "a.ot"), ["layer.weight", "bias"]);
    counts(&folder, "a.ot", "layer.weight", 2);
    // Only there the line stands for a dot.
    let other = Object("__torch__", "Net", attributes.to_vec());
    folder.file("b.pt", torch_archive(&other, &[("0", &floats(2)), ("1", &floats(1))], &more));
    assert_eq!(names(&folder, "b.pt"), ["layer|weight", "bias"]);
}

fn programs_of_torch_script() {
    let folder = Folder::new();
    let layer = Object(
        "__torch__.torch.nn.modules.linear",
        "Linear",
        vec![("weight", Tensor("0", 2)), ("training", Bool(true))],
    );
    let sizes = call("torch.jit._pickle", "build_intlist", &[List(vec![Int(1)])]);
    let module =
        Object("__torch__.___torch_mangle_0", "Net", vec![("fc", layer), ("sizes", sizes)]);
    let more = [("constants.pkl", &b"\x80\x02)."[..]), ("constants/0", &[0; 4])];
    folder.file("a.pt", torch_archive(&module, &[("0", &floats(2))], &more));
    assert_eq!(names(&folder, "a.pt"), ["fc.weight"]);
    let told = folder.succeed(&["convert", "a.pt", "b.npz"]).stdout;
    assert!(told.contains("1 tensors that belong to a program's code"), "{told}");
}
