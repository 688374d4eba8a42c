//! What a shell completes: bash runs the script as it does while somebody types.

use std::path::Path;
use std::process::Command;

use crate::support::{Folder, PROGRAM, counting, npy, stored};

crate::support::cases! {
    completions_for_every_shell,
    what_only_scripts_call_is_not_offered,
    names_for_shells_that_split_the_line,
    #[cfg(unix)]
    bash_completes_names_of_arrays,
    #[cfg(unix)]
    bash_completes_within_quotation_marks_and_behind_colons,
    #[cfg(unix)]
    bash_completes_parts_and_new_names,
    #[cfg(unix)]
    bash_completes_all_else_as_before,
}

fn completions_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = Folder::new().succeed(&["completions", shell]).stdout;
        assert!(script.contains("arraybridge") && script.contains("memory-limit"), "{shell}");
    }
    // Values of options too, where the shell's scripts have them.
    for shell in ["bash", "zsh", "fish"] {
        let script = Folder::new().succeed(&["completions", shell]).stdout;
        let mut values = vec!["bfloat16", "float8_e4m3fn", "saturate", "if-needed"];
        if cfg!(feature = "ndarray") {
            values.push("ndarray");
        }
        for value in values {
            assert!(script.contains(value), "{shell} does not offer {value}");
        }
    }
    // Zsh is told where it has to ask for names: in convert, plan and diff, and for parts.
    let script = Folder::new().succeed(&["completions", "zsh"]).stdout;
    assert_eq!(script.matches(":NAME:_arraybridge_names name'").count(), 3);
    assert_eq!(script.matches(":PART:_arraybridge_names key'").count(), 2);
    // Options come behind files, too.
    assert!(script.contains("'*:inputs -- ") && script.contains("'*:files -- "));
}

fn what_only_scripts_call_is_not_offered() {
    let folder = Folder::new();
    assert!(!folder.succeed(&["--help"]).stdout.contains("complete-names"));
    let script = folder.succeed(&["completions", "powershell"]).stdout;
    assert!(script.contains("convert") && !script.contains("complete-names"));
}

/// Archives with names as people have them.
fn folder() -> Folder {
    let folder = Folder::new();
    let x = counting(1, 2);
    let text = npy("'<U1'", false, "(1,)", b"a\0\0\0");
    let names = ["layer.0.weight", "layer.0.bias", "layer.1.weight", "two words", "kernel:0"];
    let odd = ["it's", "a\"b$c`d", "x[0]", "größe", "line\nbreak", "&;|<>()#!*?~{}"];
    let members: Vec<String> = names.iter().chain(&odd).map(|name| format!("{name}.npy")).collect();
    let members: Vec<(&str, &[u8])> =
        members.iter().map(|name| (name.as_str(), x.as_slice())).collect();
    folder.file("a.npz", stored(&members));
    folder.file("b.npz", stored(&[("other.npy", &x), ("text.npy", &text)]));
    folder.file("my file.npz", stored(&[("lonely.npy", &x)]));
    folder.file("broken.npz", "PK\x03\x04 and no archive");
    folder.file("one.npy", x);
    folder
}

fn names_for_shells_that_split_the_line() {
    let folder = folder();
    let names = |option: &str, words: &[&str]| {
        let args = [&["complete-names", "--option", option, "--"], words].concat();
        let ran = folder.succeed(&args);
        assert_eq!(ran.stderr, "", "{words:?}");
        ran.stdout.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let of_a = names("name", &["convert", "a.npz", "out.npz", "--name"]);
    assert_eq!(of_a.len(), 10, "all but the one with a line break: {of_a:?}");
    assert!(of_a.iter().any(|name| name == "a\"b$c`d"), "names are not quoted: {of_a:?}");

    // What is an input and what is not; what is no array is not offered.
    for words in [
        &["convert", "b.npz", "--name"][..],
        &["convert", "b.npz", "a.npz", "--name"],
        &["convert", "--dtype", "a.npz", "b.npz", "-", "out.npz", "--quiet", "--name"],
        &["convert", "--dtype=f32", "b.npz", "out/", "--name", "x", "--name"],
        &["convert", "--name", "x", "--", "b.npz", "out.npz"],
        &["plan", "b.npz"],
        &["plan", "b.np[z]"],
        &["plan", "--from", "npz", "b.npz"],
        &["diff", "b.npz", "one.npy"],
        &["diff", "b.npz", "b.npz"],
        &["diff", "missing.npz", "broken.npz", "b.npz", "."],
    ] {
        assert_eq!(names("name", words), ["other"], "{words:?}");
    }
    for words in [
        &["convert", "one.npy", "out.npz"][..],
        &["convert", "missing.npz", "out.npz"],
        &["convert", "--key", "nothing", "b.npz", "out.npz"],
        &["info", "nothing.npz"],
        &["convert"],
        &["nonsense", "b.npz"],
        &[],
    ] {
        assert_eq!(names("name", words), [""; 0], "{words:?}");
    }
    assert_eq!(names("key", &["plan", "a.npz"]), ["layer"]);
    assert_eq!(
        names("name", &["plan", "a.npz", "--key", "layer.0", "--rename", "w=W"]),
        ["Weight", "bias"]
    );
}

/// What bash completes where the cursor is at the end of a line, or at `|`. `word` is what readline calls
/// the word there: what is behind the last space, colon, equals sign or quotation mark.
#[cfg(unix)]
#[track_caller]
fn completed(folder: &Folder, line: &str, word: &str) -> Vec<String> {
    let script = folder.succeed(&["completions", "bash"]).stdout;
    folder.file("script", script);
    let (before, after) = line.split_once('¦').unwrap_or((line, ""));
    let driver = r#"
        . ./script
        COMP_LINE="$1$2" COMP_POINT=${#1}
        read -ra COMP_WORDS <<< "$1"
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        [[ $1 == *' ' ]] && { COMP_WORDS+=(""); COMP_CWORD=$((COMP_CWORD + 1)); }
        asked="$(complete -p arraybridge)"
        asked="${asked#*-F }"
        "${asked%% *}" arraybridge "$3" "${COMP_WORDS[COMP_CWORD-1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let folders = [Path::new(PROGRAM).parent().unwrap().to_str().unwrap(), "/usr/bin", "/bin"];
    let output = Command::new("bash")
        .args(["--norc", "-c", driver, "bash", before, after, word])
        .env("PATH", folders.join(":"))
        .env("LC_ALL", "C.UTF-8")
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{line}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// What the last word of a line is to bash that runs it.
#[cfg(unix)]
fn last_word(line: &str) -> String {
    let line = format!("set -f; set -- {line}; printf %s \"${{@: -1}}\"");
    let mut bash = Command::new("bash");
    let output = bash.args(["--norc", "-c", &line]).current_dir("/").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{line}");
    String::from_utf8(output.stdout).unwrap()
}

#[cfg(unix)]
fn bash_completes_names_of_arrays() {
    let folder = folder();
    let start = "arraybridge convert a.npz out.npz --name ";
    let all = completed(&folder, start, "");
    let read: Vec<String> = all.iter().map(|name| last_word(&format!("{start}{name}"))).collect();
    let expected = [
        "layer.0.weight",
        "layer.0.bias",
        "layer.1.weight",
        "two words",
        "kernel:0",
        "it's",
        "a\"b$c`d",
        "x[0]",
        "größe",
        "&;|<>()#!*?~{}",
    ];
    assert_eq!(read, expected, "{all:?}");

    let line = format!("{start}layer.0.");
    assert_eq!(completed(&folder, &line, "layer.0."), ["layer.0.weight", "layer.0.bias"]);
    let line = format!(r"{start}two\ ");
    assert_eq!(completed(&folder, &line, r"two\ "), [r"two\ words"]);
    // The files may come behind it, and have spaces in their names.
    let line = r"arraybridge convert --name l¦ 'my file.npz' out.npz";
    assert_eq!(completed(&folder, line, "l"), ["lonely"]);
    let line = r"arraybridge plan my\ file.npz --name ";
    assert_eq!(completed(&folder, line, ""), ["lonely"]);
    // No files are offered in place of names, and nothing is told.
    assert_eq!(completed(&folder, "arraybridge plan broken.npz --name ", ""), [""; 0]);
    assert_eq!(completed(&folder, "arraybridge plan one.npy --name ", ""), [""; 0]);
}

#[cfg(unix)]
fn bash_completes_within_quotation_marks_and_behind_colons() {
    let folder = folder();
    let start = "arraybridge convert a.npz out.npz --name";
    for (typed, word, whole) in [
        (" \"two w", "two w", "two words"),
        (" 'two w", "two w", "two words"),
        (" 'it", "it", "it's"),
        (" \"a", "a", "a\"b$c`d"),
        (" two\\ w", "two\\ w", "two words"),
        (" kernel:", "", "kernel:0"),
        (" kernel\\:", "kernel\\:", "kernel:0"),
        ("=kernel:0", "0", "kernel:0"),
        ("=two", "two", "two words"),
        ("=two", "--name=two", "two words"),
        ("=\"two", "two", "two words"),
    ] {
        let line = format!("{start}{typed}");
        let values = completed(&folder, &line, word);
        assert_eq!(values.len(), 1, "{line}: {values:?}");
        let head = line.strip_suffix(word).unwrap();
        // Bash writes the other quotation mark.
        let mark = ['"', '\''].into_iter().find(|mark| typed.contains(*mark));
        let line = format!("{head}{}{}", values[0], mark.map(String::from).unwrap_or_default());
        let read = last_word(&line);
        assert_eq!(read.strip_prefix("--name=").unwrap_or(&read), whole, "{line}");
    }
}

#[cfg(unix)]
fn bash_completes_parts_and_new_names() {
    let folder = folder();
    let plan = "arraybridge plan a.npz";
    assert_eq!(completed(&folder, &format!("{plan} --key l"), "l"), ["layer"]);
    assert_eq!(
        completed(&folder, &format!("{plan} --key layer."), "layer."),
        ["layer.0", "layer.1"]
    );
    let line = format!("{plan} --key layer.0 --name ");
    assert_eq!(completed(&folder, &line, ""), ["weight", "bias"]);
    let line = format!("{plan} --strip-prefix layer. --name 0");
    assert_eq!(completed(&folder, &line, "0"), ["0.weight", "0.bias"]);
}

#[cfg(unix)]
fn bash_completes_all_else_as_before() {
    let folder = folder();
    assert_eq!(completed(&folder, "arraybridge conv", "conv"), ["convert"]);
    let types = completed(&folder, "arraybridge convert a.npz b.npz --name x --dtype bf", "bf");
    assert!(types.iter().any(|name| name == "bfloat16") || types == ["bfloat16"], "{types:?}");
    let options = completed(&folder, "arraybridge plan a.npz --name x --over", "--over");
    assert_eq!(options, ["--overflow"]);
}
