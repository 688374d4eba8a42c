//! Arrays as files hold them: those of a file that is read, and those of one that is written.

use arraybridge::{DataType, Layout, Shape, TensorSpec, TypeCode};

use super::gguf;
use crate::failure::Outcome;

/// An array of a file.
#[derive(Debug, Clone)]
pub(crate) struct Array {
    /// Its name; that of an `.npy` file is made of the file's.
    pub(crate) name: String,
    pub(crate) spec: TensorSpec,
    pub(super) place: Place,
    pub(super) reading: Reading,
    /// Which of the files it is in that are read as one.
    pub(super) part: usize,
}

/// What is done to elements when they are read, where they do not lie in the file as they are used.
#[derive(Debug, Clone, Default)]
pub(super) struct Reading {
    /// Bytes of each number, where these lie in the other order than this machine's.
    pub(super) swapped: Option<usize>,
    pub(super) scattered: Option<Scattered>,
}

/// Elements that lie among others: the values of one field of records.
#[derive(Debug, Clone)]
pub(super) struct Scattered {
    /// Bytes from one index of each axis to the next.
    pub(super) strides: Vec<usize>,
    /// Bytes from the first record to the first element.
    pub(super) offset: usize,
    /// Bytes of all records.
    pub(super) length: usize,
}

impl Array {
    /// Whether the bytes of its numbers lie in the other order than this machine's, and are swapped when
    /// they are read.
    pub(crate) fn is_swapped(&self) -> bool {
        self.reading.swapped.is_some()
    }

    /// Where bytes are swapped, swaps those of each number of its element type: a complex one has two.
    pub(crate) fn swap_as_its_type(&mut self) {
        let data_type = self.spec.data_type;
        let parts = if data_type.is_complex() { 2 } else { 1 };
        let number = data_type.size_in_bytes().map(|size| size / parts);
        if self.is_swapped() {
            self.reading.swapped = number.filter(|&size| size > 1);
        }
    }

    /// Whether its elements lie among others, and are gathered when they are read.
    pub(crate) fn is_scattered(&self) -> bool {
        self.reading.scattered.is_some()
    }

    /// Whether its file says no more of the elements than how many bytes they have.
    pub(crate) fn is_raw(&self) -> bool {
        self.spec.data_type.code() == TypeCode::Opaque
    }

    /// The same array as the bytes that its elements are made of, along an axis more, which is the last;
    /// `None` where elements are no bytes, or not as they are in the file.
    pub(crate) fn in_bytes(&self) -> Option<Self> {
        let size = self.spec.data_type.size_in_bytes()?;
        let step = isize::try_from(size).ok()?;
        let layout = &self.spec.layout;
        let shape = [layout.shape(), &[size]].concat();
        let in_bytes = layout.strides().iter().map(|stride| stride.checked_mul(step));
        let mut strides = in_bytes.collect::<Option<Vec<isize>>>()?;
        strides.push(1);
        let layout = Layout::new(&shape, &strides, layout.byte_offset()).ok()?;
        let mut bytes = self.clone();
        bytes.spec = TensorSpec { data_type: DataType::U8, layout };
        if let Some(scattered) = &mut bytes.reading.scattered {
            scattered.strides.push(1);
        }
        (!bytes.is_swapped() && bytes.quantized_as().is_none()).then_some(bytes)
    }

    /// What its numbers are quantised as, where they are computed when they are read.
    pub(crate) fn quantized_as(&self) -> Option<String> {
        match self.place {
            Place::Quantized { blocks, .. } => Some(format!("{blocks:?}")),
            _ => None,
        }
    }

    /// Whether its elements are copied when they are read.
    pub(crate) fn is_read_by_copy(&self) -> bool {
        self.is_swapped() || self.is_scattered() || self.quantized_as().is_some()
    }

    /// How its elements lie in the file, where that is not how they are used.
    pub(crate) fn stored_as(&self) -> Option<String> {
        let ways = [
            self.quantized_as(),
            self.is_swapped().then(|| "bytes swapped".to_owned()),
            self.is_scattered().then(|| "field of records".to_owned()),
            self.is_raw().then(|| "raw bytes, see --as".to_owned()),
            matches!(self.place, Place::Latin1 { .. }).then(|| "text in the pickle".to_owned()),
        ];
        let ways: Vec<String> = ways.into_iter().flatten().collect();
        (!ways.is_empty()).then(|| ways.join(", "))
    }

    /// Where its first element lies in the file; none where it is compressed.
    pub(crate) fn offset(&self) -> Option<usize> {
        match self.place {
            Place::Mapped { start }
            | Place::Stored { start, .. }
            | Place::Quantized { start, .. } => {
                Some(start.saturating_add(self.spec.layout.byte_offset()))
            }
            Place::Deflated { .. } | Place::Latin1 { .. } => None,
        }
    }
}

/// Where the elements are.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    /// In the file from this byte on.
    Mapped { start: usize },
    /// The same, in a member of a zip archive with a checksum.
    Stored { start: usize, index: usize },
    /// As quantised blocks from this byte on, which are read as float32.
    Quantized { start: usize, blocks: gguf::Blocks },
    /// In a pickle, as a text of `length` bytes each of whose letters is a byte.
    Latin1 { start: usize, length: usize, index: Option<usize> },
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
