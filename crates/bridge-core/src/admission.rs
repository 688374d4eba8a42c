//! Who is asked before a conversion takes memory.

use std::any::Any;
use std::fmt;

use bridge_tensor::Device;

use crate::error::{Error, Result};

/// Is asked before a conversion takes memory on a device, and again where there was too little.
/// Where nobody is registered, nothing is asked and nothing counted.
pub trait Admission: Send + Sync + 'static {
    /// Admits the taking of `bytes` on `device`; the permit holds until it is dropped, which a
    /// conversion does when it is done.
    ///
    /// # Errors
    ///
    /// Where there is no room; the conversion ends with this error and gives its input back.
    fn admit(&self, device: Device, bytes: u64) -> Result<Permit>;

    /// Makes room after `error`, an allocation on `device` that failed for the `attempt`th time,
    /// counted from 1. Where it answers `true`, the step is tried once more.
    fn recover(&self, device: Device, error: &Error, attempt: u32) -> bool;
}

/// Room that has been admitted, until it is dropped.
pub struct Permit(Option<Box<dyn Any + Send>>);

impl Permit {
    /// A permit that `held` stands for: what its drop gives back.
    pub fn new<T: Any + Send>(held: T) -> Self {
        Self(Some(Box::new(held)))
    }

    /// A permit that nothing counts.
    pub fn unlimited() -> Self {
        Self(None)
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Permit(held)" } else { "Permit(unlimited)" })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_permit_holds_what_it_stands_for_until_it_is_dropped() {
        let room = Arc::new(());
        let permit = Permit::new(Arc::clone(&room));
        assert_eq!(Arc::strong_count(&room), 2);
        assert_eq!(
            format!("{permit:?} {:?}", Permit::unlimited()),
            "Permit(held) Permit(unlimited)"
        );
        drop(permit);
        assert_eq!(Arc::strong_count(&room), 1);
    }
}
