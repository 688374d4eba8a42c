//! What a file is, is found out by what is in it and not by its name.

use crate::pickles::{Pickled, dict, legacy_file, torch_file};
use crate::support::{Folder, counting, deflated, floats, safetensors, stored};

crate::support::cases! {
    any_name_will_do,
    a_name_that_contradicts_is_told,
    what_the_file_is_written_as_is_the_names_matter,
    nothing_known_under_a_name_that_says_nothing,
}

fn files() -> Vec<(&'static str, Vec<u8>)> {
    let array = counting(1, 2);
    let header = r#"{"x":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}}"#;
    let mut files = vec![
        (".npy", array.clone()),
        (".npz", stored(&[("x.npy", &array)])),
        (".npz", deflated(&[("x.npy", &array)])),
        (".safetensors", safetensors(header, &floats(2))),
    ];
    if cfg!(feature = "pt") {
        let value = dict(&[("x", Pickled::Tensor("0", 2))]);
        files.push((".pt", torch_file(&value, &[("0", &floats(2))])));
        files.push((".pt", legacy_file(&value, &[("0", 2, &floats(2))])));
    }
    files
}

fn any_name_will_do() {
    let folder = Folder::new();
    for (format, bytes) in files() {
        for name in ["pytorch_model.bin", "last.ckpt", "best.pth.tar", "data", "0a1b2c"] {
            folder.file(name, &bytes);
            let report = folder.succeed(&["convert", name, "out.npz", "--json"]).json();
            assert_eq!(report["dtype"], "float32", "{format}");
            assert!(report.get("remarks").is_none(), "{format} {name}: {report}");
            folder.succeed(&["plan", name]);
        }
    }
}

fn a_name_that_contradicts_is_told() {
    let folder = Folder::new();
    for (format, bytes) in files() {
        for extension in [".npy", ".npz", ".safetensors", ".pt"] {
            let name = format!("a{extension}");
            folder.file(&name, &bytes);
            let told = folder.succeed(&["convert", &name, "out.npz"]).stdout;
            let says = format!("named like a {extension} file; it is a {format} file");
            // Without the feature, .pt names no format.
            let is_named = extension != ".pt" || cfg!(feature = "pt");
            assert_eq!(
                told.contains(&says),
                is_named && extension != format,
                "{extension}: {told}"
            );
            std::fs::remove_file(folder.path().join(name)).unwrap();
        }
    }
}

fn what_the_file_is_written_as_is_the_names_matter() {
    let folder = Folder::new();
    folder.file("a.npy", counting(1, 2));
    folder.fail(2, &["convert", "a.npy", "out.bin"], &["unknown extension .bin", ".safetensors"]);
}

fn nothing_known_under_a_name_that_says_nothing() {
    let folder = Folder::new();
    folder.file("a.bin", b"hello");
    let says = ["unknown extension .bin", "no format that is known"];
    folder.fail(2, &["convert", "a.bin", "out.npz"], &says);
    let docx = stored(&[("word/document.xml", b"<xml/>")]);
    folder.file("a.bin", docx);
    folder.fail(2, &["convert", "a.bin", "out.npz"], &says);
    folder.file("a.pkl", b"\x80\x04\x95\x05\0\0\0\0\0\0\0]\x94K\x01a.");
    folder.fail(1, &["convert", "a.pkl", "out.npz"], &["a pickle of Python", "torch.save"]);
    let mut tar = vec![0; 512];
    tar[..5].copy_from_slice(b"a.npy");
    tar[257..262].copy_from_slice(b"ustar");
    folder.file("a.pth.tar", tar);
    folder.fail(1, &["convert", "a.pth.tar", "out.npz"], &["a tar archive", "tar -xf"]);
}
