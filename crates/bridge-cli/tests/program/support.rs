//! Files to convert, and running the program on them, in this process or in one of its own.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output as Finished};
use std::sync::{Mutex, PoisonError};

use bridge_cli::{Console, Output};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_arraybridge");

/// Makes tests of the functions of a file: one each, or one for all where each process that runs a test
/// has to load libtorch, which takes longer than most tests.
macro_rules! cases {
    ($($(#[$only_if:meta])* $case:ident,)*) => {
        #[cfg(not(feature = "torch"))]
        mod case {
            $($(#[$only_if])* #[test] fn $case() { super::$case(); })*
        }

        #[cfg(feature = "torch")]
        #[test]
        fn all_cases() {
            let cases: &[(&str, fn())] = &[$($(#[$only_if])* (stringify!($case), $case),)*];
            crate::support::run_all(cases);
        }
    };
}
pub(crate) use cases;

/// Runs every case, also after one that failed, and then says which failed.
#[cfg(feature = "torch")]
pub(crate) fn run_all(cases: &[(&str, fn())]) {
    let fails = |(_, case): &&(&str, fn())| std::panic::catch_unwind(case).is_err();
    let failed: Vec<_> = cases.iter().filter(fails).map(|(name, _)| name).collect();
    assert!(failed.is_empty(), "these cases failed, as is said above: {failed:?}");
}

/// A folder that is removed in the end.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path().join(name)).unwrap()
    }

    /// Every file and its bytes.
    pub(crate) fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        let entries = fs::read_dir(self.path()).unwrap().map(Result::unwrap);
        entries
            .filter(|entry| entry.file_type().unwrap().is_file())
            .map(|entry| {
                let name = entry.file_name().to_string_lossy().into_owned();
                (name, fs::read(entry.path()).unwrap())
            })
            .collect()
    }

    /// Runs the program in the folder and in this process.
    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        let (ran, stdout) = self.run_on_bytes(args, None);
        Ran { stdout: String::from_utf8(stdout).unwrap(), ..ran }
    }

    /// The same with this as standard input, and with standard output as the bytes that it is.
    pub(crate) fn run_on_bytes(&self, args: &[&str], input: Option<&[u8]>) -> (Ran, Vec<u8>) {
        /// A process has one working directory, and its threads may run tests.
        static WORKING_DIRECTORY: Mutex<()> = Mutex::new(());
        let _mine = WORKING_DIRECTORY.lock().unwrap_or_else(PoisonError::into_inner);
        std::env::set_current_dir(self.path()).unwrap();
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let mut console = Console::new(Output::plain(&mut stdout), Output::plain(&mut stderr));
        if let Some(input) = input {
            console = console.with_input(input);
        }
        let exit = bridge_cli::run_on(["arraybridge"].iter().chain(args), console);
        let (code, stderr) = (Some(exit.code().into()), String::from_utf8(stderr).unwrap());
        (Ran { code, stdout: String::new(), stderr }, stdout)
    }

    /// A process that runs the program in the folder.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.current_dir(self.path()).args(args);
        command
    }

    /// Runs the program, which must succeed.
    #[track_caller]
    pub(crate) fn succeed(&self, args: &[&str]) -> Ran {
        let ran = self.run(args);
        assert_eq!(ran.code, Some(0), "{args:?}: {ran:?}");
        ran
    }

    /// Runs the program, which must fail with this exit code, say all of this on standard error
    /// and leave every file as it was, and no new one.
    #[track_caller]
    pub(crate) fn fail(&self, code: i32, args: &[&str], says: &[&str]) {
        let before = self.contents();
        let ran = self.run(args);
        assert_eq!(ran.code, Some(code), "{args:?}: {ran:?}");
        assert_eq!(ran.stdout, "", "{args:?}");
        let told = ran.told();
        for text in says {
            assert!(told.contains(text), "{args:?} does not say {text:?}: {}", ran.stderr);
        }
        assert!(before == self.contents(), "{args:?} changed a file: {:?}", self.names());
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.contents().into_keys().collect()
    }
}

/// What a run of the program came to.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn of(output: Finished) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// What standard error says; an error in JSON as it is told without `--json`.
    fn told(&self) -> String {
        let Ok(error) = serde_json::from_str::<serde_json::Value>(&self.stderr) else {
            return self.stderr.clone();
        };
        let part = |key: &str| error["error"][key].as_str().unwrap_or_default().to_owned();
        let [asked, found, why, remedy] = ["asked", "found", "why", "do"].map(part);
        format!("error: {asked}\n  found: {found}\n  why:   {why}\n  do:    {remedy}")
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// An `.npy` file as NumPy 1 and 2 write it, whatever its header then says.
pub(crate) fn npy(descr: &str, fortran_order: bool, shape: &str, elements: &[u8]) -> Vec<u8> {
    let fortran_order = if fortran_order { "True" } else { "False" };
    npy_saying(
        &format!("{{'descr': {descr}, 'fortran_order': {fortran_order}, 'shape': {shape}, }}"),
        elements,
    )
}

pub(crate) fn npy_saying(dictionary: &str, elements: &[u8]) -> Vec<u8> {
    let length = (10 + dictionary.len() + 1).next_multiple_of(64) - 10;
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(u16::try_from(length).unwrap().to_le_bytes());
    bytes.extend(format!("{dictionary:<width$}\n", width = length - 1).bytes());
    bytes.extend(elements);
    bytes
}

/// A matrix of floats that count up.
pub(crate) fn counting(rows: u16, columns: u16) -> Vec<u8> {
    npy("'<f4'", false, &format!("({rows}, {columns})"), &floats(usize::from(rows * columns)))
}

pub(crate) fn floats(count: usize) -> Vec<u8> {
    (0..count).flat_map(|index| (index as f32).to_le_bytes()).collect()
}

/// Bytes without a pattern.
pub(crate) fn noise(count: usize) -> Vec<u8> {
    let mut state = 12_345_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_le_bytes()[3]
    };
    (0..count).map(|_| next()).collect()
}

/// A `.safetensors` file with this header, whatever it says.
pub(crate) fn safetensors(header: &str, elements: &[u8]) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.bytes());
    bytes.extend(elements);
    bytes
}

pub(crate) fn npz(members: &[(&str, &[u8])], method: CompressionMethod) -> Vec<u8> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in members {
        let options = SimpleFileOptions::default().compression_method(method);
        archive.start_file(*name, options).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

pub(crate) fn stored(members: &[(&str, &[u8])]) -> Vec<u8> {
    npz(members, CompressionMethod::Stored)
}

/// An archive with one stored member, as `torch.save` writes it where `zip64`: with the records of ZIP64
/// at its end.
pub(crate) fn archive_of_one(name: &str, bytes: &[u8], zip64: bool) -> Vec<u8> {
    let plain = stored(&[(name, bytes)]);
    if !zip64 {
        return plain;
    }
    let end = plain.len() - 22; // the end record, which has no comment
    let number = |at: usize| u32::from_le_bytes(plain[at..at + 4].try_into().unwrap());
    let (size, start) = (u64::from(number(end + 12)), u64::from(number(end + 16)));
    let mut archive = plain[..end].to_vec();
    archive.extend(b"PK\x06\x06");
    archive.extend(44_u64.to_le_bytes());
    archive.extend([45, 0, 45, 0]); // versions
    archive.extend([0; 8]); // disks
    [1, 1, size, start].iter().for_each(|number| archive.extend(number.to_le_bytes()));
    archive.extend(b"PK\x06\x07\0\0\0\0");
    archive.extend((end as u64).to_le_bytes());
    archive.extend(1_u32.to_le_bytes());
    archive.extend(&plain[end..]);
    archive
}

pub(crate) fn deflated(members: &[(&str, &[u8])]) -> Vec<u8> {
    npz(members, CompressionMethod::Deflated)
}

/// Replaces the one place where `from` is found.
#[track_caller]
pub(crate) fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = bytes.windows(from.len()).position(|window| window == from).expect("found");
    [&bytes[..at], to, &bytes[at + from.len()..]].concat()
}
