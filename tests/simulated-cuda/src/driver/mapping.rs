//! Ranges of the process's addresses.

use std::ffi::c_int;

/// The size of a page; every range is a multiple of it.
pub(crate) const PAGE: u64 = 4096;

/// A range of addresses, given back when dropped.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: u64,
    bytes: u64,
}

impl Mapping {
    /// Reserves addresses that nobody can access.
    pub(crate) fn reserve(bytes: u64) -> Option<Self> {
        Self::map(bytes, libc::PROT_NONE)
    }

    /// Memory to read and write, all zero.
    pub(crate) fn memory(bytes: u64) -> Option<Self> {
        Self::map(bytes, libc::PROT_READ | libc::PROT_WRITE)
    }

    fn map(bytes: u64, protection: c_int) -> Option<Self> {
        let bytes = bytes.max(1).checked_next_multiple_of(PAGE)?;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new anonymous mapping at an address of the system's choice touches no existing one.
        let start =
            unsafe { libc::mmap(std::ptr::null_mut(), bytes as usize, protection, flags, -1, 0) };
        (start != libc::MAP_FAILED).then(|| Self { start: start.expose_provenance() as u64, bytes })
    }

    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    pub(crate) fn end(&self) -> u64 {
        self.start + self.bytes
    }

    /// Makes whole pages of the range accessible; false where the system refuses.
    pub(crate) fn open(&self, start: u64, bytes: u64) -> bool {
        self.protect(start, bytes, libc::PROT_READ | libc::PROT_WRITE)
    }

    /// Makes whole pages inaccessible and gives their memory back to the system.
    pub(crate) fn close(&self, start: u64, bytes: u64) {
        if self.protect(start, bytes, libc::PROT_NONE) {
            let bytes = bytes.next_multiple_of(PAGE) as usize;
            // SAFETY: `protect` checked that the pages are within this mapping; nobody can access them any more.
            unsafe { libc::madvise(address(start).cast(), bytes, libc::MADV_DONTNEED) };
        }
    }

    fn protect(&self, start: u64, bytes: u64, protection: c_int) -> bool {
        let Some(bytes) = bytes.checked_next_multiple_of(PAGE) else { return false };
        let inside =
            start >= self.start && start.checked_add(bytes).is_some_and(|e| e <= self.end());
        // SAFETY: the pages are within this mapping, so nobody else's memory changes.
        inside && unsafe { libc::mprotect(address(start).cast(), bytes as usize, protection) == 0 }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is this mapping's own, and nothing refers to it any more.
        unsafe { libc::munmap(address(self.start).cast(), self.bytes as usize) };
    }
}

/// A pointer to an address that came from outside, or from `mmap`.
pub(crate) fn address(address: u64) -> *mut u8 {
    std::ptr::with_exposed_provenance_mut(address as usize)
}
