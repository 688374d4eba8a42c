//! Wrong usage: exit code 2, before anything is read or written.

use crate::support::{Folder, counting, stored};

crate::support::cases! {
    what_the_command_line_names_must_exist,
    #[cfg(feature = "ndarray")]
    an_unknown_backend_behind_a_known_one,
    #[cfg(not(feature = "cuda"))]
    a_backend_that_this_build_lacks,
    unknown_extensions,
    several_arrays_into_an_npy_file,
    missing_arguments,
    help_and_version_have_examples_and_succeed,
}

fn folder() -> Folder {
    let folder = Folder::new();
    folder.file("a.npy", counting(3, 4));
    let (x, y) = (counting(2, 2), counting(1, 5));
    folder.file("two.npz", stored(&[("x.npy", &x), ("y.npy", &y)]));
    folder
}

fn what_the_command_line_names_must_exist() {
    let folder = folder();
    let convert = |more: &[&str], says: &[&str]| {
        folder.fail(2, &[&["convert", "a.npy", "out.npz"], more].concat(), says);
        folder.fail(2, &[&["plan", "a.npy"], more].concat(), says);
    };
    convert(&["--via", "mxnet"], &["no backend \"mxnet\"", "doctor"]);
    convert(&["--device", "gpu"], &["\"gpu\" is not a device", "cuda:0"]);
    convert(&["--device", "cuda:0"], &["no device cuda:0 here", "cpu", "doctor"]);
    convert(&["--dtype", "float33x"], &["\"float33x\" is not a data type", "bfloat16"]);
    convert(&["--copy", "sometimes"], &["if-needed"]);
    convert(&["--overflow", "explode"], &["saturate"]);
    convert(&["--nonsense"], &["--nonsense"]);
    for limit in ["0", "-1", "lots", "1.5GiB", "12XB", "99999999999999999999"] {
        convert(&[&format!("--memory-limit={limit}")], &["is not a size", "512MiB"]);
    }
}

#[cfg(feature = "ndarray")]
fn an_unknown_backend_behind_a_known_one() {
    let says = &["no backend \"jax\"", "linked are", "ndarray"];
    folder().fail(2, &["convert", "a.npy", "out.npz", "--via", "ndarray,jax"], says);
    let says = &["no backend \"ndaray\"", "did you mean \"ndarray\"?"];
    folder().fail(2, &["convert", "a.npy", "out.npz", "--via", "ndaray"], says);
}

#[cfg(not(feature = "cuda"))]
fn a_backend_that_this_build_lacks() {
    for name in ["cuda", "nvidia", "cuad"] {
        let says = &[&*format!("no backend \"{name}\""), "do:", "--features cuda"];
        folder().fail(2, &["convert", "a.npy", "out.npz", "--via", name], says);
    }
}

fn unknown_extensions() {
    let folder = folder();
    for name in ["a", "a.txt", "a.npy.gz", "a.ptx", ".npy"] {
        let says = &["extension", ".safetensors"];
        folder.fail(2, &["convert", "a.npy", name], says);
    }
    // What is to be read may have any name, if it is there.
    folder.fail(1, &["convert", "missing.txt", "out.npy"], &["cannot be read"]);
    folder.fail(1, &["plan", "missing.txt"], &["cannot be read"]);
    folder.file("UPPER.NPY", counting(1, 1));
    folder.succeed(&["convert", "UPPER.NPY", "out.SafeTensors"]);
}

fn several_arrays_into_an_npy_file() {
    let folder = folder();
    let says = &["has 2 arrays", "exactly one", "\"x\", \"y\"", "--name"];
    folder.fail(2, &["convert", "two.npz", "out.npy"], says);
    folder.fail(2, &["convert", "two.npz", "out.npy", "--name", "z"], &["no array \"z\"", "\"x\""]);
    folder.succeed(&["convert", "two.npz", "out.npy", "--name", "y"]);
    assert_eq!(folder.read("out.npy"), counting(1, 5));
}

fn missing_arguments() {
    let folder = folder();
    folder.fail(2, &[], &["Usage"]);
    folder.fail(2, &["convert"], &["<IN>"]);
    folder.fail(2, &["convert", "a.npy"], &["<OUT>"]);
    folder.fail(2, &["completions", "fishy"], &["zsh"]);
    folder.fail(2, &["matrix", "--json", "--markdown"], &["cannot be used with"]);
    folder.fail(2, &["matrix", "--size", "18446744073709551615"], &["too large"]);
}

fn help_and_version_have_examples_and_succeed() {
    let folder = folder();
    let help = folder.succeed(&["--help"]).stdout;
    assert!(help.contains("Examples") && help.contains("Exit codes"), "{help}");
    for command in ["matrix", "monitor", "plan", "convert"] {
        let help = folder.succeed(&[command, "--help"]).stdout;
        assert!(help.contains(&format!("arraybridge {command}")), "{help}");
    }
    for command in ["plan", "convert", "info", "diff"] {
        let help = folder.succeed(&[command, "--help"]).stdout;
        assert!(help.contains(".pt"), "{help}");
    }
    assert!(folder.succeed(&["--version"]).stdout.starts_with("arraybridge "));
}
