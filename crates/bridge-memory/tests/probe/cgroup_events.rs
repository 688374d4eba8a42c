//! How often the groups of a process ran into their limits.

use bridge_memory::probe::{CgroupCounts, CgroupEvents};

use crate::machine::Machine;

const V2: &str = "sys/fs/cgroup";
const V1: &str = "sys/fs/cgroup/memory";

/// A machine on which process 42 runs in this group of v2.
fn in_v2(group: &str) -> Machine {
    let machine = Machine::new().in_v2("/").file("proc/42/cgroup", &format!("0::{group}\n"));
    let machine = machine.file("proc/42/stat", "42 (a) Z 1) S 1 42 42 0");
    // A group is there where it has files.
    machine.file(&format!("{V2}/{group}/memory.current"), "0\n")
}

fn events(machine: &Machine) -> CgroupEvents {
    CgroupEvents::at(machine.root().to_owned(), 42)
}

fn v2([high, max, oom, oom_kill]: [u64; 4]) -> String {
    format!("low 9\nhigh {high}\nmax {max}\noom {oom}\noom_kill {oom_kill}\noom_group_kill 0\n")
}

fn counts([high, max, oom, oom_kill]: [u64; 4]) -> CgroupCounts {
    CgroupCounts { high, max, oom, oom_kill }
}

#[test]
fn what_the_group_counts_from_then_on_is_told_once() {
    let events_file = &format!("{V2}/job/memory.events");
    let machine = in_v2("/job").file(events_file, &v2([1, 2, 3, 4]));
    let mut events = events(&machine);
    assert!(events.is_counted());
    assert_eq!(events.news(), CgroupCounts::default());
    let machine = machine.file(events_file, &v2([2, 7, 4, 5]));
    assert_eq!(events.news(), counts([1, 5, 1, 1]));
    assert_eq!(events.news(), CgroupCounts::default());
    // Files that go, are cut short or go back tell nothing.
    let machine = machine.without(events_file);
    assert_eq!(events.news(), CgroupCounts::default());
    let machine = machine.file(events_file, "max x\noom");
    assert_eq!(events.news(), CgroupCounts::default());
    let machine = machine.file(events_file, &v2([0, 1, 0, 0]));
    assert_eq!(events.news(), CgroupCounts::default());
    let _machine = machine.file(events_file, &v2([0, 2, 0, 0]));
    assert_eq!(events.news(), counts([0, 1, 0, 0]));
}

#[test]
fn of_groups_above_only_their_own_limits_count() {
    let (own, above) = (&format!("{V2}/pod/job/memory.events"), &format!("{V2}/pod"));
    let machine = in_v2("/pod/job").file(own, &v2([0; 4]));
    let local = &format!("{above}/memory.events.local");
    let machine =
        machine.file(local, &v2([0; 4])).file(&format!("{above}/memory.events"), &v2([0; 4]));
    let mut events = events(&machine);
    // Another group of the same pod ran into its own limit, and a process of it was killed.
    let machine = machine.file(&format!("{above}/memory.events"), &v2([9; 4]));
    assert_eq!(events.news(), CgroupCounts::default());
    // The pod ran into its limit, and its victim was in no group of the process's.
    let machine = machine.file(local, &v2([0, 1, 1, 1]));
    assert_eq!(events.news(), counts([0, 1, 1, 0]));
    // The victim was here.
    let _machine = machine.file(own, &v2([0, 0, 0, 1]));
    assert_eq!(events.news(), counts([0, 0, 0, 1]));
}

#[test]
fn v1_counts_in_other_files() {
    let in_v1 = |machine: Machine| {
        machine.file("proc/42/cgroup", "5:cpu,memory:/pod/job\n").file(
            "proc/self/mountinfo",
            "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
        )
    };
    let control = |kills: u64| format!("oom_kill_disable 0\nunder_oom 0\noom_kill {kills}\n");
    let own = &format!("{V1}/pod/job");
    let machine = in_v1(Machine::new())
        .files(own, [("memory.failcnt", "3\n"), ("memory.oom_control", &control(1))])
        .files(
            &format!("{V1}/pod"),
            [("memory.failcnt", "10\n"), ("memory.oom_control", &control(7))],
        );
    let mut events = events(&machine);
    let machine =
        machine.files(own, [("memory.failcnt", "5\n"), ("memory.oom_control", &control(2))]).files(
            &format!("{V1}/pod"),
            [("memory.failcnt", "11\n"), ("memory.oom_control", &control(9))],
        );
    assert_eq!(events.news(), counts([0, 3, 0, 1]));
    // Kernels before 4.13 do not count the killed.
    let machine =
        machine.file(&format!("{own}/memory.oom_control"), "oom_kill_disable 0\nunder_oom 0\n");
    assert_eq!(events.news(), CgroupCounts::default());
    // Groups that do not count towards those above.
    let machine = machine.file(&format!("{V1}/pod/memory.use_hierarchy"), "0\n");
    let mut events = CgroupEvents::at(machine.root().to_owned(), 42);
    let _machine = machine.file(&format!("{V1}/pod/memory.failcnt"), "99\n");
    assert_eq!(events.news(), CgroupCounts::default());
}

#[test]
fn a_process_that_moves_is_followed_until_it_ends() {
    let (before, after) = (&format!("{V2}/a/memory.events"), &format!("{V2}/b/memory.events"));
    let machine = in_v2("/a").file(before, &v2([0; 4])).file(after, &v2([5; 4]));
    let mut events = events(&machine);
    // What happened before it left counts, and of the new group what happens from then on.
    let machine = machine.file(before, &v2([0, 1, 0, 0])).file("proc/42/cgroup", "0::/b\n");
    assert_eq!(events.news(), counts([0, 1, 0, 0]));
    let machine = machine.file(before, &v2([9; 4])).file(after, &v2([5, 6, 5, 5]));
    assert_eq!(events.news(), counts([0, 1, 0, 0]));
    // It was killed: the kernel says that it is in the topmost group.
    let machine = machine.file("proc/42/cgroup", "0::/\n").file("proc/42/stat", "42 (a) Z 1 42");
    assert_eq!(events.news(), CgroupCounts::default());
    let machine = machine.file(after, &v2([5, 6, 5, 6]));
    assert_eq!(events.news(), counts([0, 0, 0, 1]));
    let _machine = machine.without("proc/42/cgroup");
    assert_eq!(events.news(), CgroupCounts::default());
}

#[test]
fn where_there_are_no_files_nothing_is_counted() {
    for machine in [Machine::without_files(), Machine::new(), in_v2("/"), in_v2("/job")] {
        let mut events = events(&machine);
        assert!(!events.is_counted());
        assert_eq!(events.news(), CgroupCounts::default());
    }
}
