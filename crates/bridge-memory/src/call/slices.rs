//! The slices of an array, one after the other, for a call's function.

use std::fmt;

use bridge_convert::SliceMap;
use bridge_core::{Array, Refused, Registry, Result};

use super::parts::{FromArray, IntoArray};
use super::way::Way;

/// The slices of an array along its first axis, each converted for a call's function, and the stack of what
/// it gives: what [`Call::slices`](super::Call::slices) makes. The function may be one that is awaited.
///
/// ```
/// # use bridge_host as _;
/// use bridge_core::{Array, ManagedTensor, Registry};
/// use bridge_memory::call::{Call, CallOptions};
///
/// # async fn brightened(row: ManagedTensor) -> ManagedTensor { row }
/// # let run = async {
/// let call = Call::new(Registry::global()?, CallOptions::new("brightened").on("dlpack"));
/// let rows = ManagedTensor::from_vec(vec![1_u8, 2, 3, 4], &[2, 2])?;
/// let mut slices = call.slices(Array::new(rows))?;
/// while let Some(row) = slices.next_slice::<ManagedTensor, _>()? {
///     slices.push(brightened(row).await)?;
/// }
/// let image: ManagedTensor = call.result(slices.finish()?)?;
/// # assert_eq!(image.shape(), [2, 2]);
/// # Ok::<(), bridge_core::Error>(())
/// # };
/// # let waker = std::task::Waker::noop();
/// # let polled = std::pin::pin!(run).poll(&mut std::task::Context::from_waker(waker));
/// # assert!(matches!(polled, std::task::Poll::Ready(Ok(()))));
/// ```
pub struct Slices<'a> {
    map: SliceMap<'a>,
    way: Way<'a>,
}

impl<'a> Slices<'a> {
    pub(super) fn new(
        registry: &'a Registry,
        way: Way<'a>,
        array: Array,
    ) -> Result<Self, Refused<Array>> {
        let map = SliceMap::new(registry, array, 0)?;
        let map = match way.within {
            Some(admission) => map.within(admission),
            None => map,
        };
        let map = match way.pool {
            Some(source) => map.pool(source),
            None => map,
        };
        Ok(Self { map, way })
    }

    /// The next slice, converted to what the function works with; `None` after the last.
    ///
    /// # Errors
    ///
    /// As [`SliceMap::next_slice`] and [`FromArray::from_array`].
    pub fn next_slice<S: FromArray<M>, M>(&mut self) -> Result<Option<S>> {
        let Some(slice) = self.map.next_slice()? else { return Ok(None) };
        S::from_array(slice, &self.way).map(Some).map_err(Refused::into_error)
    }

    /// Puts what the function gave for a slice on the stack, in the order of the slices.
    ///
    /// # Errors
    ///
    /// As [`SliceMap::push`].
    pub fn push<R: IntoArray<M>, M>(&mut self, made: R) -> Result<()> {
        self.map.push(made.into_array()).map_err(Refused::into_error)
    }

    /// What the function gave for all slices, stacked along the first axis, in the array's own backend.
    ///
    /// # Errors
    ///
    /// As [`SliceMap::finish`].
    pub fn finish(&mut self) -> Result<Array> {
        self.map.finish()
    }

    /// The array that was cut; where somebody keeps a slice, a read-only tensor of its memory.
    pub fn into_array(self) -> Array {
        self.map.into_array()
    }
}

impl fmt::Debug for Slices<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slices").field("map", &self.map).field("way", &self.way).finish()
    }
}
