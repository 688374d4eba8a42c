//! Where the hierarchies are mounted: `/proc/self/mountinfo`.

use std::path::PathBuf;

use super::Version;

/// A mount of a hierarchy that limits memory.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mount {
    pub(super) version: Version,
    /// The group that is the root of the mount.
    pub(super) root: PathBuf,
    /// Where it is mounted.
    pub(super) point: PathBuf,
}

/// The mounts, in the order of mounting. Lines of other kinds, and such as are cut short, are none.
pub(super) fn parse(text: &str) -> Vec<Mount> {
    text.lines().filter_map(mount).collect()
}

/// A line is `id parent major:minor root point options [optional …] - type source super-options`.
fn mount(line: &str) -> Option<Mount> {
    let (before, after) = line.split_once(" - ")?;
    let mut before = before.split(' ').skip(3);
    let (root, point) = (unescaped(before.next()?), unescaped(before.next()?));
    let mut after = after.split(' ');
    let version = match (after.next()?, after.nth(1)) {
        ("cgroup2", _) => Version::V2,
        ("cgroup", Some(options)) if options.split(',').any(|one| one == "memory") => Version::V1,
        _ => return None,
    };
    Some(Mount { version, root: root.into(), point: point.into() })
}

/// Blanks, tabs, line ends and backslashes are written as a backslash and three octal digits.
fn unescaped(word: &str) -> String {
    let mut text = String::with_capacity(word.len());
    let mut rest = word;
    while let Some((before, after)) = rest.split_once('\\') {
        text.push_str(before);
        let code = after.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code.filter(u8::is_ascii) {
            Some(code) => {
                text.push(char::from(code));
                rest = &after[3..];
            }
            None => {
                text.push('\\');
                rest = after;
            }
        }
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_read_with_their_optional_fields_and_escapes() {
        let text = "\
            31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
            35 31 0:32 /docker/a\\040b /sys/fs/c\\134x\\9 rw shared:4 master:1 - cgroup cgroup rw,memory\n\
            34 31 0:31 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
            36 31 0:33 / /sys/fs/cgroup/unified rw - cgroup2 none rw\n\
            37 31 0:33 / /cut rw\n38\n\n\
            39 31 0:34 / /cut rw - cgroup\n";
        let mounts = parse(text);
        let expected = [
            (Version::V1, "/docker/a b", "/sys/fs/c\\x\\9"),
            (Version::V2, "/", "/sys/fs/cgroup/unified"),
        ];
        let expected = expected.map(|(version, root, point)| Mount {
            version,
            root: root.into(),
            point: point.into(),
        });
        assert_eq!(mounts, expected);
    }
}
