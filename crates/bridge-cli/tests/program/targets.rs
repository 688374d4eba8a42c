//! Where the new file cannot be: nothing is lost, and no partial file stays.

use std::fs;

use crate::support::{Folder, counting, stored};

crate::support::cases! {
    an_input_that_is_not_there_or_no_file,
    #[cfg(unix)]
    a_pipe_as_input_does_not_hang,
    the_input_itself,
    an_existing_file_is_replaced_only_on_success_and_not_under_no_clobber,
    #[cfg(unix)]
    through_a_symbolic_link_its_file_is_replaced,
    #[cfg(unix)]
    new_files_have_the_usual_permissions,
    a_folder_that_is_not_there,
    #[cfg(unix)]
    a_folder_that_may_not_be_written,
    a_target_that_is_a_folder,
    #[cfg(target_os = "linux")]
    a_full_target,
    #[cfg(unix)]
    an_interruption,
}

fn folder() -> Folder {
    let folder = Folder::new();
    folder.file("a.npy", counting(3, 4));
    folder
}

fn an_input_that_is_not_there_or_no_file() {
    let folder = folder();
    folder.fail(
        1,
        &["convert", "no.npy", "out.npz"],
        &["convert no.npy to out.npz", "No such file"],
    );
    fs::create_dir(folder.path().join("dir.npy")).unwrap();
    folder.fail(1, &["convert", "dir.npy", "out.npz"], &["is a directory"]);
}

#[cfg(unix)]
fn a_pipe_as_input_does_not_hang() {
    let folder = folder();
    let pipe = folder.path().join("pipe.npy");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    folder.fail(1, &["convert", "pipe.npy", "out.npz"], &["not a regular file"]);
}

fn the_input_itself() {
    let folder = folder();
    folder.fail(2, &["convert", "a.npy", "a.npy", "--dtype", "f16"], &["is the input itself"]);
    folder.fail(2, &["convert", "a.npy", "./a.npy", "--force"], &["is the input itself"]);
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("a.npy", folder.path().join("link.npy")).unwrap();
        folder.fail(2, &["convert", "a.npy", "link.npy"], &["is the input itself"]);
        fs::hard_link(folder.path().join("a.npy"), folder.path().join("hard.npy")).unwrap();
        folder.fail(2, &["convert", "a.npy", "hard.npy"], &["is the input itself"]);
    }
}

fn an_existing_file_is_replaced_only_on_success_and_not_under_no_clobber() {
    let folder = folder();
    folder.file("out.npz", b"precious");
    folder.fail(1, &["convert", "a.npy", "out.npz", "--no-clobber"], &["exists already"]);
    folder.file("bad.npy", &counting(3, 4)[..150]);
    folder.fail(1, &["convert", "bad.npy", "out.npz"], &["cut short"]);
    assert_eq!(folder.read("out.npz"), b"precious");
    folder.succeed(&["convert", "a.npy", "out.npz"]);
    assert_ne!(folder.read("out.npz"), b"precious");
    folder.succeed(&["convert", "a.npy", "out.npz", "--force"]);
    assert_eq!(folder.names(), ["a.npy", "bad.npy", "out.npz"]);
}

#[cfg(unix)]
fn through_a_symbolic_link_its_file_is_replaced() {
    let folder = folder();
    folder.file("real.npz", b"old");
    std::os::unix::fs::symlink("real.npz", folder.path().join("link.npz")).unwrap();
    folder.succeed(&["convert", "a.npy", "link.npz"]);
    assert!(fs::symlink_metadata(folder.path().join("link.npz")).unwrap().is_symlink());
    assert_ne!(folder.read("real.npz"), b"old");
}

#[cfg(unix)]
fn new_files_have_the_usual_permissions() {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder();
    let mode =
        |name: &str| fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o777;
    folder.succeed(&["convert", "a.npy", "new.npz"]);
    assert_eq!(mode("new.npz"), mode("a.npy"));
    fs::set_permissions(folder.path().join("new.npz"), fs::Permissions::from_mode(0o640)).unwrap();
    folder.succeed(&["convert", "a.npy", "new.npz"]);
    assert_eq!(mode("new.npz"), 0o640);
}

fn a_folder_that_is_not_there() {
    let says = &["no file can be created in", "nowhere"];
    folder().fail(1, &["convert", "a.npy", "nowhere/out.npz"], says);
}

#[cfg(unix)]
fn a_folder_that_may_not_be_written() {
    // Root may write everywhere but where the kernel itself says no.
    for place in ["/proc/out.npz", "/proc/self/out.npz"] {
        if std::path::Path::new("/proc/self").exists() {
            folder().fail(1, &["convert", "a.npy", place], &["no file can be created in"]);
        }
    }
    use std::os::unix::fs::PermissionsExt;
    let folder = folder();
    let closed = folder.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o555)).unwrap();
    if fs::write(closed.join("probe"), b"").is_err() {
        folder.fail(1, &["convert", "a.npy", "closed/out.npz"], &["no file can be created in"]);
    }
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o755)).unwrap();
}

fn a_target_that_is_a_folder() {
    let folder = folder();
    fs::create_dir(folder.path().join("out.npz")).unwrap();
    folder.fail(1, &["convert", "a.npy", "out.npz"], &["not a regular file"]);
}

/// A limit on file sizes stands for a full disk: writing fails midway.
#[cfg(target_os = "linux")]
fn a_full_target() {
    let folder = Folder::new();
    let array = crate::support::npy("'|u1'", false, "(300000,)", &[3; 300_000]);
    folder.file("big.npy", &array);
    folder.file("big.npz", crate::support::deflated(&[("x.npy", &array)]));
    folder.file("two.npz", stored(&[("x.npy", &array), ("y.npy", &array)]));
    folder.file("there.npz", b"precious");
    let before = folder.contents();
    for (input, target) in [
        ("big.npy", "out.npz"),
        ("big.npy", "there.npz"),
        ("big.npy", "out.safetensors"),
        ("big.npz", "out.npy"),
        ("two.npz", "out.npz"),
        ("two.npz", "out.safetensors"),
    ] {
        let script =
            format!("ulimit -f 100; exec '{}' convert {input} {target}", crate::support::PROGRAM);
        let output = std::process::Command::new("bash")
            .args(["-c", &script])
            .current_dir(folder.path())
            .output()
            .unwrap();
        let ran = crate::support::Ran::of(output);
        assert_eq!(ran.code, Some(1), "{input} {target}: {ran:?}");
        assert!(ran.stderr.contains("cannot be written"), "{ran:?}");
        assert!(ran.stderr.contains("File too large"), "{ran:?}");
        assert_eq!(ran.stderr.lines().count(), 4, "{ran:?}");
        assert!(before == folder.contents(), "{input} {target} left {:?}", folder.names());
    }
}

/// An interrupted conversion leaves no partial file.
#[cfg(unix)]
fn an_interruption() {
    let folder = Folder::new();
    let rows = 200_000_000_u64;
    let header = crate::support::npy("'<f8'", false, &format!("({rows},)"), &[]);
    let path = folder.file("huge.npy", &header);
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(header.len() as u64 + rows * 8).unwrap();
    let mut child =
        folder.command(&["convert", "huge.npy", "out.npz", "--dtype", "float32"]).spawn().unwrap();
    let partial = || {
        fs::read_dir(folder.path())
            .unwrap()
            .any(|entry| entry.unwrap().file_name().to_string_lossy().ends_with(".part"))
    };
    while !partial() {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it was interrupted");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let killed = std::process::Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
    assert!(!child.wait().unwrap().success());
    assert!(!partial());
    assert!(!folder.path().join("out.npz").exists());
}
