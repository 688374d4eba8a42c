//! The host tools a program needs to copy and cast; the crate `bridge-host` provides them.

use bridge_tensor::{DataType, Layout, ManagedTensor};

use crate::error::Result;
use crate::options::Overflow;

/// Copies and casts between host tensors. `bridge-host` registers the one implementation, so that
/// this crate stays free of kernels.
///
/// # Safety
///
/// Where `copy`, `copy_to_new_pages`, `cast` or `copy_parts` returns `Ok`, every element of `target` has been written: the planner hands
/// in memory that is not initialized. What is written is a valid value of the element type: for
/// `bool` the bytes 0 and 1, as the target may be the memory of a Rust value.
pub unsafe trait HostTools: Send + Sync + 'static {
    /// Writes the elements of `source` to those of `target`, whatever their strides.
    ///
    /// # Errors
    ///
    /// Where shapes or element types differ, a tensor is not in host memory, or `target` cannot be
    /// written exclusively or repeats elements.
    fn copy(&self, source: &ManagedTensor, target: &mut ManagedTensor) -> Result<()>;

    /// As [`copy`](Self::copy), to memory whose pages the system has mapped for it just now, or will at their first
    /// touch: that may be faster another way.
    ///
    /// # Errors
    ///
    /// As [`copy`](Self::copy).
    fn copy_to_new_pages(&self, source: &ManagedTensor, target: &mut ManagedTensor) -> Result<()> {
        self.copy(source, target)
    }

    /// Writes the elements of `source` to those of `target`, converted to its element type.
    ///
    /// # Errors
    ///
    /// As [`copy`](Self::copy) but for the element types, [`Error::NoCast`](crate::Error::NoCast)
    /// where no cast leads from one to the other, and
    /// [`Error::ValueOutOfRange`](crate::Error::ValueOutOfRange) under [`Overflow::Refuse`].
    fn cast(
        &self,
        source: &ManagedTensor,
        target: &mut ManagedTensor,
        overflow: Overflow,
    ) -> Result<()>;

    /// Writes the elements of each source to its target. The targets are parts of one block that was
    /// allocated just now; several may be written at the same time.
    ///
    /// # Errors
    ///
    /// As [`copy`](Self::copy), of one that fails; others may have been written.
    fn copy_parts(&self, parts: &mut [(&ManagedTensor, ManagedTensor)]) -> Result<()> {
        parts.iter_mut().try_for_each(|(source, target)| self.copy(source, target))
    }

    /// The bytes of host memory that [`copy`](Self::copy) and [`cast`](Self::cast) take at any time beside the target,
    /// from elements of one type and layout to another: a budget admits them together with the target. 0 by
    /// default.
    fn working_memory(&self, source: (DataType, &Layout), target: (DataType, &Layout)) -> u64 {
        let _ = (source, target);
        0
    }
}
