//! What memory holds and who may write it.

use crate::data_type::DataType;
use crate::error::Result;
use crate::layout::Layout;

/// Who may write to a tensor's memory, from the least to the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Access {
    /// Nobody may write through this tensor.
    ReadOnly,
    /// Writing is allowed, and others may write too: safe Rust gets no reference into the memory.
    Shared,
    /// Writing is allowed and nobody else holds the memory.
    Exclusive,
}

/// An element type and a layout: what memory must hold, before there is any.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TensorSpec {
    /// The element type.
    pub data_type: DataType,
    /// Where the elements lie.
    pub layout: Layout,
}

impl TensorSpec {
    /// A compact row-major tensor of `shape`.
    ///
    /// # Errors
    ///
    /// As [`Layout::row_major`], and [`Error::TooLarge`](crate::Error::TooLarge) where the bytes exceed `isize::MAX`.
    pub fn row_major(data_type: DataType, shape: &[usize]) -> Result<Self> {
        let layout = Layout::row_major(shape)?;
        layout.compact_bytes(data_type)?;
        Ok(Self { data_type, layout })
    }
}

/// A queue of work on a device, by its DLPack number: for CUDA 1 is the legacy default stream,
/// 2 the per-thread one, and any other value a stream's pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stream(pub u64);
