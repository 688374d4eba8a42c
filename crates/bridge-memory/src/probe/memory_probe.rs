//! What can be asked how much memory there is.

use std::sync::Arc;

use bridge_core::Result;

use super::Measured;

/// Measures memory: how much there is, and how much of it could be taken now.
///
/// ```
/// use bridge_memory::probe::{FixedProbe, MemoryProbe};
///
/// fn fits(bytes: u64, probe: &dyn MemoryProbe) -> bridge_core::Result<bool> {
///     Ok(bytes <= probe.measure()?.available)
/// }
/// assert!(fits(1 << 20, &FixedProbe::new(1 << 30, 1 << 20))?);
/// # Ok::<(), bridge_core::Error>(())
/// ```
pub trait MemoryProbe: Send + Sync {
    /// Measures now.
    ///
    /// # Errors
    ///
    /// Where it cannot be measured, and why.
    fn measure(&self) -> Result<Measured>;

    /// Bytes of it that this process has taken itself, where that is known; by default it is not.
    fn own(&self) -> Option<u64> {
        None
    }
}

impl<P: MemoryProbe + ?Sized> MemoryProbe for &P {
    fn measure(&self) -> Result<Measured> {
        (**self).measure()
    }

    fn own(&self) -> Option<u64> {
        (**self).own()
    }
}

impl<P: MemoryProbe + ?Sized> MemoryProbe for Box<P> {
    fn measure(&self) -> Result<Measured> {
        (**self).measure()
    }

    fn own(&self) -> Option<u64> {
        (**self).own()
    }
}

impl<P: MemoryProbe + ?Sized> MemoryProbe for Arc<P> {
    fn measure(&self) -> Result<Measured> {
        (**self).measure()
    }

    fn own(&self) -> Option<u64> {
        (**self).own()
    }
}
