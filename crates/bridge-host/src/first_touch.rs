//! The first touch of large pages.
//!
//! Linux clears a large page when it is touched for the first time, from both its ends towards the byte that
//! was touched. Where that is the first byte, as when an array is filled from its beginning, all is cleared
//! from the end to the beginning, which takes AMD's Zen 4 twice as long as the other way round.

/// Bytes of a large page, of x86-64 and of AArch64 with pages of 4 KiB.
const LARGE_PAGE: usize = 2 << 20;

/// The large pages under a run of bytes that is written forwards. Touches the last byte of each before the first
/// is written.
pub(crate) struct LargePages {
    /// Where the page ends that was touched last, or the run.
    touched: usize,
    /// Where the run ends.
    end: usize,
}

impl LargePages {
    /// Of the `bytes` bytes from `target` on.
    #[inline]
    pub(crate) fn under(target: *mut u8, bytes: usize) -> Self {
        Self { touched: target.addr(), end: target.addr() + bytes }
    }

    /// Before the byte at `place` is written: touches the last byte of its page, or of the run where that ends
    /// before, if the page is not the one that was entered last.
    ///
    /// # Safety
    ///
    /// `place` lies in the run, from there to the run's end every byte can be written, and nobody else
    /// reads or writes them.
    #[inline]
    pub(crate) unsafe fn enter(&mut self, place: *mut u8) {
        if place.addr() < self.touched {
            return;
        }
        let page_end = (place.addr() / LARGE_PAGE + 1) * LARGE_PAGE;
        self.touched = page_end.min(self.end);
        let last = place.wrapping_add((self.touched - place.addr()).saturating_sub(1));
        // SAFETY: the last byte before `touched` lies between `place` and the end of the run.
        unsafe { touch(last) };
    }

    /// Bytes from `place` to the end of the page that was entered, or of the run.
    #[cfg(any(target_arch = "x86_64", test))]
    #[inline]
    pub(crate) fn left(&self, place: *mut u8) -> usize {
        self.touched.saturating_sub(place.addr())
    }
}

/// Writes a byte that stays as it is, also where nothing was ever written to it.
///
/// # Safety
///
/// The byte can be written, and nobody else reads or writes it meanwhile.
#[inline]
unsafe fn touch(byte: *mut u8) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: it reads and writes the byte, which the caller lets it, and changes nothing else. Assembly may read
    // what is not initialized.
    unsafe {
        std::arch::asm!("or byte ptr [{byte}], 0", byte = in(reg) byte, options(nostack));
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = byte;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_is_entered_once_and_nothing_changes() {
        const BYTES: usize = 5 * LARGE_PAGE / 2;
        let mut run = vec![7_u8; if cfg!(miri) { 100 } else { BYTES }];
        let (first, bytes) = (run.as_mut_ptr(), run.len());
        let mut pages = LargePages::under(first, bytes);
        let (mut at, mut pieces) = (0, Vec::new());
        while at < bytes {
            let place = first.wrapping_add(at);
            // SAFETY: `at` is within the vector, which is this test's own.
            unsafe { pages.enter(place) };
            let left = pages.left(place);
            assert!(left > 0 && left <= LARGE_PAGE);
            at += left;
            pieces.push(first.addr() + at);
        }
        assert_eq!(pieces.pop(), Some(first.addr() + bytes));
        assert!(pieces.iter().all(|end| end.is_multiple_of(LARGE_PAGE)), "{pieces:x?}");
        assert!(run.iter().all(|&byte| byte == 7));
    }

    #[test]
    fn an_empty_run_has_no_page_to_touch() {
        let pages = LargePages::under(std::ptr::dangling_mut(), 0);
        assert_eq!(pages.left(std::ptr::dangling_mut()), 0);
    }
}
