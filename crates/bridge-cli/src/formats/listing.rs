//! What the headers of a file say.

use std::collections::HashMap;

use super::arrays::Array;
use super::zip_archive::Archive;

/// What a safetensors file says of itself besides its arrays.
pub(crate) type Notes = HashMap<String, String>;

/// What the headers of a file say.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) arrays: Vec<Array>,
    /// Whether it is one array, which the file gives no name.
    pub(super) nameless: bool,
    pub(super) notes: Option<Notes>,
    /// The archive that the file is.
    pub(super) archive: Option<Archive>,
}
