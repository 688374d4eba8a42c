//! How often a process's groups ran into their limits.

use std::ops::AddAssign;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{Version, level, membership, mounts, place};
use crate::probe::proc_files::{ProcFiles, count};

/// Counts how often the control groups (cgroups) of a process run into their memory limits, from its own
/// group up to the root, in v1 and v2.
///
/// They are counts of groups: other processes of the same groups are counted with it. A process that moves
/// to another group is followed. A file that is not there counts nothing: the topmost group has none, older
/// kernels lack some of them, and v1 knows neither `high` nor `oom`.
///
/// ```
/// use bridge_memory::probe::CgroupEvents;
///
/// let mut events = CgroupEvents::of(std::process::id());
/// // ... work ...
/// let news = events.news();
/// if news.max > 0 {
///     println!("at the limit {} times, {} processes killed", news.max, news.oom_kill);
/// }
/// ```
#[derive(Debug)]
pub struct CgroupEvents {
    files: ProcFiles,
    process: u32,
    /// What `/proc/PROCESS/cgroup` said when the groups were looked for.
    membership: String,
    groups: Vec<Group>,
}

/// How often something happened about the memory limits of groups.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct CgroupCounts {
    /// Times that a group was above `memory.high`, where the kernel slows its processes down.
    pub high: u64,
    /// Times that a group was about to exceed its limit: `memory.max`, or in v1 `memory.limit_in_bytes`. The
    /// kernel first takes file cache away then, which is no failure.
    pub max: u64,
    /// Times that this did not help, and an allocation was about to fail.
    pub oom: u64,
    /// Processes of the process's own group, in v2 also of groups below it, that the kernel killed for want
    /// of memory, the group's or the machine's.
    pub oom_kill: u64,
}

#[derive(Debug)]
struct Group {
    version: Version,
    place: PathBuf,
    is_own: bool,
    last: CgroupCounts,
    /// Whether there is any file that counts.
    counts: bool,
}

impl CgroupEvents {
    /// Of the process of this number, from now on.
    pub fn of(process: u32) -> Self {
        Self::at(PathBuf::from("/"), process)
    }

    /// As if `root` were the root of the file system; as [`HostProbe::at`](crate::probe::HostProbe::at).
    pub fn at(root: PathBuf, process: u32) -> Self {
        let files = ProcFiles::at(root);
        let mut events = Self { files, process, membership: String::new(), groups: Vec::new() };
        events.follow();
        events
    }

    /// Whether any of its groups counts: not where there are no groups with limits, nor on systems other
    /// than Linux.
    pub fn is_counted(&self) -> bool {
        self.groups.iter().any(|group| group.counts)
    }

    /// What happened since the last call, or since it was made.
    pub fn news(&mut self) -> CgroupCounts {
        let mut news = CgroupCounts::default();
        for group in &mut self.groups {
            news += group.news(&self.files);
        }
        self.follow();
        news
    }

    /// Looks for the groups, where the process is in others than before. Their counts begin then.
    fn follow(&mut self) {
        let Ok(now) = self.files.text(&self.of_process("cgroup")) else { return };
        // One that has ended is nowhere, and its groups are still those that it was in.
        if now == self.membership || self.has_ended() {
            return;
        }
        let mounts = self.files.text(Path::new("/proc/self/mountinfo")).unwrap_or_default();
        let mounts = mounts::parse(&mounts);
        self.groups.clear();
        for membership in &membership::parse(&now) {
            let Some((own, top)) = place(&self.files, membership, &mounts) else { continue };
            let version = membership.version;
            for place in level::up(&self.files, version, (&own, &top)) {
                let (place, is_own, last) =
                    (place.to_owned(), place == own, CgroupCounts::default());
                let mut group = Group { version, place, is_own, last, counts: false };
                group.news(&self.files);
                self.groups.push(group);
            }
        }
        self.membership = now;
    }

    fn has_ended(&self) -> bool {
        let stat = self.files.text(&self.of_process("stat")).unwrap_or_default();
        // The name before may have any letters in it.
        let state = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        state.starts_with(['Z', 'X', 'x'])
    }

    fn of_process(&self, file: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{file}", self.process))
    }
}

impl Group {
    /// What its counts went up by.
    fn news(&mut self, files: &ProcFiles) -> CgroupCounts {
        let Some(now) = self.read(files) else { return CgroupCounts::default() };
        self.counts = true;
        let last = std::mem::replace(&mut self.last, now);
        CgroupCounts {
            high: now.high.saturating_sub(last.high),
            max: now.max.saturating_sub(last.max),
            oom: now.oom.saturating_sub(last.oom),
            oom_kill: now.oom_kill.saturating_sub(last.oom_kill),
        }
    }

    /// Its counts so far, the last ones where they cannot be read; `None` where it has none. Of a group above
    /// only what is about its own limit counts, and not what groups beside the process's did.
    fn read(&self, files: &ProcFiles) -> Option<CgroupCounts> {
        let text = |name: &str| files.text(&self.place.join(name)).ok();
        let last = self.last;
        let found = match self.version {
            Version::V2 => {
                let name = if self.is_own { "memory.events" } else { "memory.events.local" };
                let text = text(name)?;
                CgroupCounts {
                    high: count(&text, "high").unwrap_or(last.high),
                    max: count(&text, "max").unwrap_or(last.max),
                    oom: count(&text, "oom").unwrap_or(last.oom),
                    oom_kill: count(&text, "oom_kill").unwrap_or(last.oom_kill),
                }
            }
            Version::V1 => {
                let (max, control) = (text("memory.failcnt"), text("memory.oom_control"));
                if max.is_none() && control.is_none() {
                    return None;
                }
                let killed = control.and_then(|text| count(&text, "oom_kill"));
                CgroupCounts {
                    max: max.and_then(|text| text.trim().parse().ok()).unwrap_or(last.max),
                    oom_kill: killed.unwrap_or(last.oom_kill),
                    ..last
                }
            }
        };
        let oom_kill = if self.is_own { found.oom_kill } else { 0 };
        Some(CgroupCounts { oom_kill, ..found })
    }
}

impl AddAssign for CgroupCounts {
    fn add_assign(&mut self, other: Self) {
        self.high = self.high.saturating_add(other.high);
        self.max = self.max.saturating_add(other.max);
        self.oom = self.oom.saturating_add(other.oom);
        self.oom_kill = self.oom_kill.saturating_add(other.oom_kill);
    }
}
