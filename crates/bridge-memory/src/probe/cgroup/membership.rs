//! Which groups the process is in: `/proc/self/cgroup`.

use super::Version;

/// A group that can limit the process's memory.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Membership {
    pub(super) version: Version,
    /// The group's path within its hierarchy.
    pub(super) path: String,
}

/// Reads lines of `hierarchy:controllers:path`; v2 has hierarchy 0 and names no controllers.
pub(super) fn parse(text: &str) -> Vec<Membership> {
    text.lines().filter_map(membership).collect()
}

fn membership(line: &str) -> Option<Membership> {
    let mut parts = line.splitn(3, ':');
    let (hierarchy, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
    let version = match (hierarchy, controllers) {
        ("0", "") => Version::V2,
        _ if controllers.split(',').any(|name| name == "memory") => Version::V1,
        _ => return None,
    };
    path.starts_with('/').then(|| Membership { version, path: path.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_that_limit_memory_are_found() {
        let text = "9:name=systemd:/x\n4:cpu,memory:/job:1\n3:memory_like:/y\nnonsense\n0::/user\n\
                    5:memory:relative\n";
        let found = parse(text);
        let expected = [(Version::V1, "/job:1"), (Version::V2, "/user")];
        assert_eq!(
            found,
            expected.map(|(version, path)| Membership { version, path: path.to_owned() })
        );
    }
}
