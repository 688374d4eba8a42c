//! Sharded checkpoints, read through their index.

use crate::support::{Folder, floats, safetensors};

crate::support::cases! {
    all_shards_are_read_as_one,
    what_shards_say_of_themselves,
    shards_of_pytorch,
    names_that_lead_outside_the_folder,
    what_is_missing_is_named,
    an_index_that_is_none,
    a_shard_is_not_written_over,
}

/// A shard of float32 arrays, each of as many elements, counting up.
fn shard(arrays: &[(&str, usize)]) -> Vec<u8> {
    let mut at = 0;
    let mut elements = Vec::new();
    let entries = arrays.iter().map(|(name, count)| {
        let (start, end) = (at, at + 4 * count);
        at = end;
        elements.extend(floats(*count));
        format!(r#""{name}":{{"dtype":"F32","shape":[{count}],"data_offsets":[{start},{end}]}}"#)
    });
    let header: Vec<String> = entries.collect();
    safetensors(&format!(r#"{{"__metadata__":{{"format":"pt"}},{}}}"#, header.join(",")), &elements)
}

fn index(entries: &[(&str, &str)]) -> String {
    let entries: Vec<String> =
        entries.iter().map(|(name, file)| format!(r#""{name}": "{file}""#)).collect();
    format!(r#"{{"metadata": {{"total_size": 20}}, "weight_map": {{{}}}}}"#, entries.join(", "))
}

const INDEX: &str = "model.safetensors.index.json";
const FIRST: &str = "model-00001-of-00002.safetensors";
const SECOND: &str = "model-00002-of-00002.safetensors";

fn folder() -> Folder {
    let folder = Folder::new();
    folder.file(FIRST, shard(&[("a.weight", 2), ("a.bias", 1)]));
    folder.file(SECOND, shard(&[("b", 3)]));
    folder.file(INDEX, index(&[("b", SECOND), ("a.weight", FIRST), ("a.bias", FIRST)]));
    folder
}

fn all_shards_are_read_as_one() {
    let folder = folder();
    folder.succeed(&["convert", INDEX, "out.safetensors"]);
    let bytes = folder.read("out.safetensors");
    let (_, metadata) = ::safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    assert_eq!(metadata.metadata().as_ref().unwrap()["format"], "pt");
    let whole = ::safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(whole.len(), 3);
    for (name, count) in [("a.weight", 2), ("a.bias", 1), ("b", 3)] {
        assert_eq!(whole.tensor(name).unwrap().data(), floats(count), "{name}");
    }
    // In a folder of its own, and a part of it.
    let plan = folder.succeed(&["plan", INDEX, "--json", "--key", "a"]).json();
    assert_eq!(plan["arrays"].as_array().unwrap().len(), 2);
    std::fs::create_dir(folder.path().join("deep")).unwrap();
    for name in [INDEX, FIRST, SECOND] {
        std::fs::rename(folder.path().join(name), folder.path().join("deep").join(name)).unwrap();
    }
    folder.succeed(&["convert", &format!("deep/{INDEX}"), "out.npz"]);
}

fn what_shards_say_of_themselves() {
    let folder = folder();
    let header = r#"{"__metadata__":{"format":"pt","step":"1"},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"packed":{"dtype":"F4","shape":[8],"data_offsets":[4,8]}}"#;
    folder.file(SECOND, safetensors(header, &[0; 8]));
    let ran = folder.succeed(&["convert", INDEX, "out.safetensors"]);
    assert!(ran.stdout.contains("not all shards share, passed over: \"step\""), "{ran:?}");
    let bytes = folder.read("out.safetensors");
    let (_, metadata) = ::safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let metadata = metadata.metadata().clone().unwrap();
    assert_eq!((metadata.len(), metadata["format"].as_str()), (1, "pt"));
}

#[cfg(not(feature = "pt"))]
fn shards_of_pytorch() {}

#[cfg(feature = "pt")]
fn shards_of_pytorch() {
    use crate::pickles::{Pickled, dict, torch_file};

    let folder = Folder::new();
    for (file, name) in [("pytorch_model-1.bin", "x"), ("pytorch_model-2.bin", "y")] {
        let value = dict(&[(name, Pickled::Tensor("0", 2))]);
        folder.file(file, torch_file(&value, &[("0", &floats(2))]));
    }
    let entries = [("x", "pytorch_model-1.bin"), ("y", "pytorch_model-2.bin")];
    folder.file("pytorch_model.bin.index.json", index(&entries));
    folder.succeed(&["convert", "pytorch_model.bin.index.json", "out.safetensors"]);
    let bytes = folder.read("out.safetensors");
    let whole = ::safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(whole.tensor("x").unwrap().data(), floats(2));
    assert_eq!(whole.tensor("y").unwrap().data(), floats(2));
}

fn names_that_lead_outside_the_folder() {
    let folder = folder();
    folder.file("out.safetensors", shard(&[("x", 1)]));
    let outside = folder.path().join("out.safetensors").display().to_string();
    for name in ["../x.safetensors", "a/../../x", &outside, "C:/x", r"..\\x", ".", ""] {
        folder.file(INDEX, index(&[("x", name)]));
        folder.fail(1, &["convert", INDEX, "b.npz"], &["leads outside the folder"]);
    }
}

fn what_is_missing_is_named() {
    let folder = folder();
    let entries = [("a.weight", FIRST), ("c", "third.safetensors"), ("d", "fourth.safetensors")];
    folder.file(INDEX, index(&entries));
    let says = ["2 of 3 shards are missing: \"fourth.safetensors\", \"third.safetensors\""];
    folder.fail(1, &["convert", INDEX, "b.npz"], &says);
    folder.file(INDEX, index(&[("a.weight", FIRST), ("c", FIRST), ("d", FIRST)]));
    let says = format!("the shard {FIRST}: it has no array \"c\", \"d\"");
    folder.fail(1, &["convert", INDEX, "b.npz"], &[&says, "fetch"]);
    // What the index does not name is passed over and told.
    folder.file(INDEX, index(&[("a.weight", FIRST)]));
    let told = folder.succeed(&["convert", INDEX, "b.npz"]).stdout;
    assert!(told.contains("\"a.bias\" (an array that the index does not name)"), "{told}");
}

fn an_index_that_is_none() {
    let folder = folder();
    let texts = ["{}", "{", r#"{"weight_map": 3}"#, r#"{"weight_map": {"x": 3}}"#];
    for text in texts {
        folder.file("config.json", text);
        folder.fail(1, &["convert", "config.json", "b.npz"], &["no index", "weight_map"]);
    }
    folder.file(INDEX, index(&[("b", SECOND), ("b", SECOND)]));
    folder.fail(1, &["convert", INDEX, "b.npz"], &["it has \"b\" twice"]);
    folder.file(INDEX, index(&[("b", INDEX)]));
    folder.fail(2, &["convert", INDEX, "b.npz"], &["unknown extension .json"]);
}

fn a_shard_is_not_written_over() {
    folder().fail(2, &["convert", INDEX, SECOND], &["is the input itself"]);
}
