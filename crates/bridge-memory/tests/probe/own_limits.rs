//! `ulimit -v` and `ulimit -d`.

use std::process::Command;

use bridge_memory::probe::{HostProbe, MemoryProbe as _, Source};

use crate::machine::{GIB, Machine};

#[test]
fn the_processs_own_limits_count() {
    let machine = Machine::new().limits("8589934592", "unlimited");
    assert_eq!(machine.gib(), (8, 6), "2 GiB of addresses are taken");
    let measured = machine.limits("8589934592", "3221225472").measured();
    assert_eq!((measured.total, measured.available), (3 * GIB, 2 * GIB));
    assert_eq!(measured.total_from, Source::ProcessLimit("Max data size"));
    assert_eq!(Machine::new().limits("1073741824", "unlimited").gib(), (1, 0), "more is taken");
}

#[test]
fn limits_that_cannot_be_read_are_told() {
    let machine = Machine::new().limits("some", "unlimited");
    let measured = machine.measured();
    assert_eq!(measured.total, 64 * GIB);
    assert!(measured.to_string().contains("\"some\" for \"Max address space\""), "{measured}");

    let measured = Machine::new().file("proc/self/limits", "Max data size\n").measured();
    assert_eq!(measured.problems.len(), 2, "{measured}");

    let machine = Machine::new().limits("8589934592", "unlimited").without("proc/self/status");
    let measured = machine.measured();
    assert_eq!((measured.total, measured.available), (8 * GIB, 8 * GIB));
    assert!(measured.to_string().contains("no valid VmSize"), "{measured}");
}

/// Runs in a child of the test below.
#[test]
fn in_a_child_with_a_limit() {
    let Ok(limit) = std::env::var("BRIDGE_MEMORY_TEST_ADDRESS_SPACE") else { return };
    let limit: u64 = limit.parse().unwrap();
    let measured = HostProbe::new().measure().unwrap();
    assert_eq!(measured.total, limit, "{measured}");
    assert_eq!(measured.total_from, Source::ProcessLimit("Max address space"));
    let room = usize::try_from(measured.available).unwrap();
    assert!(Vec::<u8>::new().try_reserve_exact(room + (1 << 20)).is_err(), "there is more");
    assert!(Vec::<u8>::new().try_reserve_exact(room - (16 << 20)).is_ok(), "there is less");
}

#[test]
#[cfg(target_os = "linux")]
#[cfg_attr(miri, ignore = "Miri starts no processes")]
fn the_kernel_means_by_the_limit_what_is_measured() {
    let kilobytes = 700 << 10;
    let script = format!("ulimit -v {kilobytes} && exec \"$0\" \"$@\"");
    let child = Command::new("sh")
        .args(["-c", &script])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "own_limits::in_a_child_with_a_limit", "--test-threads=1"])
        .env("BRIDGE_MEMORY_TEST_ADDRESS_SPACE", (kilobytes * 1024).to_string())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && told.contains("1 passed"), "{told}");
}
