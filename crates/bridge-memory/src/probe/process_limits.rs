//! The limits of this process (`ulimit -v`, `ulimit -d`) and what counts towards them.

use super::measured::{Measured, Source};
use super::proc_files::{ProcFiles, kilobytes};

const LIMITS: &str = "/proc/self/limits";

/// Each limit on memory that the kernel enforces, and the line of `/proc/self/status` that it holds
/// down.
const ENFORCED: [(&str, &str); 2] = [("Max address space", "VmSize"), ("Max data size", "VmData")];

/// Lowers `measured` to what the process's own limits leave. `status` is the text of
/// `/proc/self/status`.
pub(super) fn apply(files: &ProcFiles, status: Option<&str>, measured: &mut Measured) {
    let limits = match files.told(LIMITS) {
        Ok(text) => text,
        Err(problem) => {
            measured.problems.push(format!("{problem}: the process's own limits are not counted"));
            return;
        }
    };
    for (name, counted) in ENFORCED {
        match soft_limit(&limits, name) {
            Ok(None) => {}
            Ok(Some(limit)) => {
                let taken = status.and_then(|status| kilobytes(status, counted));
                if taken.is_none() {
                    measured.problems.push(format!(
                        "/proc/self/status has no valid {counted}: nothing counts as taken of the \
                         limit \"{name}\""
                    ));
                }
                let left = limit.saturating_sub(taken.unwrap_or(0));
                measured.limit(limit, left, &Source::ProcessLimit(name));
            }
            Err(found) => measured
                .problems
                .push(format!("{LIMITS} says {found:?} for \"{name}\": this limit is not counted")),
        }
    }
}

/// The soft limit of the line that begins with `name`; `None` where there is none.
fn soft_limit<'a>(limits: &'a str, name: &str) -> Result<Option<u64>, &'a str> {
    let values = limits.lines().find_map(|line| line.strip_prefix(name)).ok_or("nothing")?;
    match values.split_whitespace().next() {
        Some("unlimited") => Ok(None),
        Some(word) => word.parse().map(Some).map_err(|_| word),
        None => Err(""),
    }
}
