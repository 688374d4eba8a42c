//! An array that several convert from.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bridge_core::{Array, Description, ManagedTensor, NativeType, Refused, SharedTensor};

/// An array behind a counted reference: clones are the same array. Conversions are made of
/// [aliases](Self::alias) of it, so that it stays where it is.
///
/// When the last clone is dropped, every [`ConversionCache`](super::ConversionCache) frees what it
/// keeps of it.
///
/// Nothing should write to its memory any more, also not through the framework it comes from: what has
/// been converted is a copy, or the same memory, depending on the target.
#[derive(Debug, Clone)]
pub struct ConversionSource(Arc<Source>);

/// Frees what was made of a source when the source is gone.
pub(super) trait Follower: Send + Sync {
    /// The source of this number is gone.
    fn gone(&self, source: u64);
}

struct Source {
    number: u64,
    /// Only `None` while the source is taken apart.
    tensor: Option<SharedTensor>,
    native: &'static NativeType,
    followers: Mutex<Vec<Weak<dyn Follower>>>,
}

impl ConversionSource {
    /// Shares an array, without copying.
    ///
    /// # Errors
    ///
    /// Where the array cannot be handed over; it comes back.
    pub fn new(array: Array) -> Result<Self, Refused<Array>> {
        let native = array.native_type();
        Ok(Self::of(array.export()?.into_shared(), native))
    }

    fn of(tensor: SharedTensor, native: &'static NativeType) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(Arc::new(Source { number, tensor: Some(tensor), native, followers: Mutex::default() }))
    }

    /// Another array over the same memory, read-only, to convert or to read.
    pub fn alias(&self) -> Array {
        Array::new(ManagedTensor::alias(self.tensor()))
    }

    /// What the array is.
    pub fn describe(&self) -> Description {
        self.tensor().describe()
    }

    /// The type that the array had.
    pub fn native_type(&self) -> &'static NativeType {
        self.0.native
    }

    /// The array itself, where this is the only clone and no conversion or alias uses its memory. What
    /// caches keep of it is freed first.
    ///
    /// # Errors
    ///
    /// The shared array; what caches kept of it may be gone.
    pub fn try_unwrap(self) -> Result<Array, Self> {
        let mut source = Arc::try_unwrap(self.0).map_err(Self)?;
        let native = source.native;
        let Some(tensor) = source.tensor.take() else { unreachable!("only taken out here") };
        drop(source);
        match tensor.try_unwrap() {
            Ok(tensor) => Ok(Array::restored(tensor, native)),
            Err(tensor) => Err(Self::of(tensor, native)),
        }
    }

    /// What tells it from every other one, for as long as the program runs.
    pub(super) fn number(&self) -> u64 {
        self.0.number
    }

    /// Tells `follower` when the last clone is gone.
    pub(super) fn follow(&self, follower: Weak<dyn Follower>) {
        let mut followers = self.0.followers.lock().unwrap_or_else(PoisonError::into_inner);
        followers.retain(|known| known.strong_count() > 0);
        if !followers.iter().any(|known| known.ptr_eq(&follower)) {
            followers.push(follower);
        }
    }

    fn tensor(&self) -> &SharedTensor {
        self.0.tensor.as_ref().unwrap_or_else(|| unreachable!("only taken out with the source"))
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        let followers = self.followers.get_mut().unwrap_or_else(PoisonError::into_inner);
        for follower in followers.drain(..).filter_map(|follower| follower.upgrade()) {
            follower.gone(self.number);
        }
    }
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut debug = f.debug_struct("Source");
        debug.field("type", &self.native.name()).field("tensor", &self.tensor);
        debug.finish_non_exhaustive()
    }
}
