//! Who holds memory of a device.

use std::fmt;

use bridge_tensor::{Device, ManagedTensor, TensorSpec};

use crate::backend::Backend;
use crate::error::Result;

/// Holds memory of devices. Several can hold memory of one device: a framework with a caching
/// allocator of its own is asked beside the device's driver, so that what all of them cache can be
/// given back when memory runs out.
///
/// A crate registers it with [`Registration::allocator`](crate::Registration::allocator).
pub trait Allocator: Send + Sync + 'static {
    /// The backend it belongs to.
    fn backend(&self) -> &'static dyn Backend;

    /// Whether it holds memory of this device, here and now. It never panics.
    fn holds(&self, device: Device) -> bool;

    /// Allocates a tensor of zeros. Where the device has addresses, the first byte should be aligned to 64: pools
    /// of its memory refuse others.
    ///
    /// # Errors
    ///
    /// Out of memory, too large, or [`Error::DeviceUnavailable`](crate::Error::DeviceUnavailable).
    fn allocate(&self, spec: &TensorSpec, device: Device) -> Result<ManagedTensor>;

    /// How much memory the device has.
    ///
    /// # Errors
    ///
    /// Where it cannot be measured, and why.
    fn usage(&self, device: Device) -> Result<DeviceMemory>;

    /// Gives cached memory back to the device and returns how many bytes.
    ///
    /// # Errors
    ///
    /// Where the device reports one.
    fn trim(&self, device: Device) -> Result<u64>;

    /// What it holds of the device's memory itself; `None`, as by default, where it does not count.
    ///
    /// # Errors
    ///
    /// Where the device reports one.
    fn holdings(&self, device: Device) -> Result<Option<Holdings>> {
        let _ = device;
        Ok(None)
    }

    /// Whether it keeps freed memory of the device for the next allocation. A pool on top of it
    /// would keep it a second time. By default it does not.
    fn caches(&self, device: Device) -> bool {
        let _ = device;
        false
    }
}

/// How much memory a device has, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceMemory {
    /// All of it.
    pub total: u64,
    /// What could be allocated now.
    pub free: u64,
}

/// What one allocator holds of a device's memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Holdings {
    /// In use by arrays.
    pub in_use: u64,
    /// Kept for the next ones: what [`Allocator::trim`] could give back.
    pub cached: u64,
}

impl fmt::Debug for dyn Allocator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Allocator({})", self.backend().name())
    }
}
