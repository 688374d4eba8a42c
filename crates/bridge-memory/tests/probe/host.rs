#[cfg(target_os = "linux")]
use bridge_memory::probe::ProcessMemory;
use bridge_memory::probe::{FALLBACK_BYTES, HostProbe, Measured, MemoryProbe as _, Source};

use crate::machine::{GIB, Machine};

#[test]
fn a_host_without_limits_has_what_meminfo_says() {
    let measured = Machine::new().measured();
    assert_eq!(measured, Measured::new(64 * GIB, 40 * GIB, Source::MemInfo));
    assert!(!measured.is_fallback());
}

#[test]
fn without_any_files_sixteen_gibibytes_are_assumed_and_marked_so() {
    let measured = Machine::without_files().measured();
    assert_eq!((measured.total, measured.available), (16 * GIB, 16 * GIB));
    assert_eq!(FALLBACK_BYTES, 16 * GIB);
    assert_eq!(measured.total_from, Source::Fallback);
    assert_eq!(measured.available_from, Source::Fallback);
    assert!(measured.is_fallback());
    let told = measured.to_string();
    for part in [
        "assumed, not measured",
        "/proc/meminfo cannot be read",
        "17179869184 bytes of memory are assumed",
        "limits of containers are not counted",
        "the process's own limits are not counted",
    ] {
        assert!(told.contains(part), "{told}: lacks {part}");
    }
}

#[test]
fn what_is_wrong_with_meminfo_is_told() {
    let with = |text: &str| Machine::new().file("proc/meminfo", text).measured();

    let cut = with("MemTotal:   67108864 kB\nMemFree:  2097152 kB\nMemAvail");
    assert_eq!((cut.total, cut.available), (64 * GIB, 2 * GIB));
    assert_eq!(cut.available_from, Source::MemInfo);
    assert!(cut.problems[0].contains("MemFree stands in"), "{cut}");

    let total_only = with("MemTotal:   67108864 kB\n");
    assert_eq!((total_only.total, total_only.available), (64 * GIB, 64 * GIB));
    assert_eq!(total_only.total_from, Source::MemInfo);
    assert_eq!(total_only.available_from, Source::Fallback);
    assert!(total_only.to_string().contains("assumed to be available"), "{total_only}");

    for nonsense in
        ["", "MemTotal: many kB\n", "MemTotal: -5 kB\n", "MemTotal: 5 pages\n", "\0\u{fe}"]
    {
        let measured = with(nonsense);
        assert_eq!((measured.total, measured.available), (FALLBACK_BYTES, FALLBACK_BYTES));
        assert!(measured.is_fallback() && measured.problems.len() >= 2, "{measured}");
    }

    let available_only = with("MemAvailable:  2097152 kB\n");
    assert_eq!((available_only.total, available_only.available), (FALLBACK_BYTES, 2 * GIB));
    assert_eq!(available_only.available_from, Source::MemInfo);
}

#[test]
fn a_file_that_cannot_be_read_is_no_panic() {
    let machine = Machine::new().without("proc/meminfo").file("proc/meminfo/is-a-directory", "");
    assert!(machine.measured().to_string().contains("/proc/meminfo cannot be read"));
}

#[test]
fn the_process_is_measured_apart() {
    let process = Machine::new().probe().process().unwrap();
    assert_eq!(process.resident, GIB);
    assert_eq!(process.peak_resident, Some(3 * GIB / 2));
    assert_eq!(process.virtual_size, 2 * GIB);

    let status = "VmSize:\t 20 kB\nVmRSS:\t 10 kB\n";
    let without_peak = Machine::new().file("proc/self/status", status).probe().process().unwrap();
    assert_eq!((without_peak.resident, without_peak.peak_resident), (10 << 10, None));

    let error = Machine::without_files().probe().process().unwrap_err().to_string();
    assert!(error.contains("/proc/self/status cannot be read"), "{error}");
    let machine = Machine::new().file("proc/self/status", "VmRSS: ten kB\n");
    let error = machine.probe().process().unwrap_err().to_string();
    assert!(error.contains("no valid VmRSS"), "{error}");
}

#[test]
#[cfg(target_os = "linux")]
fn memory_that_is_touched_is_resident() {
    let before = ProcessMemory::measure().unwrap();
    let touched = vec![1_u8; 64 << 20];
    let with = ProcessMemory::measure().unwrap();
    assert!(with.resident >= before.resident + (60 << 20), "{before:?} {with:?}");
    drop(touched);
    let after = ProcessMemory::measure().unwrap();
    assert!(after.resident + (60 << 20) <= with.resident, "{with:?} {after:?}");
    // The kernel counts a CPU's last pages late.
    let seen = with.resident - (8 << 20);
    assert!(after.peak_resident.is_none_or(|peak| peak >= seen), "{with:?} {after:?}");
}

#[test]
fn this_machine_is_measured() {
    let measured = HostProbe::default().measure().unwrap();
    assert!(measured.available <= measured.total && measured.total > 0, "{measured}");
    assert_eq!(measured.is_fallback(), !cfg!(target_os = "linux"), "{measured}");
}

#[cfg(target_os = "linux")]
#[test]
fn another_process_is_measured_while_it_is_there() {
    let own = ProcessMemory::of(std::process::id()).unwrap();
    assert!(own.resident > 1 << 20, "{own:?}");
    let error = ProcessMemory::of(u32::MAX).unwrap_err().to_string();
    assert!(error.contains("/proc/4294967295/status"), "{error}");
}
