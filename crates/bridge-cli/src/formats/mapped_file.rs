//! A file mapped into memory for reading.

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use memmap2::{Mmap, UncheckedAdvice};

use crate::failure::{Failure, Outcome};

/// A regular file mapped into memory. Clones share the mapping.
///
/// Whoever truncates the file while it is mapped makes the program stop with a signal, and whoever
/// writes to it changes what is read: that is so for every program that maps files.
#[derive(Debug, Clone)]
pub(crate) struct MappedFile(Arc<Bytes>);

/// Pages are let go once so many bytes have been read: to let go of each small array's would take longer than
/// to read it.
const ENOUGH: usize = 1 << 20;

/// The system maps so many bytes around one that is read.
const AROUND: usize = 64 << 10;

#[derive(Debug)]
enum Bytes {
    Mapped(Mmap, Mutex<Passed>),
    /// In place of a file: nothing is written to them either.
    #[cfg(any(test, feature = "fuzzing"))]
    InMemory(Vec<u8>),
}

/// What has been read and not been let go of yet.
#[derive(Debug, Default)]
struct Passed {
    /// A range that all of it lies in.
    hull: Range<usize>,
    last: Range<usize>,
    /// The most memory that it takes.
    bytes: usize,
}

impl Passed {
    /// Adds a range, and answers what to let go of, where it is enough.
    fn add(&mut self, range: Range<usize>) -> Option<Range<usize>> {
        let is_near =
            (self.last.start..=self.last.end.saturating_add(AROUND)).contains(&range.start);
        let around = if self.bytes > 0 && is_near { 0 } else { AROUND };
        self.bytes = self.bytes.saturating_add(range.len()).saturating_add(around);
        self.hull = if self.hull.is_empty() {
            range.clone()
        } else {
            self.hull.start.min(range.start)..self.hull.end.max(range.end)
        };
        self.last = range;
        (self.bytes >= ENOUGH).then(|| std::mem::take(self).hull)
    }
}

impl MappedFile {
    /// Maps the file, which must be a regular one and not empty.
    pub(crate) fn open(path: &Path) -> Outcome<Self> {
        let shown = path.display();
        let unreadable = |error| Failure::new(format!("{shown} cannot be read")).why(error);
        // Asked before opening: opening a pipe would wait for its writer.
        let kind = fs::metadata(path).map_err(unreadable)?;
        if !kind.is_file() {
            let what = if kind.is_dir() { "a directory" } else { "not a regular file" };
            return Err(Failure::new(format!("{shown} is {what}"))
                .why("only regular files can be mapped into memory")
                .remedy("name an array file"));
        }
        let file = File::open(path).map_err(unreadable)?;
        if kind.len() == 0 {
            return Err(Failure::new(format!("{shown} is empty"))
                .why("even a file without elements has a header")
                .remedy("write the file again"));
        }
        Self::of(&file).map_err(unreadable)
    }

    /// Maps an open file.
    pub(crate) fn of(file: &File) -> io::Result<Self> {
        // SAFETY: `Mmap::map` asks that nobody changes the file while it is mapped. No program can
        // see to that alone; the reading code holds up to any bytes, and the type's documentation
        // says what a truncation does.
        let map = unsafe { Mmap::map(file) }?;
        Ok(Self(Arc::new(Bytes::Mapped(map, Mutex::default()))))
    }

    /// Bytes that are read as a file's would be, and come from none.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn in_memory(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Bytes::InMemory(bytes)))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        match &*self.0 {
            Bytes::Mapped(map, _) => map,
            #[cfg(any(test, feature = "fuzzing"))]
            Bytes::InMemory(bytes) => bytes,
        }
    }

    fn map(&self) -> Option<(&Mmap, &Mutex<Passed>)> {
        match &*self.0 {
            Bytes::Mapped(map, passed) => Some((map, passed)),
            #[cfg(any(test, feature = "fuzzing"))]
            Bytes::InMemory(_) => None,
        }
    }

    /// Maps the pages in this range, which are about to be read, at once. The system writes from pages that
    /// are not mapped yet in small pieces, and does some of the work for each of them twice.
    pub(crate) fn bring_in(&self, start: usize, length: usize) {
        #[cfg(target_os = "linux")]
        if length >= AROUND
            && let Some((map, _)) = self.map()
            && start.checked_add(length).is_some_and(|end| end <= map.len())
        {
            // Advice: where the system does not take it, pages come one after the other.
            let _ = map.advise_range(memmap2::Advice::PopulateRead, start, length);
        }
        #[cfg(not(target_os = "linux"))]
        let _ = (start, length);
    }

    /// Lets go of the pages in this range that have been read, once there are enough of them: they do not
    /// count as this program's memory any more, and would be read again from the file.
    pub(crate) fn let_go(&self, start: usize, length: usize) {
        let Some((map, passed)) = self.map() else { return };
        let end = start.saturating_add(length).min(map.len());
        if start >= end {
            return;
        }
        let enough = passed.lock().unwrap_or_else(PoisonError::into_inner).add(start..end);
        let Some(Range { start, end }) = enough else { return };
        // SAFETY: the mapping is read-only and of a file, so that dropped pages come back with the
        // same bytes when they are read again.
        // It is advice: where the system does not take it, memory is given back later.
        let _ =
            unsafe { map.unchecked_advise_range(UncheckedAdvice::DontNeed, start, end - start) };
    }
}

impl AsRef<[u8]> for MappedFile {
    fn as_ref(&self) -> &[u8] {
        self.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_arrays_are_let_go_of_together() {
        let mut passed = Passed::default();
        let mut let_go = Vec::new();
        // Each is read twice, as members of archives are: first for their checksum.
        for start in (0..ENOUGH).step_by(128) {
            let_go.extend(passed.add(start..start + 128));
            let_go.extend(passed.add(start + 64..start + 128));
        }
        assert_eq!(let_go.len(), 1, "{let_go:?}");
        assert_eq!(let_go[0].start, 0);
        // A window is let go of at once.
        assert_eq!(Passed::default().add(3..3 + ENOUGH), Some(3..3 + ENOUGH));
    }

    #[test]
    fn arrays_that_lie_far_apart_count_as_what_the_system_maps_for_each() {
        let mut passed = Passed::default();
        let far = |index: usize| (index * 100 * AROUND)..(index * 100 * AROUND + 4);
        let let_go = (0..40).rev().find_map(|index| passed.add(far(index)));
        assert_eq!(let_go, Some(far(24).start..far(39).end));
    }
}
