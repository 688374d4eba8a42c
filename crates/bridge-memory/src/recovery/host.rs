//! What the C library keeps of the host's memory.

/// Gives the free memory that the C library keeps back to the operating system, and returns by how
/// many bytes the process became smaller; 0 where the C library is not glibc. Memory that other
/// allocators keep is not reached.
pub(super) fn trim() -> u64 {
    let before = resident();
    trim_heap();
    before.saturating_sub(resident())
}

#[cfg(all(target_os = "linux", target_env = "gnu", not(miri)))]
fn trim_heap() {
    // SAFETY: glibc's malloc_trim may be called at any time from any thread.
    unsafe { libc::malloc_trim(0) };
}

/// Nothing to do; under Miri there is nothing to call.
#[cfg(not(all(target_os = "linux", target_env = "gnu", not(miri))))]
fn trim_heap() {}

/// Bytes of the process that are in memory; 0 where that cannot be read.
fn resident() -> u64 {
    let Ok(text) = std::fs::read_to_string("/proc/self/statm") else { return 0 };
    let pages = text.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0).saturating_mul(page_size())
}

#[cfg(unix)]
fn page_size() -> u64 {
    // SAFETY: sysconf takes any number, and only reads.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(bytes).unwrap_or(4096)
}

#[cfg(not(unix))]
fn page_size() -> u64 {
    4096
}
