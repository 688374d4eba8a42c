//! Devices: their numbers and names, and the one context that each is used in.

use std::ffi::c_void;
use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use bridge_core::{Device, DeviceKind, DeviceMemory, Error, Result};
use opencl3::context::Context;
use opencl3::context::context::create_context;
use opencl3::types::{cl_context, cl_device_id};

use crate::backend::NAME;
use crate::capabilities::Capabilities;
use crate::discovery::{Found, found};
use crate::kernels::Kernels;
use crate::queue::ClQueue;
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
    opened: OnceLock<Result<Opened>>,
    /// Bytes of the buffers that arraybridge allocated and still holds.
    live: AtomicU64,
}

struct Opened {
    /// Never dropped, as devices are not: opencl3's `Drop` could panic.
    context: Context,
    kernels: Kernels,
    queue: OnceLock<ClQueue>,
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
        let (opened, live) = (OnceLock::new(), AtomicU64::new(0));
        Self { ordinal, id: DeviceId(id), platform, capabilities, opened, live }
    }

    /// Every device of this machine, in the order of their numbers.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`] without an OpenCL loader, platform or device.
    pub fn all() -> Result<&'static [Self]> {
        match found() {
            Found::Devices(devices) => Ok(devices),
            Found::Nothing { reason, remedy } => Err(Error::Unavailable {
                backend: NAME,
                reason: reason.clone(),
                remedy: remedy.clone(),
            }),
        }
    }

    /// The device of this number.
    ///
    /// # Errors
    ///
    /// As [`all`](Self::all), and [`Error::DeviceUnavailable`] where there is none of this number,
    /// or `device` is no OpenCL device.
    pub fn of(device: Device) -> Result<&'static Self> {
        let devices = Self::all()?;
        let found = (device.kind() == DeviceKind::OpenCl)
            .then(|| devices.get(device.ordinal() as usize))
            .flatten();
        found.ok_or_else(|| Error::DeviceUnavailable {
            backend: NAME,
            asked: device,
            available: devices.iter().map(Self::device).collect(),
        })
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
        self.opened().map(|opened| &opened.context)
    }

    /// The queue that is used where no other is named.
    ///
    /// # Errors
    ///
    /// What the driver said when the context or the queue was made.
    pub fn queue(&'static self) -> Result<ClQueue> {
        let opened = self.opened()?;
        if let Some(queue) = opened.queue.get() {
            return Ok(queue.clone());
        }
        // Of two threads that come at once, one's queue is dropped again.
        let queue = ClQueue::new(self)?;
        Ok(opened.queue.get_or_init(|| queue).clone())
    }

    /// Whether a buffer may have so many bytes.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`] above the device's limit.
    pub(crate) fn can_hold(&self, bytes: usize) -> Result<()> {
        let requested = bytes as u64;
        if requested > self.capabilities.largest_buffer {
            return Err(Error::OutOfMemory { device: self.device(), requested });
        }
        Ok(())
    }

    /// How much memory there is. What is free is what the buffers that arraybridge holds leave:
    /// OpenCL does not tell what other programs hold.
    pub fn memory(&self) -> DeviceMemory {
        let total = self.capabilities.memory;
        let live = self.live.load(Ordering::Relaxed);
        DeviceMemory { total, free: total.saturating_sub(live) }
    }

    pub(crate) fn kernels(&self) -> Result<&Kernels> {
        self.opened().map(|opened| &opened.kernels)
    }

    pub(crate) fn raw_context(&self) -> Result<cl_context> {
        self.opened().map(|opened| opened.context.get())
    }

    /// Counts bytes of a buffer that was allocated.
    pub(crate) fn count_allocated(&self, bytes: usize) {
        self.live.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts bytes of a buffer that was given up.
    pub(crate) fn count_released(&self, bytes: usize) {
        self.live.fetch_sub(bytes as u64, Ordering::Relaxed);
    }

    fn opened(&self) -> Result<&Opened> {
        let open = || {
            let doing = Doing::new("create a context", self.device(), 0);
            let (properties, user_data) = (std::ptr::null(), std::ptr::null_mut::<c_void>());
            let context = doing.check(create_context(&[self.id()], properties, None, user_data))?;
            Ok(Opened {
                context: Context::new(context, &[self.id()]),
                kernels: Kernels::default(),
                queue: OnceLock::new(),
            })
        };
        self.opened.get_or_init(open).as_ref().map_err(Clone::clone)
    }
}

impl fmt::Debug for ClDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClDevice({}: {} of {})", self.device(), self.name(), self.platform)
    }
}
