//! What a probe answers.

use std::fmt;
use std::sync::Arc;

/// How much memory there is, in bytes, and where each figure comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Measured {
    /// The most that may be used at all.
    pub total: u64,
    /// What could be taken now; never more than `total`.
    pub available: u64,
    /// Where `total` comes from: of several limits the smallest.
    pub total_from: Source,
    /// Where `available` comes from: of several limits the one that leaves the least.
    pub available_from: Source,
    /// What could not be read, and what stands in for it; empty where all was found.
    pub problems: Vec<String>,
}

/// Where a figure comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// `/proc/meminfo`: the host.
    MemInfo,
    /// A cgroup v1 with this directory: a container's limit.
    CgroupV1(Arc<str>),
    /// A cgroup v2 with this directory: a container's limit.
    CgroupV2(Arc<str>),
    /// A limit of this process (`ulimit`), by the name it has in `/proc/self/limits`.
    ProcessLimit(&'static str),
    /// The allocator of the backend with this name.
    Allocator(&'static str),
    /// The file system that a directory is on.
    FileSystem,
    /// Several probes together.
    Sum,
    /// The program set it.
    Fixed,
    /// Nothing could be measured: this is an assumption, and [`Measured::problems`] says why.
    Fallback,
}

impl Measured {
    /// Figures that both come from `source`. No more than `total` counts as available.
    pub fn new(total: u64, available: u64, source: Source) -> Self {
        Self {
            total,
            available: available.min(total),
            total_from: source.clone(),
            available_from: source,
            problems: Vec::new(),
        }
    }

    /// Whether a figure is an assumption because nothing could be measured.
    pub fn is_fallback(&self) -> bool {
        self.total_from == Source::Fallback || self.available_from == Source::Fallback
    }

    /// Bytes that are not available.
    pub fn used(&self) -> u64 {
        self.total.saturating_sub(self.available)
    }

    /// Lowers the figures to those of a further limit, where they are smaller.
    pub(super) fn limit(&mut self, total: u64, available: u64, source: &Source) {
        if total < self.total {
            (self.total, self.total_from) = (total, source.clone());
        }
        let available = available.min(total);
        if available < self.available {
            (self.available, self.available_from) = (available, source.clone());
        }
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { total, available, total_from, available_from, problems } = self;
        write!(f, "{available} of {total} bytes available ({total_from}")?;
        if available_from != total_from {
            write!(f, "; available: {available_from}")?;
        }
        f.write_str(")")?;
        problems.iter().try_for_each(|problem| write!(f, "; {problem}"))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MemInfo => f.write_str("/proc/meminfo"),
            Self::CgroupV1(group) => write!(f, "cgroup v1 {group}"),
            Self::CgroupV2(group) => write!(f, "cgroup v2 {group}"),
            Self::ProcessLimit(name) => write!(f, "the process's limit \"{name}\""),
            Self::Allocator(backend) => write!(f, "the allocator of \"{backend}\""),
            Self::FileSystem => f.write_str("the file system"),
            Self::Sum => f.write_str("several together"),
            Self::Fixed => f.write_str("set by the program"),
            Self::Fallback => f.write_str("assumed, not measured"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_limit_wins_and_is_named() {
        let mut measured = Measured::new(100, 60, Source::MemInfo);
        measured.limit(200, 150, &Source::Fixed);
        assert_eq!(measured, Measured::new(100, 60, Source::MemInfo));
        measured.limit(80, 70, &Source::CgroupV2("/sys/fs/cgroup/job".into()));
        assert_eq!((measured.total, measured.available, measured.used()), (80, 60, 20));
        assert_eq!(
            measured.to_string(),
            "60 of 80 bytes available (cgroup v2 /sys/fs/cgroup/job; available: /proc/meminfo)"
        );
        measured.limit(50, 90, &Source::ProcessLimit("Max address space"));
        assert_eq!((measured.total, measured.available), (50, 50));
        assert_eq!(measured.available_from, measured.total_from);
    }

    #[test]
    fn no_more_is_available_than_there_is() {
        assert_eq!(Measured::new(5, 9, Source::Fixed).available, 5);
    }
}
