//! Windows: a small memory limit changes the memory, not the file.

use crate::support::{Folder, deflated, noise, npy, stored};

crate::support::cases! {
    the_limit_changes_nothing_in_the_file,
    #[cfg(all(feature = "ndarray", feature = "candle"))]
    windows_pass_through_the_backends,
    #[cfg(target_os = "linux")]
    a_file_larger_than_the_limit,
}

const LIMITS: [&str; 5] = ["1", "100", "1000", "64KiB", "1GiB"];

fn the_limit_changes_nothing_in_the_file() {
    let folder = Folder::new();
    let shapes = [
        ("(5, 7, 3)", true),
        ("(5, 7, 3)", false),
        ("(105,)", false),
        ("(1, 1, 105)", false),
        ("()", false),
    ];
    for (shape, fortran_order) in shapes {
        let count = if shape == "()" { 1 } else { 105 };
        let array = npy("'<i4'", fortran_order, shape, &noise(count * 4));
        folder.file("a.npy", &array);
        folder.file("s.npz", stored(&[("a.npy", &array)]));
        folder.file("d.npz", deflated(&[("a.npy", &array)]));
        for input in ["a.npy", "s.npz", "d.npz"] {
            for (target, more) in [
                ("b.npy", &[][..]),
                ("b.npz", &[]),
                ("b.safetensors", &[]),
                ("b.npy", &["--dtype", "f64"]),
                ("b.safetensors", &["--dtype", "f64", "--copy", "always"]),
            ] {
                let convert = [&["convert", input, target], more].concat();
                folder.succeed(&convert);
                let whole = folder.read(target);
                for limit in LIMITS {
                    folder.succeed(&[&convert[..], &["--memory-limit", limit]].concat());
                    assert!(whole == folder.read(target), "{shape} {convert:?} {limit}");
                }
            }
        }
    }
}

#[cfg(all(feature = "ndarray", feature = "candle"))]
fn windows_pass_through_the_backends() {
    let folder = Folder::new();
    let array = npy("'<f4'", false, "(50, 3)", &noise(600));
    folder.file("a.npy", &array);
    let args =
        ["convert", "a.npy", "b.npy", "--via", "ndarray,candle", "--memory-limit", "800", "--json"];
    let report = folder.succeed(&args).json();
    assert_eq!(folder.read("b.npy"), array);
    assert_eq!(report["arrays"][0]["windows"], 7);
    assert_eq!(report["bytes_copied"], 600);
}

/// Resident memory stays far below the file, which is far above the limit.
#[cfg(target_os = "linux")]
fn a_file_larger_than_the_limit() {
    let folder = Folder::new();
    let length = 256 << 20;
    let header = npy("'|u1'", false, &format!("({length},)"), &[]);
    let path = folder.file("a.npy", &header);
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(header.len() as u64 + length).unwrap();
    let via = if cfg!(feature = "ndarray") { " --via ndarray" } else { "" };
    // A limit on all of memory cannot be set without limiting the mapping too, so the peak is read.
    let script = format!(
        "'{}' convert a.npy b.safetensors --memory-limit 32MiB{via} & pid=$!
         peak=0
         while line=$(grep VmHWM /proc/$pid/status 2>/dev/null); do peak=$line; sleep 0.01; done
         wait $pid && echo \"$peak\" >&2",
        crate::support::PROGRAM
    );
    let mut shell = std::process::Command::new("bash");
    let output = shell.args(["-c", &script]).current_dir(folder.path()).output().unwrap();
    let ran = crate::support::Ran::of(output);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let peak: u64 = ran.stderr.split_whitespace().nth(1).unwrap().parse().unwrap();
    // What libtorch itself takes, beside the window.
    let libraries = if cfg!(feature = "torch") { 128 << 10 } else { 0 };
    assert!(peak < (64 << 10) + libraries, "peak memory {peak} kB");
}
