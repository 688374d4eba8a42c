//! What a command's control groups tell of their memory limits.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use arraybridge::memory::probe::{CgroupCounts, CgroupEvents};
use arraybridge::memory::profile::{Mark, Marker, Recording};

use super::summary::Ended;

/// What is called out in the samples of a command, and added up for its summary. Samples are taken on another
/// thread than the summary is made on.
pub(super) struct Groups {
    looked: Mutex<Looked>,
    /// Who marks; nobody while the first sample is taken, before which nothing has happened.
    marker: OnceLock<Marker>,
}

struct Looked {
    events: CgroupEvents,
    total: CgroupCounts,
    /// What the last two samples brought.
    before: CgroupCounts,
    last: CgroupCounts,
}

impl Groups {
    pub(super) fn of(process: u32) -> Self {
        Self::with(CgroupEvents::of(process))
    }

    fn with(events: CgroupEvents) -> Self {
        let [total, before, last] = [CgroupCounts::default(); 3];
        let looked = Mutex::new(Looked { events, total, before, last });
        Self { looked, marker: OnceLock::new() }
    }

    fn looked(&self) -> MutexGuard<'_, Looked> {
        self.looked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn mark_by(&self, marker: Marker) {
        let _ = self.marker.set(marker);
    }

    /// Looks what came since the last time, and marks it.
    pub(super) fn look(&self) {
        let marks = self.looked().look();
        for what in marks {
            if let Some(marker) = self.marker.get() {
                marker.mark(what);
            }
        }
    }

    /// Marks how the command ended, where that may have to do with the limits: killed while a group was at its
    /// limit. Whether it was killed for it, only the kernel knows.
    pub(super) fn mark_end(&self, ended: Ended, recording: &mut Recording) {
        if ended.is_killed() && self.looked().is_at_limit() {
            let seconds = recording.points.last().map_or(0.0, |point| point.until);
            let what = "ended by signal 9 at the memory limit".to_owned();
            recording.marks.push(Mark { seconds, what });
        }
    }

    /// What there was in all; `None` where nobody counts.
    pub(super) fn total(&self) -> Option<CgroupCounts> {
        let looked = self.looked();
        looked.events.is_counted().then_some(looked.total)
    }
}

impl Looked {
    /// What is to be marked. A group that stays at its limit is marked when it comes there.
    fn look(&mut self) -> Vec<String> {
        let news = self.events.news();
        self.total += news;
        self.before = std::mem::replace(&mut self.last, news);
        let begins = |of: fn(&CgroupCounts) -> u64| of(&self.before) == 0 && of(&news) > 0;
        let mut marks = Vec::new();
        if begins(|counts| counts.high) {
            marks.push("its group is above memory.high".to_owned());
        }
        if begins(|counts| counts.max) {
            marks.push("its group is at its memory limit".to_owned());
        }
        if begins(|counts| counts.oom) {
            marks.push("its group is out of memory".to_owned());
        }
        match news.oom_kill {
            0 => {}
            1 => marks.push("1 process killed for want of memory".to_owned()),
            many => marks.push(format!("{many} processes killed for want of memory")),
        }
        marks
    }

    fn is_at_limit(&self) -> bool {
        let is_at = |counts: &CgroupCounts| counts.max > 0 || counts.oom > 0 || counts.oom_kill > 0;
        is_at(&self.last) || is_at(&self.before)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::time::Duration;

    use arraybridge::memory::profile::Monitor;

    use super::*;

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Counts of the command's group.
    fn count(root: &Path, [high, max, oom, oom_kill]: [u64; 4]) {
        let text = format!("high {high}\nmax {max}\noom {oom}\noom_kill {oom_kill}\n");
        write(root, "sys/fs/cgroup/job/memory.events", &text);
    }

    /// A machine on which process 42 is in a group that limits memory.
    fn machine() -> tempfile::TempDir {
        let machine = tempfile::tempdir().unwrap();
        let root = machine.path();
        write(root, "proc/42/cgroup", "0::/job\n");
        let mounts = "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        write(root, "proc/self/mountinfo", mounts);
        count(root, [7; 4]);
        machine
    }

    /// The marks after these counts, one set a sample, of a command that ended so.
    fn marks(samples: &[[u64; 4]], ended: Ended) -> (Vec<String>, Option<CgroupCounts>) {
        let machine = machine();
        let groups = Groups::with(CgroupEvents::at(machine.path().to_owned(), 42));
        let monitor = Monitor::builder(Duration::from_secs(1000)).sampler(|| Ok(Vec::new()));
        let monitor = monitor.start().unwrap();
        groups.mark_by(monitor.marker());
        for counts in samples {
            count(machine.path(), *counts);
            groups.look();
        }
        let mut recording = monitor.finish();
        groups.mark_end(ended, &mut recording);
        (recording.marks.into_iter().map(|mark| mark.what).collect(), groups.total())
    }

    #[test]
    fn a_group_that_comes_to_its_limit_is_marked_once_and_counted() {
        let samples = [
            [7, 7, 7, 7],
            [8, 7, 7, 7],
            [9, 9, 7, 7],
            [9, 12, 8, 8],
            [9, 12, 8, 8],
            [9, 13, 8, 10],
        ];
        let (marks, total) = marks(&samples, Ended::Code(0));
        let expected = [
            "its group is above memory.high",
            "its group is at its memory limit",
            "its group is out of memory",
            "1 process killed for want of memory",
            "its group is at its memory limit",
            "2 processes killed for want of memory",
        ];
        assert_eq!(marks, expected);
        let total = total.unwrap();
        assert_eq!([total.high, total.max, total.oom, total.oom_kill], [2, 6, 1, 3]);
        // A picture has room for so many letters.
        assert!(marks.iter().all(|mark| mark.len() <= 40));
    }

    #[test]
    fn a_kill_is_marked_where_memory_was_at_its_limit() {
        let killed = Ended::Signal(9);
        let last = |samples: &[[u64; 4]], ended| marks(samples, ended).0.pop().unwrap_or_default();
        let at_limit = "ended by signal 9 at the memory limit";
        assert_eq!(last(&[[7, 7, 7, 8]], killed), at_limit);
        assert_eq!(last(&[[7, 8, 7, 7], [7, 8, 7, 7]], killed), at_limit);
        // Not where that was long ago, where memory was only short, or where it ended otherwise.
        let before = [[7, 8, 7, 7], [7, 8, 7, 7], [7, 8, 7, 7]];
        assert_eq!(last(&before, killed), "its group is at its memory limit");
        assert_eq!(last(&[[8, 7, 7, 7]], killed), "its group is above memory.high");
        for ended in [Ended::Signal(15), Ended::Code(137)] {
            assert_eq!(last(&[[7, 8, 7, 7]], ended), "its group is at its memory limit");
        }
        assert_eq!(last(&[[7; 4]], killed), "");
    }

    #[test]
    fn without_files_nothing_is_told() {
        let machine = tempfile::tempdir().unwrap();
        let groups = Groups::with(CgroupEvents::at(machine.path().to_owned(), 42));
        groups.look();
        assert_eq!(groups.total(), None);
    }
}
