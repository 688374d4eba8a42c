//! Large pages under large blocks: most of the time of a copy into new memory is spent on its first
//! touch, page by page.

use std::ptr::NonNull;

/// Bytes of a block from which large pages are asked for when it is allocated: the C library hands smaller
/// ones out again with the pages they had, and maps larger ones afresh each time.
pub(crate) const ALWAYS_FROM: usize = 32 << 20;

/// Bytes of a block below which nothing is asked: no large page would fit.
#[cfg(all(target_os = "linux", not(miri)))]
const SMALLEST: usize = 4 << 20;

/// Asks the system to put large pages under a block of the caller's, where it does so on request
/// only. What lies in the block stays.
#[cfg(all(target_os = "linux", not(miri)))]
pub(crate) fn ask_for(first: NonNull<u8>, size: usize) {
    // SAFETY: it changes neither contents nor protection, whatever else lies on the same pages.
    unsafe { advise(first, size, libc::MADV_HUGEPAGE) };
}

/// Has the system put large pages under a block of the caller's at once. What lies in the block stays.
#[cfg(all(target_os = "linux", not(miri)))]
pub(crate) fn make(first: NonNull<u8>, size: usize) {
    // SAFETY: it moves contents to other pages of the same addresses, whatever else lies there.
    unsafe { advise(first, size, libc::MADV_COLLAPSE) };
}

/// Gives the system advice about every page that the block has a part of. It may be declined.
///
/// Nearly all is not enough: large blocks often end where a large page does, or a few bytes before, and the advice must
/// reach that far for the last one to be large.
///
/// # Safety
///
/// The block is the caller's, and the advice changes neither contents nor protection.
#[cfg(all(target_os = "linux", not(miri)))]
unsafe fn advise(first: NonNull<u8>, size: usize, advice: libc::c_int) {
    // SAFETY: the function may be called at any time.
    let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) });
    let Some(page) = page.ok().filter(|page| size >= SMALLEST && page.is_power_of_two()) else {
        return;
    };
    let before = first.addr().get() % page;
    let pages = (before + size).next_multiple_of(page);
    // SAFETY: the pages are there, as the block has a part of each; the rest is the caller's promise, and true of what
    // else lies on the first and on the last of them.
    unsafe { libc::madvise(first.as_ptr().wrapping_sub(before).cast(), pages, advice) };
}

/// Nothing is asked of other systems.
#[cfg(not(all(target_os = "linux", not(miri))))]
pub(crate) fn ask_for(_: NonNull<u8>, _: usize) {}

/// Nothing is asked of other systems.
#[cfg(not(all(target_os = "linux", not(miri))))]
pub(crate) fn make(_: NonNull<u8>, _: usize) {}
