//! What errors tell to do, done: lines of Python in Python, as they are printed.

use std::process::Command;

use crate::support::{Folder, floats, npy, safetensors, stored};

crate::support::cases! {
    lines_of_python_make_files_that_are_read,
    members_with_more_than_an_array,
    nul_bytes_behind_a_header_become_spaces,
}

/// Runs a script in Python; not where there is none.
fn python(folder: &Folder, script: &str) -> bool {
    let Some(python) = python_peer::python() else {
        #[expect(clippy::print_stderr, reason = "the log of a test run says what was left out")]
        {
            eprintln!("not tried in Python: {}", python_peer::REMEDY);
        }
        return false;
    };
    let ran = Command::new(python).args(["-c", script]).current_dir(folder.path()).output();
    let ran = ran.expect("Python starts");
    assert!(ran.status.success(), "{script}\n{}", String::from_utf8_lossy(&ran.stderr));
    true
}

/// What the program says to do about a file that it refuses.
#[track_caller]
fn remedy(folder: &Folder, file: &str) -> String {
    let ran = folder.run(&["plan", file]);
    assert_eq!(ran.code, Some(1), "{file}: {ran:?}");
    let (_, remedy) = ran.stderr.split_once("do:").expect("there is something to do");
    remedy.trim().to_owned()
}

/// Arrays, and which of the expressions that the error names is to make numbers of them.
const ARRAYS: [(&str, &str); 8] = [
    ("np.array([1, 2.5, None], object)[:2]", "a.astype(np.float64)"),
    ("np.array([np.zeros(2), np.zeros(3)], object)", "np.concatenate(a.ravel())"),
    ("np.array(['one', 'two'])", "np.frombuffer(a.tobytes(), np.uint8)"),
    ("np.array('zero dimensions')", "np.frombuffer(a.tobytes(), np.uint8)"),
    ("np.array([b'one', b'two'])", "np.frombuffer(a.tobytes(), np.uint8)"),
    ("np.array(['2020-01-01', '2020-01-02'], 'M8[D]')", "a.view(np.int64)"),
    ("np.array(5, 'm8[s]')", "a.view(np.int64)"),
    ("np.array([1, 2], np.longdouble)", "a.astype(np.float64)"),
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
        let said = remedy(&folder, &format!("{place}.npy"));
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

fn members_with_more_than_an_array() {
    let folder = Folder::new();
    let two =
        [npy("'<f4'", false, "(2,)", &floats(2)), npy("'<f4'", false, "(1,)", &floats(1))].concat();
    folder.file("a.npz", stored(&[("x.npy", &two)]));
    let line = "numpy.savez(path, x=x, y=y)";
    let said = remedy(&folder, "a.npz");
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
    let said = remedy(&folder, "a.safetensors");
    let (_, line) = said.split_once("in Python: ").expect("a line of Python");
    if python(&folder, &format!("path, new = 'a.safetensors', 'b.safetensors'; {line}")) {
        folder.succeed(&["convert", "b.safetensors", "b.npy"]);
        assert_eq!(folder.read("b.npy"), npy("'|u1'", false, "(1,)", &[7]));
    }
}
