//! The host tools a program needs to copy and cast; the crate `bridge-host` provides them.

use crate::error::Result;
use crate::options::Overflow;
use crate::tensor::ManagedTensor;

/// Copies and casts between host tensors. `bridge-host` registers the one implementation, so that
/// this crate stays free of kernels.
///
/// # Safety
///
/// Where `copy` or `cast` returns `Ok`, every element of `target` has been written: the planner hands
/// in memory that is not initialized. (`copy` passes bytes on as they are; whether a byte is a valid
/// `bool` is checked where elements become Rust values.)
pub unsafe trait HostTools: Send + Sync + 'static {
    /// Writes the elements of `source` to those of `target`, whatever their strides.
    ///
    /// # Errors
    ///
    /// Where shapes or element types differ, a tensor is not in host memory, or `target` cannot be
    /// written exclusively or repeats elements.
    fn copy(&self, source: &ManagedTensor, target: &mut ManagedTensor) -> Result<()>;

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
}
