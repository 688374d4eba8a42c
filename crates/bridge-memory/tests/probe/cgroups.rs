//! Limits of containers: cgroup v1, v2, and both.

use bridge_memory::probe::Source;

use crate::machine::{GIB, Machine};

const V2: &str = "sys/fs/cgroup";
const V1: &str = "sys/fs/cgroup/memory";
const NO_LIMIT: &str = "9223372036854771712\n";

/// A group of v1 with these limits: its own and the least of those above.
fn v1_group(machine: Machine, directory: &str, limit: &str, above: &str, used: u64) -> Machine {
    machine.files(directory, [
        ("memory.limit_in_bytes", limit),
        ("memory.usage_in_bytes", &*format!("{used}\n")),
        ("memory.use_hierarchy", "1\n"),
        (
            "memory.stat",
            &format!(
                "inactive_file 1\nhierarchical_memory_limit {above}\ntotal_inactive_file {GIB}\n"
            ),
        ),
    ])
}

fn in_v1(machine: Machine, group: &str, root: &str) -> Machine {
    machine.file("proc/self/cgroup", &format!("5:cpu,memory:{group}\n2:cpuset:/other\n")).file(
        "proc/self/mountinfo",
        &format!(
            "34 31 0:31 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n\
             35 31 0:32 {root} /sys/fs/cgroup/memory rw - cgroup cgroup rw,cpu,memory\n"
        ),
    )
}

#[test]
fn a_v2_group_limits_and_its_inactive_cache_does_not_count() {
    let machine =
        Machine::new().in_v2("/job").v2_group("sys/fs/cgroup/job", "8589934592", 5 * GIB, 2 * GIB);
    let measured = machine.measured();
    assert_eq!((measured.total, measured.available), (8 * GIB, 5 * GIB));
    assert_eq!(measured.total_from, Source::CgroupV2("/sys/fs/cgroup/job".into()));
    assert_eq!(measured.problems, [""; 0]);
}

#[test]
fn the_smallest_limit_up_to_the_root_wins() {
    let machine = Machine::new()
        .in_v2("/a/b/c")
        .v2_group("sys/fs/cgroup/a/b/c", "max", 0, 0)
        .v2_group("sys/fs/cgroup/a/b", "21474836480", GIB, 0)
        .v2_group("sys/fs/cgroup/a", "32212254720", 27 * GIB, 0);
    let measured = machine.measured();
    // b allows less in all, a has less left.
    assert_eq!((measured.total, measured.available), (20 * GIB, 3 * GIB));
    assert_eq!(measured.total_from, Source::CgroupV2("/sys/fs/cgroup/a/b".into()));
    assert_eq!(measured.available_from, Source::CgroupV2("/sys/fs/cgroup/a".into()));
}

#[test]
fn the_limit_above_which_the_kernel_slows_down_counts_too() {
    let machine = Machine::new().in_v2("/job").v2_group(V2, "max", 0, 0);
    let machine = machine.v2_group("sys/fs/cgroup/job", "8589934592", GIB, 0);
    let machine = machine.file("sys/fs/cgroup/job/memory.high", "4294967296\n");
    assert_eq!(machine.gib(), (4, 3));
}

#[test]
fn a_container_that_sees_its_group_as_the_root_is_limited() {
    // With a namespace of its own.
    let machine = Machine::new().in_v2("/").v2_group(V2, "4294967296", GIB, 0);
    assert_eq!(machine.gib(), (4, 3));
    // Without one: the path is the host's, the mount the container's.
    let machine = Machine::new().in_v2("/docker/0a1b").v2_group(V2, "4294967296", GIB, 0);
    assert_eq!(machine.gib(), (4, 3));
    // Moved out of the namespace's root.
    let machine = Machine::new().in_v2("/../sibling").v2_group(V2, "4294967296", GIB, 0);
    let machine = machine.v2_group("sys/fs/sibling", "1073741824", 0, 0);
    let machine = machine.v2_group("sys/fs/cgroup/sibling", "2147483648", 0, 0);
    assert_eq!(machine.gib(), (4, 3));
    // The mount is of another group: it is all that can be seen.
    let machine = in_v1(Machine::new(), "/docker/0a1b", "/pods/2c3d");
    assert_eq!(v1_group(machine, V1, "4294967296\n", NO_LIMIT, 2 * GIB).gib(), (4, 3));
    // The group that stands in for the process's own counts, with a hierarchy or without.
    let machine = in_v1(Machine::new(), "/docker/0a1b", "/");
    let machine = v1_group(machine, V1, "4294967296\n", NO_LIMIT, 2 * GIB);
    assert_eq!(machine.file(&format!("{V1}/memory.use_hierarchy"), "0\n").gib(), (4, 3));
    // The mount's root is named.
    let machine = in_v1(Machine::new(), "/docker/0a1b/inner", "/docker/0a1b");
    let machine = v1_group(machine, V1, "4294967296\n", NO_LIMIT, 2 * GIB);
    let machine = v1_group(machine, &format!("{V1}/inner"), "2147483648\n", NO_LIMIT, GIB);
    assert_eq!(machine.gib(), (2, 2));
}

#[test]
fn of_several_mounts_the_one_that_shows_most_is_read() {
    let mounted = |lines: &str| {
        let machine = in_v1(Machine::new(), "/pod/x", "/").file("proc/self/mountinfo", lines);
        let machine = v1_group(machine, &format!("{V1}/pod"), "2147483648", NO_LIMIT, GIB);
        let machine = v1_group(machine, &format!("{V1}/pod/x"), "3221225472", NO_LIMIT, GIB);
        let machine = v1_group(machine, "mnt/pod/x", "3221225472", NO_LIMIT, GIB);
        v1_group(machine, "mnt/other", "1073741824", NO_LIMIT, GIB)
    };
    let all = "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
    let pod = "36 31 0:32 /pod /mnt/pod rw - cgroup cgroup rw,memory\n";
    let other = "37 31 0:32 /other /mnt/other rw - cgroup cgroup rw,memory\n";
    let gone = "38 31 0:32 / /mnt/gone rw - cgroup cgroup rw,memory\n";
    assert_eq!(mounted(&[all, pod, other].concat()).gib(), (2, 2));
    assert_eq!(mounted(&[pod, other, all].concat()).gib(), (2, 2));
    assert_eq!(mounted(&[other, pod, gone].concat()).gib(), (3, 3));
}

#[test]
fn nothing_above_the_mount_is_read() {
    let machine = Machine::new().in_v2("/").v2_group(V2, "4294967296", GIB, 0);
    assert_eq!(machine.v2_group("sys/fs", "1073741824", 0, 0).gib(), (4, 3));
}

#[test]
fn a_v1_group_limits_and_huge_numbers_are_no_limit() {
    let machine = in_v1(Machine::new(), "/job", "/");
    let machine = v1_group(machine, V1, NO_LIMIT, NO_LIMIT, 60 * GIB);
    let machine = v1_group(machine, &format!("{V1}/job"), "8589934592\n", NO_LIMIT, 3 * GIB);
    let measured = machine.measured();
    assert_eq!((measured.total, measured.available), (8 * GIB, 6 * GIB));
    assert_eq!(measured.total_from, Source::CgroupV1("/sys/fs/cgroup/memory/job".into()));

    let machine = in_v1(Machine::new(), "/", "/");
    assert_eq!(v1_group(machine, V1, NO_LIMIT, NO_LIMIT, 60 * GIB).gib(), (64, 40));
}

#[test]
fn a_v1_limit_above_what_can_be_seen_counts() {
    let machine = in_v1(Machine::new(), "/docker/0a1b", "/docker/0a1b");
    assert_eq!(v1_group(machine, V1, NO_LIMIT, "6442450944", 2 * GIB).gib(), (6, 5));
}

#[test]
fn a_v1_group_above_counts_only_with_a_hierarchy() {
    let machine = || {
        let machine = in_v1(Machine::new(), "/a/b", "/");
        let machine = v1_group(machine, &format!("{V1}/a"), "4294967296\n", NO_LIMIT, GIB);
        v1_group(machine, &format!("{V1}/a/b"), "8589934592\n", NO_LIMIT, GIB)
    };
    assert_eq!(machine().gib(), (4, 4));
    let apart = machine().file(&format!("{V1}/a/memory.use_hierarchy"), "0\n");
    assert_eq!(apart.gib(), (8, 8));
}

#[test]
fn on_a_machine_with_both_the_smaller_wins() {
    let hybrid = |v1: &str, v2: &str| {
        let machine = Machine::new()
            .file("proc/self/cgroup", "4:memory:/job\n1:name=systemd:/x\n0::/job\n")
            .file(
                "proc/self/mountinfo",
                "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
                 35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                 41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
            )
            .v2_group("sys/fs/cgroup/unified/job", v2, 0, 0);
        v1_group(machine, &format!("{V1}/job"), v1, NO_LIMIT, GIB)
    };
    assert_eq!(hybrid("8589934592", "4294967296").gib(), (4, 4));
    assert_eq!(hybrid("2147483648", "4294967296").gib(), (2, 2));
    // The usual hybrid: the controller is with v1, and v2 has no files for memory.
    let machine = hybrid("8589934592", "max").without("sys/fs/cgroup/unified/job/memory.max");
    assert_eq!(machine.gib(), (8, 8));
}

#[test]
fn the_host_wins_where_it_has_less_than_the_group_may_take() {
    let machine = Machine::new().in_v2("/").v2_group(V2, "137438953472", GIB, 0);
    assert_eq!(machine.gib(), (64, 40));
}

#[test]
fn a_group_that_used_more_than_its_limit_has_nothing_left() {
    let machine = Machine::new().in_v2("/").v2_group(V2, "1073741824", 3 * GIB, GIB);
    assert_eq!(machine.gib(), (1, 0));
    let machine = Machine::new().in_v2("/").v2_group(V2, "0", 0, 0);
    assert_eq!(machine.gib(), (0, 0));
    // The cache can be counted as more than all: the two are not read at once.
    let machine = Machine::new().in_v2("/").v2_group(V2, "1073741824", GIB, 3 * GIB);
    assert_eq!(machine.gib(), (1, 1));
}

#[test]
fn a_limit_counts_where_meminfo_is_missing() {
    let machine = Machine::new().in_v2("/").v2_group(V2, "4294967296", GIB, 0);
    let measured = machine.without("proc/meminfo").measured();
    assert_eq!((measured.total, measured.available), (4 * GIB, 3 * GIB));
    assert!(!measured.is_fallback() && !measured.problems.is_empty(), "{measured}");
}

#[test]
fn files_of_a_group_that_are_not_as_they_should_be_are_told() {
    let machine = || Machine::new().in_v2("/").v2_group(V2, "4294967296", GIB / 2, 0);
    for (file, text, told, expected) in [
        ("memory.max", "lots", "/memory.max says \"lots\"", (64, 40)),
        ("memory.max", "", "/memory.max says \"\"", (64, 40)),
        ("memory.high", "-7", "/memory.high says \"-7\"", (4, 3)),
        ("memory.max", "99999999999999999999", "which is no number of bytes", (64, 40)),
        ("memory.current", "?", "what this process has resident stands in", (4, 3)),
        ("memory.stat", "inactive_file\n", "no valid inactive_file: all use is counted", (4, 3)),
    ] {
        let measured = machine().file(&format!("{V2}/{file}"), text).measured();
        assert!(measured.to_string().contains(told), "{measured}: lacks {told}");
        assert_eq!((measured.total / GIB, measured.available / GIB), expected, "{file}: {text}");
    }
    let measured = machine().without(&format!("{V2}/memory.current")).measured();
    assert_eq!((measured.total, measured.available), (4 * GIB, 3 * GIB), "1 GiB is resident");
    assert!(
        measured.to_string().contains("/sys/fs/cgroup/memory.current is missing"),
        "{measured}"
    );
}

#[test]
fn groups_that_cannot_be_found_are_told() {
    let untold = "limits of containers are not counted";
    let machine = || Machine::new().in_v2("/job").v2_group(V2, "4294967296", GIB, 0);
    for machine in [
        machine().without("proc/self/cgroup"),
        machine().without("proc/self/mountinfo"),
        machine().file("proc/self/mountinfo", "30 23 0:26 / /sys/fs/cg\n"),
        machine().file("proc/self/cgroup", "nonsense\n"),
    ] {
        let measured = machine.measured();
        assert_eq!((measured.total, measured.available), (64 * GIB, 40 * GIB));
        assert!(
            measured.problems.len() == 1 && measured.problems[0].contains(untold),
            "{measured}"
        );
    }
}
