//! A tensor that several hold.

use std::ops::Deref;
use std::sync::Arc;

use super::ManagedTensor;

/// A tensor that several hold: clones are the same tensor, which lives until the last is dropped.
///
/// [`ManagedTensor::alias`] makes tensors over its memory.
#[derive(Debug)]
pub struct SharedTensor(ManagedTensor);

impl SharedTensor {
    #[inline]
    pub(super) fn of(tensor: ManagedTensor) -> Self {
        Self(tensor)
    }

    /// Whether there is no other clone, and no alias.
    #[inline]
    pub fn is_unique(&self) -> bool {
        Arc::strong_count(&self.0.parts) == 1
    }

    /// The tensor itself, where there is no other clone, and no alias.
    ///
    /// # Errors
    ///
    /// This clone.
    #[inline]
    pub fn try_unwrap(mut self) -> Result<ManagedTensor, Self> {
        if self.unique().is_some() { Ok(self.0) } else { Err(self) }
    }

    /// The tensor, to be written to, where there is no other clone, and no alias.
    #[inline]
    pub fn unique(&mut self) -> Option<&mut ManagedTensor> {
        // `get_mut` also sees what other threads did with their clones before they dropped them.
        Arc::get_mut(&mut self.0.parts).is_some().then_some(&mut self.0)
    }
}

impl Clone for SharedTensor {
    fn clone(&self) -> Self {
        Self(ManagedTensor { parts: Arc::clone(&self.0.parts) })
    }
}

impl Deref for SharedTensor {
    type Target = ManagedTensor;

    #[inline]
    fn deref(&self) -> &ManagedTensor {
        &self.0
    }
}
