//! A device: its number and name, and the one context that it is used in.

use std::ffi::c_void;
use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use bridge_core::{Device, DeviceMemory, Error, Result, TensorError};
use opencl3::context::Context;
use opencl3::context::context::create_context;
use opencl3::types::{cl_context, cl_device_id};

use crate::capabilities::Capabilities;
use crate::status::Doing;

/// An OpenCL device of this machine, and the context that arraybridge uses it in.
///
/// Devices are numbered over all platforms: platforms by name and version, devices as their driver
/// lists them. The order stays as long as the drivers do. There is one context a device, made when
/// it is first needed and kept for the life of the program; memory of other contexts is refused.
pub struct ClDevice {
    ordinal: u32,
    id: DeviceId,
    platform: String,
    capabilities: Capabilities,
    /// Never dropped, as devices are not: opencl3's `Drop` could panic.
    context: OnceLock<Result<Context>>,
    /// Bytes of the buffers that arraybridge allocated and still holds.
    live: AtomicU64,
}

#[derive(Clone, Copy)]
struct DeviceId(cl_device_id);

// SAFETY: a device's handle is a name; OpenCL takes it on any thread.
unsafe impl Send for DeviceId {}
// SAFETY: as for `Send`.
unsafe impl Sync for DeviceId {}

impl ClDevice {
    pub(crate) fn new(
        ordinal: u32,
        id: cl_device_id,
        platform: String,
        capabilities: Capabilities,
    ) -> Self {
        let (context, live) = (OnceLock::new(), AtomicU64::new(0));
        Self { ordinal, id: DeviceId(id), platform, capabilities, context, live }
    }

    /// Its kind and number.
    pub fn device(&self) -> Device {
        Device::opencl(self.ordinal)
    }

    /// The name that its driver gives it.
    pub fn name(&self) -> &str {
        &self.capabilities.name
    }

    /// The name of its platform.
    pub fn platform(&self) -> &str {
        &self.platform
    }

    /// What it can do.
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// Its handle.
    pub fn id(&self) -> cl_device_id {
        self.id.0
    }

    /// The context that its memory belongs to: kernels and queues of yours must be made in it.
    ///
    /// # Errors
    ///
    /// What the driver said when the context was made.
    pub fn context(&self) -> Result<&Context> {
        let make = || {
            let doing = Doing::new("create a context", self.device(), 0);
            let (properties, user_data) = (std::ptr::null(), std::ptr::null_mut::<c_void>());
            let raw = doing.check(create_context(&[self.id()], properties, None, user_data))?;
            Ok(Context::new(raw, &[self.id()]))
        };
        self.context.get_or_init(make).as_ref().map_err(Clone::clone)
    }

    /// Whether a buffer may have so many bytes.
    ///
    /// # Errors
    ///
    /// [`TensorError::OutOfMemory`] above the device's limit.
    pub(crate) fn can_hold(&self, bytes: usize) -> Result<()> {
        let requested = bytes as u64;
        if requested > self.capabilities.largest_buffer {
            return Err(Error::Tensor(TensorError::OutOfMemory {
                device: self.device(),
                requested,
            }));
        }
        Ok(())
    }

    /// How much memory there is. What is free is what the buffers that arraybridge holds leave:
    /// OpenCL does not report what other programs hold.
    pub fn memory(&self) -> DeviceMemory {
        let total = self.capabilities.memory;
        DeviceMemory { total, free: total.saturating_sub(self.held()) }
    }

    /// Bytes of the buffers that arraybridge allocated and still holds.
    pub(crate) fn held(&self) -> u64 {
        self.live.load(Ordering::Relaxed)
    }

    pub(crate) fn raw_context(&self) -> Result<cl_context> {
        self.context().map(Context::get)
    }

    /// Counts bytes of a buffer that was allocated.
    pub(crate) fn count_allocated(&self, bytes: usize) {
        self.live.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts bytes of a buffer that was given up.
    pub(crate) fn count_released(&self, bytes: usize) {
        self.live.fetch_sub(bytes as u64, Ordering::Relaxed);
    }
}

impl fmt::Debug for ClDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClDevice({}: {} of {})", self.device(), self.name(), self.platform)
    }
}
