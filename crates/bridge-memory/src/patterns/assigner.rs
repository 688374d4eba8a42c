//! Which device a thread or a process shall use.

use std::cell::RefCell;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use bridge_core::{Device, Error, Registry, Result};

use super::environment;
use crate::arguments::invalid;

/// Gives out devices: in turn, to each thread its own, the one with the most free memory, or the one
/// that the environment names.
///
/// ```
/// use bridge_core::Device;
/// use bridge_memory::patterns::DeviceAssigner;
///
/// let assigner = DeviceAssigner::round_robin([Device::cuda(0), Device::cuda(1)])?;
/// assert_eq!(assigner.assign()?, Device::cuda(0));
/// assert_eq!(assigner.assign()?, Device::cuda(1));
/// assert_eq!(assigner.assign()?, Device::cuda(0));
/// # Ok::<(), bridge_core::Error>(())
/// ```
pub struct DeviceAssigner<'r> {
    devices: Vec<Device>,
    policy: Policy<'r>,
}

enum Policy<'r> {
    InTurn(AtomicUsize),
    PerThread { next: AtomicUsize, identity: Arc<()> },
    LeastLoaded(&'r Registry),
}

thread_local! {
    /// What this thread was given, by which assigner.
    static GIVEN: RefCell<Vec<(Weak<()>, Device)>> = const { RefCell::new(Vec::new()) };
}

impl DeviceAssigner<'static> {
    /// Each call gets the next device, whichever thread it is on.
    ///
    /// # Errors
    ///
    /// Without devices.
    pub fn round_robin(devices: impl Into<Vec<Device>>) -> Result<Self> {
        Self::with(devices.into(), Policy::InTurn(AtomicUsize::new(0)))
    }

    /// Each thread gets the next device at its first call, and the same one ever after.
    ///
    /// # Errors
    ///
    /// Without devices.
    pub fn per_thread(devices: impl Into<Vec<Device>>) -> Result<Self> {
        let policy = Policy::PerThread { next: AtomicUsize::new(0), identity: Arc::new(()) };
        Self::with(devices.into(), policy)
    }

    /// The one device that the environment names for this process: `ARRAYBRIDGE_DEVICE`, or one of
    /// `ARRAYBRIDGE_DEVICES` by `ARRAYBRIDGE_WORKER`, the number of this process in its pool. The
    /// process that starts the pool sets them, or takes them from
    /// [`variables_for`](Self::variables_for).
    ///
    /// A process that was forked must not use a device that its parent used: GPU drivers do not
    /// survive it. Start workers with [`std::process::Command`], or fork before the first use.
    ///
    /// # Errors
    ///
    /// Where none is set, a value is malformed, or there are several devices and no number: the error
    /// names the variable and says what it must be.
    pub fn from_environment() -> Result<Self> {
        Self::round_robin([environment::device(|name| std::env::var_os(name))?])
    }
}

impl<'r> DeviceAssigner<'r> {
    /// Each call gets the device with the most free memory, as the allocators of `registry` say; of
    /// equals the first. Nothing is reserved: calls at the same time may get the same device.
    ///
    /// # Errors
    ///
    /// Without devices.
    pub fn least_loaded(registry: &'r Registry, devices: impl Into<Vec<Device>>) -> Result<Self> {
        Self::with(devices.into(), Policy::LeastLoaded(registry))
    }

    fn with(devices: Vec<Device>, policy: Policy<'r>) -> Result<Self> {
        if devices.is_empty() {
            return Err(invalid("list of devices", &"empty", "it must have at least one device"));
        }
        Ok(Self { devices, policy })
    }

    /// The devices that are given out.
    pub fn devices(&self) -> &[Device] {
        &self.devices
    }

    /// The device to use now, on this thread.
    ///
    /// # Errors
    ///
    /// Where the most free memory is asked for, and no device's can be measured.
    pub fn assign(&self) -> Result<Device> {
        match &self.policy {
            Policy::InTurn(next) => Ok(self.next(next)),
            Policy::PerThread { next, identity } => Ok(self.of_this_thread(next, identity)),
            Policy::LeastLoaded(registry) => self.least_loaded_now(registry),
        }
    }

    /// The device of process number `worker` of a pool: the devices in turn.
    pub fn for_worker(&self, worker: usize) -> Device {
        environment::of_worker(&self.devices, worker)
    }

    /// What the environment of process number `worker` of a pool needs for
    /// [`from_environment`](DeviceAssigner::from_environment), for
    /// [`Command::envs`](std::process::Command::envs).
    pub fn variables_for(&self, worker: usize) -> [(&'static str, String); 1] {
        [(environment::DEVICE, self.for_worker(worker).to_string())]
    }

    fn next(&self, next: &AtomicUsize) -> Device {
        let turn = next.fetch_add(1, Ordering::Relaxed);
        self.devices[turn % self.devices.len()]
    }

    fn of_this_thread(&self, next: &AtomicUsize, identity: &Arc<()>) -> Device {
        let given = GIVEN.try_with(|given| {
            let mut given = given.borrow_mut();
            let is_mine = |by: &Weak<()>| std::ptr::eq(by.as_ptr(), Arc::as_ptr(identity));
            if let Some((_, device)) = given.iter().find(|(by, _)| is_mine(by)) {
                return *device;
            }
            given.retain(|(by, _)| by.strong_count() > 0);
            let device = self.next(next);
            given.push((Arc::downgrade(identity), device));
            device
        });
        // A thread that is ending remembers nothing any more.
        given.unwrap_or_else(|_| self.next(next))
    }

    fn least_loaded_now(&self, registry: &Registry) -> Result<Device> {
        let mut best: Option<(u64, Device)> = None;
        let mut problems = Vec::new();
        for &device in &self.devices {
            match free_bytes(registry, device) {
                Ok(free) if best.is_none_or(|(most, _)| free > most) => best = Some((free, device)),
                Ok(_) => {}
                Err(problem) => problems.push(problem),
            }
        }
        best.map(|(_, device)| device).ok_or_else(|| Error::Unsupported {
            what: format!("measuring the free memory of any device ({})", problems.join("; ")),
            remedy: "give devices out in turn".to_owned(),
        })
    }
}

/// What can be allocated on a device now, as the first allocator says that can tell.
fn free_bytes(registry: &Registry, device: Device) -> Result<u64, String> {
    let mut problem = format!("{device}: no allocator holds its memory");
    for allocator in registry.allocators(device) {
        match allocator.usage(device) {
            Ok(memory) => return Ok(memory.free),
            Err(error) => problem = format!("{device}: {error}"),
        }
    }
    Err(problem)
}

impl fmt::Debug for DeviceAssigner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let policy = match self.policy {
            Policy::InTurn(_) => "in turn",
            Policy::PerThread { .. } => "per thread",
            Policy::LeastLoaded(_) => "the most free memory",
        };
        let mut debug = f.debug_struct("DeviceAssigner");
        debug.field("devices", &self.devices).field("policy", &policy).finish()
    }
}
