//! Reading the kernel's files, below a root that a test can set.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// The directory that `/proc` and `/sys` are in.
#[derive(Debug, Clone)]
pub(super) struct ProcFiles {
    root: Arc<Path>,
}

impl ProcFiles {
    pub(super) fn at(root: PathBuf) -> Self {
        Self { root: root.into() }
    }

    /// The text of a file named by its absolute path. Bytes that are no UTF-8 are replaced.
    pub(super) fn text(&self, path: &Path) -> io::Result<String> {
        fs::read(self.place(path)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// As [`text`](Self::text), and in words why there is none.
    pub(super) fn told(&self, path: &str) -> Result<String, String> {
        self.text(Path::new(path)).map_err(|error| format!("{path} cannot be read ({error})"))
    }

    pub(super) fn is_directory(&self, path: &Path) -> bool {
        self.place(path).is_dir()
    }

    /// Where the file is, without ways up out of the root.
    fn place(&self, path: &Path) -> PathBuf {
        let mut place = self.root.to_path_buf();
        place.extend(path.components().filter(|part| matches!(part, Component::Normal(_))));
        place
    }
}

/// The value of a line such as `MemTotal:  16384 kB`, in bytes.
pub(super) fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let mut words = value.split_whitespace();
    let number: u64 = words.next()?.parse().ok()?;
    match (words.next(), words.next()) {
        (Some("kB"), None) => number.checked_mul(1024),
        _ => None,
    }
}

/// The value of a line such as `inactive_file 4096`.
pub(super) fn count(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_their_whole_name() {
        let text = "MemTotalX: 1 kB\nMemTotal:     2048 kB\nMemFree: 12\nSwap: x kB\n\
                    Huge: 18446744073709551615 kB\nTwo: 1 kB more\n";
        assert_eq!(kilobytes(text, "MemTotal"), Some(2048 * 1024));
        for name in ["MemFree", "Swap", "Huge", "Two", "Mem", "Absent"] {
            assert_eq!(kilobytes(text, name), None, "{name}");
        }
        let stat = "total_inactive_file 7\ninactive_file 4096\nbad -1\n";
        assert_eq!(count(stat, "inactive_file"), Some(4096));
        assert_eq!(count(stat, "bad"), None);
        assert_eq!(count(stat, "file"), None);
    }
}
