//! The two pointers of a copy.

/// A pair of pointers that threads may share: the threads write to different elements.
#[derive(Clone, Copy)]
pub(crate) struct Ends {
    pub(crate) source: *const u8,
    pub(crate) target: *mut u8,
}

// SAFETY: the pointers are used only by the functions of this crate, whose callers promise that
// the source is readable, that the target is writable and theirs alone, for as long as they run;
// each thread writes a part of the target that no other thread reads or writes.
unsafe impl Send for Ends {}
// SAFETY: as for `Send`; the pair itself is never changed.
unsafe impl Sync for Ends {}

impl Ends {
    /// The pair at these offsets in bytes.
    pub(crate) fn at(self, source: isize, target: isize) -> Self {
        Self {
            source: self.source.wrapping_offset(source),
            target: self.target.wrapping_offset(target),
        }
    }
}
