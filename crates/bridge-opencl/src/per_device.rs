//! One of something for each device, made when it is first needed.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use bridge_core::Result;

use crate::device::ClDevice;

/// A `T` for each device. Clones of it are the same `T`.
pub(crate) struct PerDevice<T>(Mutex<BTreeMap<usize, T>>);

impl<T: Clone> PerDevice<T> {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }

    /// The device's, made where there is none yet.
    ///
    /// # Errors
    ///
    /// As `make`; the next call tries again.
    pub(crate) fn get(
        &self,
        device: &'static ClDevice,
        make: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        // Devices live as long as the program, so an address is a device's for good.
        let address = std::ptr::from_ref(device).addr();
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = made.get(&address) {
            return Ok(found.clone());
        }
        let new = make()?;
        made.insert(address, new.clone());
        Ok(new)
    }
}
