#![cfg(target_os = "linux")]

use std::fs;
use std::path::Path;

use bridge_memory::probe::{DiskProbe, MemoryProbe as _, Source};

use crate::machine::{GIB, Machine};

/// A directory in memory, found by another way than the probe's.
fn in_memory() -> &'static Path {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let is_mounted = |directory: &&str| {
        mounts.lines().any(|line| {
            let mut words = line.split(' ').skip(1);
            words.next() == Some(directory) && words.next() == Some("tmpfs")
        })
    };
    let found = ["/dev/shm", "/dev", "/run", "/tmp"].into_iter().find(is_mounted);
    Path::new(found.expect("Linux has memory mounted at one of these"))
}

#[test]
#[cfg_attr(miri, ignore = "Miri has no statfs")]
fn a_directory_has_the_room_of_its_disk() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"));
    let probe = DiskProbe::of(directory).unwrap();
    assert_eq!(probe.directory(), directory);
    let before = probe.measure().unwrap();
    assert!(0 < before.available && before.available <= before.total, "{before}");
    assert_eq!(before.total_from, Source::FileSystem);
}

#[test]
#[cfg_attr(miri, ignore = "Miri has no statfs")]
fn a_directory_in_memory_has_no_more_than_the_host() {
    let directory = in_memory();
    let machine = |max: &str| Machine::new().in_v2("/").v2_group("sys/fs/cgroup", max, 0, 0);
    let small = machine("8192");
    let measured = DiskProbe::with_host(directory, small.probe()).unwrap().measure().unwrap();
    assert_eq!((measured.total, measured.available), (8192, 8192));
    assert_eq!(measured.available_from, Source::CgroupV2("/sys/fs/cgroup".into()));

    let large = Machine::new()
        .file("proc/meminfo", "MemTotal: 1099511627776 kB\nMemAvailable: 1099511627776 kB\n");
    let measured = DiskProbe::with_host(directory, large.probe()).unwrap().measure().unwrap();
    assert!(measured.available < 1024 * 1024 * GIB);
    assert_eq!(measured.available_from, Source::FileSystem);
}

#[test]
#[cfg_attr(miri, ignore = "Miri has no statfs")]
fn what_is_no_directory_is_refused() {
    let room = tempfile::tempdir().unwrap();
    let file = room.path().join("file");
    fs::write(&file, "").unwrap();
    for (path, told) in [(room.path().join("missing"), "/missing: "), (file, "it is no directory")]
    {
        let error = DiskProbe::of(&path).unwrap_err().to_string();
        assert!(error.contains(told) && error.contains(path.to_str().unwrap()), "{error}");
    }
    let directory = room.path().join("gone");
    fs::create_dir(&directory).unwrap();
    let probe = DiskProbe::of(&directory).unwrap();
    probe.measure().unwrap();
    fs::remove_dir(&directory).unwrap();
    let error = probe.measure().unwrap_err().to_string();
    assert!(error.contains("gone") && error.contains("name a directory that exists"), "{error}");
}
