//! Other views of an array's memory.

use bridge_core::{ManagedTensor, Refused, Result, TensorError};

use super::ClArray;
use super::in_use::InUse;

impl ClArray {
    /// The same elements with the axes in another order; nothing moves.
    ///
    /// # Errors
    ///
    /// As [`Layout::permuted`](bridge_core::Layout::permuted); the array comes back.
    pub fn permuted(self, axes: &[usize]) -> Result<Self, Refused<Self>> {
        self.viewed(|tensor| tensor.permuted(axes))
    }

    /// Every `step`-th element of `axis`, `count` of them from `start` on; nothing moves.
    ///
    /// # Errors
    ///
    /// As [`Layout::sliced`](bridge_core::Layout::sliced); the array comes back.
    pub fn sliced(
        self,
        axis: usize,
        start: usize,
        count: usize,
        step: isize,
    ) -> Result<Self, Refused<Self>> {
        self.viewed(|tensor| tensor.sliced(axis, start, count, step))
    }

    /// The part where index `index` of `axis` is fixed; nothing moves.
    ///
    /// # Errors
    ///
    /// As [`Layout::selected`](bridge_core::Layout::selected); the array comes back.
    pub fn selected(self, axis: usize, index: usize) -> Result<Self, Refused<Self>> {
        self.viewed(|tensor| tensor.selected(axis, index))
    }

    /// The same elements under another shape; nothing moves.
    ///
    /// # Errors
    ///
    /// As [`Layout::reshaped`](bridge_core::Layout::reshaped); the array comes back.
    pub fn reshaped(self, shape: &[usize]) -> Result<Self, Refused<Self>> {
        self.viewed(|tensor| tensor.reshaped(shape))
    }

    fn viewed(
        self,
        view: impl FnOnce(ManagedTensor) -> Result<ManagedTensor, Refused<ManagedTensor, TensorError>>,
    ) -> Result<Self, Refused<Self>> {
        let Self { memory, queue, announced } = self;
        let (tensor, last) = memory.into_parts();
        let array = |tensor| Self { memory: InUse::new(tensor, last), queue, announced };
        match view(tensor) {
            Ok(tensor) => Ok(array(tensor)),
            Err(refused) => Err(refused.map(array)),
        }
    }
}
