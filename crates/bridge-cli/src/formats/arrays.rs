//! Arrays as files hold them: those of a file that is read, and those of one that is written.

use arraybridge::{DataType, Shape, TensorSpec};

use crate::failure::Outcome;

/// An array of a file.
#[derive(Debug)]
pub(crate) struct Array {
    /// Its name; that of an `.npy` file is made of the file's.
    pub(crate) name: String,
    pub(crate) spec: TensorSpec,
    pub(super) place: Place,
    /// Which of the files it is in that are read as one.
    pub(super) part: usize,
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

/// The order in which elements lie in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// The last axis densest (C).
    RowMajor,
    /// The first axis densest (Fortran).
    ColumnMajor,
}

impl Order {
    /// The axes from the sparsest to the densest.
    pub(crate) fn axes(self, rank: usize) -> Vec<usize> {
        match self {
            Self::RowMajor => (0..rank).collect(),
            Self::ColumnMajor => (0..rank).rev().collect(),
        }
    }
}

/// An array to be written.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    pub(crate) name: String,
    pub(crate) data_type: DataType,
    pub(crate) shape: Shape,
    pub(crate) order: Order,
}

impl Outgoing {
    /// Bytes of all elements.
    pub(crate) fn bytes(&self) -> Outcome<u64> {
        let spec = TensorSpec::row_major(self.data_type, &self.shape)?;
        Ok(spec.layout.compact_bytes(self.data_type)? as u64)
    }
}
