//! The limit of one group, and what it has used of it.

use std::io::ErrorKind;
use std::path::Path;

use super::Version;
use crate::probe::measured::{Measured, Source};
use crate::probe::proc_files::{ProcFiles, count};

/// From here on a number means no limit: v1 writes the largest whole number of pages.
const NO_LIMIT: u64 = 1 << 62;

/// Lowers `measured` to what the groups from `own` up to `top` leave.
pub(super) fn apply_up(
    files: &ProcFiles,
    version: Version,
    (own, top): (&Path, &Path),
    resident: Option<u64>,
    measured: &mut Measured,
) {
    for place in up(files, version, (own, top)) {
        Level { files, version, place }.apply(resident, measured);
    }
}

/// The groups from `own` up to `top` whose limits count for a process in `own`, its own first.
pub(super) fn up<'p>(
    files: &ProcFiles,
    version: Version,
    (own, top): (&'p Path, &Path),
) -> Vec<&'p Path> {
    let mut places = Vec::new();
    for place in own.ancestors() {
        if place != own && (Level { files, version, place }).stands_apart() {
            break;
        }
        places.push(place);
        if place == top {
            break;
        }
    }
    places
}

struct Level<'a> {
    files: &'a ProcFiles,
    version: Version,
    place: &'a Path,
}

impl Level<'_> {
    fn apply(&self, resident: Option<u64>, measured: &mut Measured) {
        let problems = &mut measured.problems;
        let Some(limit) = self.limit(problems) else { return };
        let used = self.used(problems).or(resident).unwrap_or(0);
        let shown = self.place.to_string_lossy().into();
        let source = match self.version {
            Version::V1 => Source::CgroupV1(shown),
            Version::V2 => Source::CgroupV2(shown),
        };
        measured.limit(limit, limit.saturating_sub(used), &source);
    }

    /// Whether groups below do not count towards it: v1 without `use_hierarchy`.
    fn stands_apart(&self) -> bool {
        let file = self.place.join("memory.use_hierarchy");
        self.version == Version::V1 && self.files.text(&file).is_ok_and(|text| text.trim() == "0")
    }

    /// The limit of the group; `None` where there is none. A file that is not there says that there
    /// is none: the topmost group has no such files, nor has one without the controller.
    fn limit(&self, problems: &mut Vec<String>) -> Option<u64> {
        let (first, second) = match self.version {
            Version::V1 => (self.number("memory.limit_in_bytes", problems), self.inherited()),
            Version::V2 => {
                (self.number("memory.max", problems), self.number("memory.high", problems))
            }
        };
        first.into_iter().chain(second).min().filter(|&limit| limit < NO_LIMIT)
    }

    /// The smallest limit of the groups above, which cannot be seen from inside a container of v1.
    fn inherited(&self) -> Option<u64> {
        let stat = self.files.text(&self.place.join("memory.stat")).ok()?;
        count(&stat, "hierarchical_memory_limit")
    }

    /// What the group uses and would not give up at once; `None`, with a problem, where that
    /// cannot be read.
    fn used(&self, problems: &mut Vec<String>) -> Option<u64> {
        let (usage, cache) = match self.version {
            Version::V1 => ("memory.usage_in_bytes", "total_inactive_file"),
            Version::V2 => ("memory.current", "inactive_file"),
        };
        let before = problems.len();
        let used = self.number(usage, problems);
        if used.is_none() && problems.len() == before {
            problems.push(format!("{} is missing", self.place.join(usage).display()));
        }
        if used.is_none() {
            problems
                .push("what this process has resident stands in for its group's use".to_owned());
        }
        let stat = self.files.text(&self.place.join("memory.stat")).unwrap_or_default();
        let cache = count(&stat, cache).unwrap_or_else(|| {
            let place = self.place.display();
            problems.push(format!("{place}/memory.stat has no valid {cache}: all use is counted"));
            0
        });
        used.map(|used| used.saturating_sub(cache))
    }

    /// The number in a file; `None` for no limit, and where it cannot be read.
    fn number(&self, name: &str, problems: &mut Vec<String>) -> Option<u64> {
        let path = self.place.join(name);
        let problem = match self.files.text(&path) {
            Ok(text) => match text.trim() {
                "max" | "-1" => return None,
                word => match word.parse() {
                    Ok(number) => return Some(number),
                    Err(_) => format!("says {word:?}, which is no number of bytes"),
                },
            },
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            Err(error) => format!("cannot be read ({error})"),
        };
        problems.push(format!("{} {problem}: it is not counted", path.display()));
        None
    }
}
