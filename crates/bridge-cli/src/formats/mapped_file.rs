//! A file mapped into memory for reading.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;

use memmap2::{Mmap, UncheckedAdvice};

use crate::failure::{Failure, Outcome};

/// A regular file mapped into memory. Clones share the mapping.
///
/// Whoever truncates the file while it is mapped makes the program stop with a signal, and whoever
/// writes to it changes what is read: that is so for every program that maps files.
#[derive(Debug, Clone)]
pub(crate) struct MappedFile(Arc<Bytes>);

#[derive(Debug)]
enum Bytes {
    Mapped(Mmap),
    /// In place of a file: nothing is written to them either.
    #[cfg(any(test, feature = "fuzzing"))]
    InMemory(Vec<u8>),
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
        Ok(Self(Arc::new(Bytes::Mapped(map))))
    }

    /// Bytes that are read as a file's would be, and come from none.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn in_memory(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Bytes::InMemory(bytes)))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        match &*self.0 {
            Bytes::Mapped(map) => map,
            #[cfg(any(test, feature = "fuzzing"))]
            Bytes::InMemory(bytes) => bytes,
        }
    }

    fn map(&self) -> Option<&Mmap> {
        match &*self.0 {
            Bytes::Mapped(map) => Some(map),
            #[cfg(any(test, feature = "fuzzing"))]
            Bytes::InMemory(_) => None,
        }
    }

    /// Lets go of the pages in this range that have been read: they do not count as this program's
    /// memory any more, and would be read again from the file.
    pub(crate) fn let_go(&self, start: usize, length: usize) {
        let Some(map) = self.map() else { return };
        let end = start.saturating_add(length).min(map.len());
        if start >= end {
            return;
        }
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
