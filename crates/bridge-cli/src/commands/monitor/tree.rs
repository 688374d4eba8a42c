//! A process and those that it started: how much memory they take together.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arraybridge::memory::probe::ProcessMemory;

/// A process and its descendants. One that was seen stays a member when its parent ends before it.
pub(super) struct Tree {
    root: u32,
    /// The members that were seen last, each by its number and its start.
    members: HashSet<(u32, u64)>,
    /// The most that any one process ever took, as the kernel counts it.
    largest: Arc<AtomicU64>,
}

/// A line of the system's table of processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Process {
    id: u32,
    parent: u32,
    /// When it started, in the kernel's ticks: with the number it is told from a later one.
    start: u64,
    /// Whether it has ended, and nobody has asked how yet.
    has_ended: bool,
}

impl Tree {
    pub(super) fn of(root: u32, largest: Arc<AtomicU64>) -> Self {
        Self { root, members: HashSet::new(), largest }
    }

    /// Bytes that the members have in memory; `None` where all have ended. Pages that several share
    /// count for each.
    pub(super) fn measure(&mut self) -> Result<Option<u64>, String> {
        // A short command may end while the others are looked for.
        let first = ProcessMemory::of(self.root).ok();
        let table = processes()?;
        if !table.iter().any(|process| process.id == self.root) {
            return Err(format!("process {} is not in /proc", self.root));
        }
        let members = members(&table, self.root, &self.members);
        self.members = members.iter().map(|process| (process.id, process.start)).collect();
        let others = members.iter().filter(|one| one.id != self.root && !one.has_ended);
        // One that has ended meanwhile takes nothing.
        let others = others.filter_map(|process| ProcessMemory::of(process.id).ok());
        let mut total = None;
        for memory in first.into_iter().chain(others) {
            total = Some(memory.resident.saturating_add(total.unwrap_or(0)));
            let most = memory.peak_resident.unwrap_or(0).max(memory.resident);
            self.largest.fetch_max(most, Ordering::Relaxed);
        }
        Ok(total)
    }
}

/// The processes of the tree: the root, those that were members before, and whoever they started.
fn members(table: &[Process], root: u32, before: &HashSet<(u32, u64)>) -> Vec<Process> {
    let mut started_by: HashMap<u32, Vec<Process>> = HashMap::new();
    for process in table {
        started_by.entry(process.parent).or_default().push(*process);
    }
    let is_known = |one: &&Process| one.id == root || before.contains(&(one.id, one.start));
    let mut open: Vec<Process> = table.iter().filter(is_known).copied().collect();
    let mut found: Vec<Process> = Vec::new();
    let mut seen = HashSet::new();
    while let Some(process) = open.pop() {
        if seen.insert(process.id) {
            found.push(process);
            open.extend(started_by.get(&process.id).into_iter().flatten());
        }
    }
    found
}

/// All processes that run.
fn processes() -> Result<Vec<Process>, String> {
    let entries = fs::read_dir("/proc")
        .map_err(|error| format!("the processes cannot be listed: /proc: {error}"))?;
    let read = |entry: fs::DirEntry| {
        let id = entry.file_name().to_str()?.parse().ok()?;
        // Names of programs are any bytes.
        let line = fs::read(entry.path().join("stat")).ok()?;
        parse(id, &String::from_utf8_lossy(&line))
    };
    Ok(entries.flatten().filter_map(read).collect())
}

/// The line of `/proc/ID/stat`. The second field is the program's name in parentheses, in which there can
/// be spaces and parentheses.
fn parse(id: u32, line: &str) -> Option<Process> {
    let (_, fields) = line.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let has_ended = matches!(fields.next()?, "Z" | "X" | "x");
    let parent = fields.next()?.parse().ok()?;
    // The 22nd of all.
    let start = fields.nth(17)?.parse().ok()?;
    Some(Process { id, parent, start, has_ended })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(id: u32, parent: u32, start: u64) -> Process {
        Process { id, parent, start, has_ended: false }
    }

    fn ids(members: Vec<Process>) -> Vec<u32> {
        let mut ids: Vec<_> = members.into_iter().map(|process| process.id).collect();
        ids.sort_unstable();
        ids
    }

    #[test]
    fn a_line_is_read_whatever_the_program_is_called() {
        let rest = "17 7 7 0 -1 0 1 2 3 4 5 6 7 8 20 0 1 0 4242 9 9";
        for (name, state, has_ended) in [("sh", "S", false), ("a ) Z 1 (b) c", "Z", true)] {
            let line = format!("31 ({name}) {state} {rest}");
            let found = parse(31, &line).unwrap();
            assert_eq!(found, Process { id: 31, parent: 17, start: 4242, has_ended });
        }
        for line in ["", "31 (sh", "31 (sh) S", "31 (sh) S x", "31 (sh) S 17 7"] {
            assert_eq!(parse(31, line), None, "{line}");
        }
    }

    #[test]
    fn descendants_count_and_others_do_not() {
        let table = [
            process(1, 0, 0),
            process(9, 1, 1),
            process(3, 9, 5),
            process(12, 3, 6),
            process(4, 1, 2),
        ];
        assert_eq!(ids(members(&table, 9, &HashSet::new())), [3, 9, 12]);
    }

    #[test]
    fn a_member_whose_parent_ended_stays_one_and_a_new_process_of_its_number_is_none() {
        let table = [process(9, 1, 1), process(3, 1, 5), process(12, 3, 6), process(4, 1, 8)];
        let before = HashSet::from([(3, 5), (4, 7)]);
        assert_eq!(ids(members(&table, 9, &before)), [3, 9, 12]);
    }

    #[test]
    fn a_process_that_is_its_own_parent_is_counted_once() {
        assert_eq!(ids(members(&[process(9, 9, 1)], 9, &HashSet::new())), [9]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_is_measured_and_one_that_is_not_there_is_an_error() {
        let largest = Arc::new(AtomicU64::new(0));
        let taken = Tree::of(std::process::id(), Arc::clone(&largest)).measure().unwrap();
        assert!(taken > Some(0));
        assert!(largest.load(Ordering::Relaxed) > 0);
        let error = Tree::of(u32::MAX, largest).measure().unwrap_err();
        assert!(error.contains("is not in /proc"), "{error}");
    }
}
