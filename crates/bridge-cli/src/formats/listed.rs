//! What a file's headers say of its arrays.

use arraybridge::TensorSpec;

/// An array of a file.
#[derive(Debug)]
pub(crate) struct Array {
    /// Its name; that of an `.npy` file is made of the file's.
    pub(crate) name: String,
    pub(crate) spec: TensorSpec,
    pub(super) place: Place,
}

/// Where the elements are.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    /// In the file from this byte on.
    Mapped { start: usize },
    /// The same, in a member of a zip archive with a checksum.
    Stored { start: usize, index: usize },
    /// Compressed in a member of a zip archive, after `skip` bytes.
    Deflated { index: usize, skip: usize },
}
