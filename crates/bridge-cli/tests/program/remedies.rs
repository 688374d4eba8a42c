//! What errors tell to do, done: lines of Python in Python and of the shell in a shell, as they are printed.
//! Those for files of PyTorch are in `python_checkpoints`. docs/program.md says which are not tried.

use std::process::Command;

use crate::support::{Folder, floats, npy, safetensors, stored};

crate::support::cases! {
    lines_of_python_make_files_that_are_read,
    booleans_of_other_bytes_become_true,
    renamed_fields_have_the_new_names,
    fields_of_one_type_become_one_array,
    records_of_many_axes_get_fewer,
    members_with_more_than_an_array,
    nul_bytes_behind_a_header_become_spaces,
    metadata_becomes_text,
    #[cfg(unix)]
    compressed_and_packed_files_are_expanded,
}

#[expect(clippy::print_stderr, reason = "the log of a test run says what was left out")]
fn not_tried(remedy: &str) {
    eprintln!("not tried in Python: {remedy}");
}

/// Runs a script in Python; not where there is none.
fn python(folder: &Folder, script: &str) -> bool {
    let Some(python) = python_peer::python() else {
        not_tried(python_peer::REMEDY);
        return false;
    };
    let ran = Command::new(python).args(["-c", script]).current_dir(folder.path()).output();
    let ran = ran.expect("Python starts");
    assert!(ran.status.success(), "{script}\n{}", String::from_utf8_lossy(&ran.stderr));
    true
}

/// What the program says to do where it refuses this.
#[track_caller]
pub(crate) fn remedy(folder: &Folder, args: &[&str]) -> String {
    let ran = folder.run(args);
    assert_eq!(ran.code, Some(1), "{args:?}: {ran:?}");
    let (_, remedy) = ran.stderr.split_once("do:").expect("there is something to do");
    remedy.trim().to_owned()
}

/// The line of Python in what the program says to do about a file.
#[track_caller]
fn python_line(folder: &Folder, args: &[&str]) -> String {
    let said = remedy(folder, args);
    let (_, line) = said.split_once("in Python: ").expect("a line of Python");
    line.to_owned()
}

/// Which arrays the program finds in a file.
#[track_caller]
fn arrays(folder: &Folder, file: &str) -> Vec<(String, String)> {
    let plan = folder.succeed(&["plan", file, "--json"]).json();
    let arrays = plan["arrays"].as_array().unwrap().iter();
    arrays.map(|it| (it["name"].as_str().unwrap().to_owned(), it["shape"].to_string())).collect()
}

/// Arrays, and which of the expressions that the error names is to make numbers of them.
const ARRAYS: [(&str, &str); 9] = [
    ("np.array([1, 2.5, None], object)[:2]", "a.astype(np.float64)"),
    ("np.array([np.zeros(2), np.zeros(3)], object)", "np.concatenate(a.ravel())"),
    ("np.array(['one', 'two'])", "np.frombuffer(a.tobytes(), np.uint8)"),
    ("np.array('zero dimensions')", "np.frombuffer(a.tobytes(), np.uint8)"),
    ("np.array([b'one', b'two'])", "np.frombuffer(a.tobytes(), np.uint8)"),
    ("np.array(['2020-01-01', '2020-01-02'], 'M8[D]')", "a.view(np.int64)"),
    ("np.array(5, 'm8[s]')", "a.view(np.int64)"),
    ("np.array([1, 2], np.longdouble)", "a.astype(np.float64)"),
    ("np.array([1, 2j], np.clongdouble)", "a.astype(np.complex128)"),
];

fn lines_of_python_make_files_that_are_read() {
    let folder = Folder::new();
    let made: String = ARRAYS
        .iter()
        .enumerate()
        .map(|(place, (array, _))| format!("np.save('{place}.npy', {array}, allow_pickle=True)\n"))
        .collect();
    if !python(&folder, &format!("import numpy as np\n{made}")) {
        return;
    }
    let mut script = "import numpy as np\n".to_owned();
    for (place, (array, line)) in ARRAYS.iter().enumerate() {
        let said = remedy(&folder, &["plan", &format!("{place}.npy")]);
        assert!(said.contains(line), "{array}: {said}");
        script += &format!(
            "a = np.load('{place}.npy', allow_pickle=True)\nnp.save('{place}.npy', {line})\n"
        );
    }
    python(&folder, &script);
    for place in 0..ARRAYS.len() {
        folder.succeed(&["convert", &format!("{place}.npy"), "out.npz"]);
    }
}

fn booleans_of_other_bytes_become_true() {
    let folder = Folder::new();
    folder.file("a.npy", npy("'|b1'", false, "(3,)", &[0, 1, 2]));
    let line = python_line(&folder, &["convert", "a.npy", "b.npy"]);
    let script = format!("import numpy as np\na = np.load('a.npy')\nnp.save('new.npy', {line})\n");
    if python(&folder, &script) {
        folder.succeed(&["convert", "new.npy", "b.npy"]);
        assert_eq!(folder.read("b.npy"), npy("'|b1'", false, "(3,)", &[0, 1, 1]));
    }
}

/// Has Python save this array, takes the line that the program then prints, puts `given` in the place of
/// its dots, and has Python run it on `part` of the array. Answers the arrays of what that wrote.
fn written_anew(
    folder: &Folder,
    array: &str,
    part: &str,
    line: impl FnOnce(&Folder) -> String,
) -> Option<Vec<(String, String)>> {
    let save = format!("import itertools, numpy, string\nnumpy.save('a.npy', {array})");
    if !python(folder, &save) {
        return None;
    }
    let line = line(folder);
    let load = "numpy.load('a.npy', max_header_size=10**7)";
    let script = format!("import numpy\na, path = {load}{part}, 'new.npy'\n{line}");
    assert!(python(folder, &script));
    Some(arrays(folder, "new.npy"))
}

fn named(names: &[(&str, &str)]) -> Vec<(String, String)> {
    names.iter().map(|(name, shape)| ((*name).to_owned(), (*shape).to_owned())).collect()
}

fn renamed_fields_have_the_new_names() {
    let long = "[('A' * 30000, [(f'a{at}', 'i1') for at in range(200)])]";
    let cases = [
        // Half of a character, two of one name, and names that are too long together.
        (r"[('\ud800', 'f4'), ('y', 'i2')]", r"{'\ud800': 'x'}", vec!["x", "y"]),
        ("[('a.b', 'f4'), ('a', [('b', 'i2')])]", "{'a.b': 'x'}", vec!["x", "a.b"]),
        (long, "{'A' * 30000: 'x'}", vec!["x.a0", "x.a1"]),
    ];
    for (fields, renaming, wanted) in cases {
        let folder = Folder::new();
        let array = format!("numpy.zeros(2, {fields})");
        let line = |folder: &Folder| {
            python_line(folder, &["plan", "a.npy"]).replacen("{...}", renaming, 1)
        };
        if let Some(found) = written_anew(&folder, &array, "", line) {
            let first = found.iter().take(2).map(|(name, _)| name);
            assert!(first.eq(&wanted), "{found:?}");
            folder.succeed(&["convert", "new.npy", "out.npz"]);
        }
    }
}

fn fields_of_one_type_become_one_array() {
    let folder = Folder::new();
    // The names are short, as a longer header is refused for its length.
    let array = "numpy.zeros(2, [(''.join(name), 'i1') for length in (1, 2, 3) for name in \
                 itertools.product(string.ascii_letters + string.digits, repeat=length)][:65537])";
    let line = |folder: &Folder| python_line(folder, &["plan", "a.npy"]);
    if let Some(found) = written_anew(&folder, array, "", line) {
        assert_eq!(found, named(&[("new", "[2,65537]")]));
    }
}

/// Also where the records are within others.
fn records_of_many_axes_get_fewer() {
    let shape = |axes: usize| format!("[{}]", vec!["1"; axes].join(","));
    let alone = "numpy.zeros((1,) * 30, [('x', 'f4', (1,) * 40)])";
    let within = "numpy.zeros(1, [('out', [('x', 'f4', (1,) * 40)], (1,) * 40)])";
    for (array, part) in [(alone, ""), (within, "['out']")] {
        let folder = Folder::new();
        let line = |folder: &Folder| {
            let said = remedy(folder, &["plan", "a.npy"]);
            let (_, line) = said.split_once("fewer axes: ").expect("a line of Python");
            line.to_owned()
        };
        if let Some(found) = written_anew(&folder, array, part, line) {
            assert_eq!(found, named(&[("x", &shape(41))]));
        }
    }
}

fn members_with_more_than_an_array() {
    let folder = Folder::new();
    let two =
        [npy("'<f4'", false, "(2,)", &floats(2)), npy("'<f4'", false, "(1,)", &floats(1))].concat();
    folder.file("a.npz", stored(&[("x.npy", &two)]));
    let line = "numpy.savez(path, x=x, y=y)";
    let said = remedy(&folder, &["plan", "a.npz"]);
    assert!(said.contains(line), "{said}");
    // Python reads them one after the other, and writes them so that none is lost.
    let script = format!(
        "import io, numpy, zipfile\n\
         member = io.BytesIO(zipfile.ZipFile('a.npz').read('x.npy'))\n\
         x, y, path = numpy.load(member), numpy.load(member), 'b.npz'\n{line}"
    );
    if python(&folder, &script) {
        let plan = folder.succeed(&["plan", "b.npz", "--json"]).json();
        assert_eq!(plan["arrays"].as_array().unwrap().len(), 2);
    }
}

fn nul_bytes_behind_a_header_become_spaces() {
    let folder = Folder::new();
    let header = "{\"x\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}\0\0\0\0";
    folder.file("a.safetensors", safetensors(header, &[7]));
    let line = python_line(&folder, &["plan", "a.safetensors"]);
    if python(&folder, &format!("path, new = 'a.safetensors', 'b.safetensors'; {line}")) {
        folder.succeed(&["convert", "b.safetensors", "b.npy"]);
        assert_eq!(folder.read("b.npy"), npy("'|u1'", false, "(1,)", &[7]));
    }
}

/// Needs safetensors in Python.
fn metadata_becomes_text() {
    let folder = Folder::new();
    let header =
        r#"{"__metadata__":{"epoch":3},"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
    folder.file("a.safetensors", safetensors(header, &floats(2)));
    let said = remedy(&folder, &["plan", "a.safetensors"]);
    let (_, line) = said.split_once("with texts: ").expect("a line of Python");
    // Where there is no such package, it writes nothing.
    let script = format!(
        "import importlib.util, numpy\n\
         if importlib.util.find_spec('safetensors') is None: raise SystemExit\n\
         from safetensors.numpy import save_file\n\
         path, metadata, tensors = 'b.safetensors', {{'epoch': 3}}, {{'x': numpy.arange(2, dtype='f4')}}\n\
         {line}"
    );
    if !python(&folder, &script) {
        return;
    }
    if !folder.path().join("b.safetensors").exists() {
        return not_tried("install safetensors there");
    }
    folder.succeed(&["convert", "b.safetensors", "b.npy"]);
    assert_eq!(folder.read("b.npy"), npy("'<f4'", false, "(2,)", &floats(2)));
    let info = folder.succeed(&["info", "b.safetensors", "--json"]).json();
    assert_eq!(info["files"][0]["metadata"]["epoch"], "3");
}

#[cfg(unix)]
fn compressed_and_packed_files_are_expanded() {
    let folder = Folder::new();
    let array = npy("'<f4'", false, "(2,)", &floats(2));
    let shell = |line: &str| {
        let ran = Command::new("sh").args(["-c", line]).current_dir(folder.path()).output();
        let ran = ran.expect("there is a shell");
        assert!(ran.status.success(), "{line}: {}", String::from_utf8_lossy(&ran.stderr));
    };
    for (pack, expanded) in [("gzip < a.npy > FILE", "EXPANDED"), ("tar -cf FILE a.npy", "a.npy")] {
        folder.file("a.npy", &array);
        shell(&format!("{pack} && rm a.npy"));
        let said = remedy(&folder, &["convert", "FILE", "out.npy"]);
        let (_, line) = said.split_once("first: ").expect("a line of the shell");
        shell(line);
        folder.succeed(&["convert", expanded, "out.npy"]);
        assert_eq!(folder.read("out.npy"), array, "{line}");
        std::fs::remove_file(folder.path().join("out.npy")).unwrap();
    }
}
