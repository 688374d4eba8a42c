//! Names of arrays: where they come from, and which a format cannot have.

use crate::support::{Folder, archive_of_one, counting, safetensors, stored};

crate::support::cases! {
    an_array_without_a_name_is_called_like_its_file,
    one_array_of_several,
    names_that_another_format_cannot_have,
    archives_whose_first_name_has_any_length,
}

fn names(folder: &Folder, file: &str) -> Vec<String> {
    let plan = folder.succeed(&["plan", file, "--json"]).json();
    let arrays = plan["arrays"].as_array().unwrap().iter();
    arrays.map(|array| array["name"].as_str().unwrap().to_owned()).collect()
}

fn an_array_without_a_name_is_called_like_its_file() {
    let folder = Folder::new();
    folder.file("picture.v2.npy", counting(1, 2));
    folder.succeed(&["convert", "picture.v2.npy", "a.npz"]);
    assert_eq!(names(&folder, "a.npz"), ["picture.v2"]);
    folder.succeed(&["convert", "picture.v2.npy", "a.safetensors", "--name", "x"]);
    assert_eq!(names(&folder, "a.safetensors"), ["x"]);
}

fn one_array_of_several() {
    let folder = Folder::new();
    let (x, y) = (counting(1, 2), counting(2, 2));
    folder.file("a.npz", stored(&[("x.npy", &x), ("y.npy", &y)]));
    folder.succeed(&["convert", "a.npz", "b.safetensors", "--name", "y"]);
    assert_eq!(names(&folder, "b.safetensors"), ["y"]);
}

fn names_that_another_format_cannot_have() {
    let folder = Folder::new();
    let header = r#"{"../../evil":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#;
    folder.file("a.safetensors", safetensors(header, &[0]));
    folder.fail(1, &["convert", "a.safetensors", "b.npz"], &["\"../../evil\"", "leads elsewhere"]);
    // It names no file: the bytes go where the command line says.
    folder.succeed(&["convert", "a.safetensors", "b.npy", "--name", "../../evil"]);
    folder.file("a.npy", counting(1, 1));
    let args = ["convert", "a.npy", "b.safetensors", "--name", "__metadata__"];
    folder.fail(1, &args, &["__metadata__", "safetensors keeps that name"]);
    folder.fail(1, &["convert", "a.npy", "b.npz", "--name", "/etc/x"], &["absolute"]);
}

/// Of 1 to 64 bytes, with and without the records of ZIP64, with and without something before the archive.
fn archives_whose_first_name_has_any_length() {
    let folder = Folder::new();
    for length in 1..=64 {
        let name = "n".repeat(length);
        for (zip64, prefix) in
            [(false, ""), (true, ""), (false, "#!/bin/sh\n"), (true, "#!/bin/sh\n")]
        {
            let archive = archive_of_one(&format!("{name}.npy"), &counting(1, 2), zip64);
            folder.file("a.npz", [prefix.as_bytes(), &archive].concat());
            assert_eq!(names(&folder, "a.npz"), [&*name], "ZIP64: {zip64}, {prefix:?}");
        }
    }
}
