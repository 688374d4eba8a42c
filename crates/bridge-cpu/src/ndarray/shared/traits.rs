//! What a shared array does as every Rust value does.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Index;

use bridge_core::{Element, Error, NativeArray, Refused, Result};
use ndarray::{Array, ArrayD, ArrayViewD, Dimension, IndexLonger, IxDyn, NdIndex, iter};

use super::SharedArray;

impl<T> Clone for SharedArray<T> {
    /// Another holder of the same memory; nothing is copied.
    fn clone(&self) -> Self {
        Self { tensor: self.tensor.clone(), element: PhantomData }
    }
}

impl<T: Element + fmt::Debug> fmt::Debug for SharedArray<T> {
    /// The elements; where others may write them, shape and element type only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.try_view() {
            Ok(view) => view.fmt(f),
            Err(_) => f
                .debug_struct("SharedArray")
                .field("shape", &self.shape())
                .field("data_type", &T::DATA_TYPE)
                .field("others_may_write", &true)
                .finish_non_exhaustive(),
        }
    }
}

impl<T: Element + PartialEq> PartialEq for SharedArray<T> {
    /// Whether shapes and elements are equal.
    ///
    /// # Panics
    ///
    /// As [`SharedArray::view`].
    #[track_caller]
    fn eq(&self, other: &Self) -> bool {
        self.view() == other.view()
    }
}

impl<T: Element, I: NdIndex<IxDyn>> Index<I> for SharedArray<T> {
    type Output = T;

    /// The element at an index, as in `array[[row, column]]`.
    ///
    /// # Panics
    ///
    /// Where the index is out of bounds or has another number of axes, and as [`SharedArray::view`].
    #[track_caller]
    fn index(&self, index: I) -> &T {
        IndexLonger::index(&self.view(), index)
    }
}

impl<'a, T: Element> IntoIterator for &'a SharedArray<T> {
    type Item = &'a T;
    type IntoIter = iter::Iter<'a, T, IxDyn>;

    /// As [`SharedArray::iter`].
    #[track_caller]
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<T: Element, D: Dimension + Send + 'static> From<Array<T, D>> for SharedArray<T> {
    /// Shares an owned array; nothing is copied.
    ///
    /// # Panics
    ///
    /// Where the array has more than [`MAX_RANK`](bridge_core::MAX_RANK) axes. `convert()` refuses
    /// such an array instead.
    fn from(array: Array<T, D>) -> Self {
        let exported = array.export().map_err(Refused::into_error);
        let shared = exported.and_then(|tensor| Self::import(tensor).map_err(Refused::into_error));
        shared.unwrap_or_else(|error| panic!("{error}"))
    }
}

impl<T: Element> TryFrom<SharedArray<T>> for ArrayD<T> {
    type Error = Refused<SharedArray<T>>;

    /// As [`SharedArray::try_into_owned`].
    fn try_from(shared: SharedArray<T>) -> Result<Self, Self::Error> {
        shared.try_into_owned()
    }
}

impl<'a, T: Element> TryFrom<&'a SharedArray<T>> for ArrayViewD<'a, T> {
    type Error = Error;

    /// As [`SharedArray::try_view`].
    fn try_from(shared: &'a SharedArray<T>) -> Result<Self> {
        shared.try_view()
    }
}
