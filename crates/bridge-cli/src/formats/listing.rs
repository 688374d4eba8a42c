//! What the headers of a file say.

use std::collections::HashMap;

use super::arrays::Array;
use super::zip_archive::Archive;
use crate::failure::Failure;

/// What a safetensors file says of itself besides its arrays.
pub(crate) type Notes = HashMap<String, String>;

/// What the headers of a file say: its arrays, and what in it cannot be converted. A format's reader
/// fails only for what is wrong with the file as a whole.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) arrays: Vec<Array>,
    /// Entries that are no array of a kind that can be read, in the order of the file.
    pub(super) refusals: Vec<Refusal>,
    /// Whether it is one array, which the file gives no name.
    pub(super) nameless: bool,
    pub(super) notes: Option<Notes>,
    /// The archive that the file is.
    pub(super) archive: Option<Archive>,
}

/// An entry of a file that cannot be converted, and why.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    /// What an array there would be called.
    pub(crate) name: String,
    /// What was found, why it cannot be converted, and what to do.
    pub(crate) failure: Failure,
    pub(crate) kind: RefusalKind,
    /// Bytes of the entry, where they are known.
    pub(crate) bytes: Option<u64>,
}

/// What it means for the others that an entry cannot be converted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RefusalKind {
    /// It holds nothing that belongs to the arrays, as the entry of a folder: they are converted without
    /// it.
    Beside,
    /// Its data would be lost: the others are converted without it where the user says so.
    Unsupported,
    /// It is not what its header says: nobody knows what else is damaged.
    Damaged,
}

impl Refusal {
    /// An entry whose data would be lost, or that is damaged, as the failure says.
    pub(super) fn new(name: impl Into<String>, failure: Failure) -> Self {
        let kind =
            if failure.is_damage() { RefusalKind::Damaged } else { RefusalKind::Unsupported };
        Self { name: name.into(), failure, kind, bytes: None }
    }

    /// An entry that nobody misses.
    pub(super) fn beside(name: impl Into<String>, failure: Failure) -> Self {
        Self { kind: RefusalKind::Beside, ..Self::new(name, failure) }
    }

    /// The same, with the bytes that the entry has.
    pub(super) fn of_bytes(self, bytes: u64) -> Self {
        Self { bytes: Some(bytes), ..self }
    }

    /// Whether somebody would miss it.
    pub(super) fn would_be_lost(&self) -> bool {
        self.kind != RefusalKind::Beside
    }
}
