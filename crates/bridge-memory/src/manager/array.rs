//! Pooled memory with a shape.

use std::mem::MaybeUninit;
use std::ops::{Deref, DerefMut};

use bridge_core::{Element, ManagedTensor, Refused};

use crate::pool::PooledBuffer;

/// A row-major array of a manager's pool: a slice of its elements, which goes back when it is
/// dropped.
#[derive(Debug)]
pub struct PooledArray<T> {
    pub(super) buffer: PooledBuffer<T>,
    pub(super) shape: Vec<usize>,
}

impl<T> PooledArray<T> {
    /// Its shape.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }
}

impl<T: Element> PooledArray<T> {
    /// A host tensor of the same memory, which goes back to the pool when the tensor is dropped.
    ///
    /// # Errors
    ///
    /// As [`PooledBuffer::into_tensor`].
    pub fn into_tensor(self) -> Result<ManagedTensor, Refused<PooledBuffer<T>>> {
        self.buffer.into_tensor(&self.shape)
    }
}

impl<T: Element> PooledArray<MaybeUninit<T>> {
    /// Makes every element what `value` gives for its index in row-major order.
    pub fn write_with(self, value: impl FnMut(usize) -> T) -> PooledArray<T> {
        PooledArray { buffer: self.buffer.write_with(value), shape: self.shape }
    }
}

impl<T> Deref for PooledArray<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.buffer
    }
}

impl<T> DerefMut for PooledArray<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.buffer
    }
}
