//! Windows: a small memory limit changes the memory, not the file.

use crate::support::{Folder, deflated, noise, npy, stored};

crate::support::cases! {
    the_limit_changes_nothing_in_the_file,
    the_limit_is_kept_and_made_use_of,
    a_limit_below_one_element_names_the_least_that_would_do,
    an_array_of_no_elements_needs_no_room,
    #[cfg(all(feature = "ndarray", feature = "candle"))]
    a_plan_says_that_a_limit_is_too_small,
    #[cfg(all(feature = "ndarray", feature = "candle"))]
    windows_pass_through_the_backends,
    #[cfg(target_os = "linux")]
    a_file_larger_than_the_limit,
}

const LIMITS: [&str; 4] = ["100", "1000", "64KiB", "1GiB"];

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

/// The ways through which a window is in memory in several forms at once.
fn ways() -> Vec<&'static [&'static str]> {
    let mut ways = vec![
        &[][..],
        &["--dtype", "f64"],
        &["--dtype", "f64", "--copy", "always"],
        &["--dtype", "u8", "--overflow", "wrap"],
    ];
    if cfg!(all(feature = "ndarray", feature = "candle")) {
        ways.extend([
            &["--via", "ndarray,candle"][..],
            &["--via", "candle,ndarray,candle", "--dtype", "f64", "--copy", "always"],
        ]);
    }
    ways
}

fn the_limit_is_kept_and_made_use_of() {
    let folder = Folder::new();
    let array = npy("'<i4'", false, "(100000,)", &noise(400_000));
    let columns = npy("'<i4'", true, "(400, 250)", &noise(400_000));
    folder.file("a.npy", &array);
    folder.file("f.npy", &columns);
    folder.file("d.npz", deflated(&[("a.npy", &array)]));
    for input in ["a.npy", "f.npy", "d.npz"] {
        for way in ways() {
            let convert = [&["convert", input, "b.safetensors", "--json"], way].concat();
            let report = folder.succeed(&convert).json();
            assert!(report.get("memory_limit").is_none() && report.get("memory_peak").is_none());
            let whole = folder.read("b.safetensors");
            for (name, limit) in [("50000", 50_000), ("64KiB", 65_536), ("1GiB", 1 << 30)] {
                let limited = [&convert[..], &["--memory-limit", name]].concat();
                let report = folder.succeed(&limited).json();
                assert!(whole == folder.read("b.safetensors"), "{limited:?}");
                assert_eq!(report["memory_limit"], limit);
                let peak = report["memory_peak"].as_u64().unwrap();
                assert!(peak <= limit, "{limited:?} took {peak}");
                // What is read counts, and windows are no smaller than they have to be.
                assert!(peak >= (limit / 4).min(400_000), "{limited:?} took {peak}");
            }
        }
    }
}

fn a_limit_below_one_element_names_the_least_that_would_do() {
    let folder = Folder::new();
    let array = npy("'<i4'", false, "(5, 7)", &noise(140));
    folder.file("a.npy", &array);
    folder.file("f.npy", npy("'<i4'", true, "(5, 7)", &noise(140)));
    folder.file("s.npz", stored(&[("a.npy", &array)]));
    folder.file("d.npz", deflated(&[("a.npy", &array)]));
    for input in ["a.npy", "f.npy", "s.npz", "d.npz"] {
        for way in ways() {
            let convert = [&["convert", input, "b.safetensors"], way].concat();
            folder.succeed(&convert);
            let whole = folder.read("b.safetensors");
            let limited = |limit: u64| {
                let limit = limit.to_string();
                folder.run(&[&convert[..], &["--memory-limit", &limit]].concat())
            };
            let refused = limited(1);
            assert_eq!(refused.code, Some(2), "{convert:?} {refused:?}");
            assert!(refused.stderr.contains("the array \""), "{refused:?}");
            assert!(refused.stderr.contains("--memory-limit 1 is too small"), "{refused:?}");
            let (_, least) = refused.stderr.rsplit_once("allow --memory-limit ").unwrap();
            let least: u64 = least.split_whitespace().next().unwrap().parse().unwrap();
            assert!(least >= 4, "{convert:?}: an element has four bytes as it is read");
            assert_eq!(limited(least - 1).code, Some(2), "{convert:?} {least}");
            let done = limited(least);
            assert_eq!(done.code, Some(0), "{convert:?} {least} {done:?}");
            assert!(whole == folder.read("b.safetensors"), "{convert:?} {least}");
        }
    }
    // What was there stays, and no partial file does.
    folder.fail(2, &["convert", "a.npy", "b.safetensors", "--memory-limit", "3"], &["too small"]);
}

fn an_array_of_no_elements_needs_no_room() {
    let folder = Folder::new();
    folder.file("a.npy", npy("'<i4'", false, "(0, 3)", &[]));
    folder.succeed(&["convert", "a.npy", "b.npy", "--dtype", "f64", "--memory-limit", "1"]);
    folder.succeed(&["plan", "a.npy", "--dtype", "f64", "--memory-limit", "1"]);
}

#[cfg(all(feature = "ndarray", feature = "candle"))]
fn a_plan_says_that_a_limit_is_too_small() {
    let folder = Folder::new();
    folder.file("a.npy", npy("'<f4'", false, "(50, 3)", &noise(600)));
    let plan = ["plan", "a.npy", "--via", "ndarray,candle", "--memory-limit"];
    folder.fail(2, &[&plan[..], &["7"]].concat(), &["--memory-limit 7 is too small", "allow", "8"]);
    folder.succeed(&[&plan[..], &["8"]].concat());
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
    // Half of it as it is read, and once more as candle has it.
    assert_eq!(report["arrays"][0]["windows"], 2);
    assert_eq!((&report["memory_limit"], &report["memory_peak"]), (&800.into(), &600.into()));
    assert_eq!(report["bytes_copied"], 600);
    // As read, in the backend before and in the next one.
    let args =
        "convert a.npy b.npy --via candle,ndarray,candle --copy always --memory-limit 1GiB --json";
    let report = folder.succeed(&args.split(' ').collect::<Vec<_>>()).json();
    assert_eq!(report["memory_peak"], 3 * 600);
    // As read, and in the other order.
    folder.file("f.npy", npy("'<f4'", true, "(50, 3)", &noise(600)));
    let args = ["convert", "f.npy", "b.safetensors", "--memory-limit", "1GiB", "--json"];
    assert_eq!(folder.succeed(&args).json()["memory_peak"], 2 * 600);
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
