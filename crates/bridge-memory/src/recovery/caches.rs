//! Giving back what frameworks and pools keep for later.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::slice;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bridge_core::{Allocator, Device, DeviceKind, Error, Holdings, Registry, Result};

use super::event::RecoveryEvent;
use super::hooks::announce;
use super::{counts, host};

/// What [`release_caches`] gave back.
#[derive(Debug, Clone)]
pub struct Released {
    /// Whose memory.
    pub device: Device,
    /// What each holder gave back, pools first; those that had nothing are left out.
    pub holders: Vec<Kept>,
    /// Who could not, and why.
    pub failed: Vec<NotReleased>,
}

/// What one holder kept of a device's memory and gave back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The backend, or the name that a hook was registered by; "malloc" is the C library.
    pub holder: String,
    /// How much it was.
    pub bytes: u64,
}

/// A holder that gave nothing back because it failed.
#[derive(Debug, Clone)]
pub struct NotReleased {
    /// The backend, or the name that a hook was registered by.
    pub holder: String,
    /// Why.
    pub error: Error,
}

impl Released {
    /// All the bytes that were given back.
    pub fn bytes(&self) -> u64 {
        self.holders.iter().fold(0, |sum, one| sum.saturating_add(one.bytes))
    }

    fn note(&mut self, holder: &str, given: Result<u64>) {
        let holder = holder.to_owned();
        match given {
            Ok(0) => {}
            Ok(bytes) => self.holders.push(Kept { holder, bytes }),
            Err(error) => self.failed.push(NotReleased { holder, error }),
        }
    }
}

impl fmt::Display for Released {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes of {} given back", self.bytes(), self.device)?;
        for Kept { holder, bytes } in &self.holders {
            write!(f, "; {holder}: {bytes}")?;
        }
        for NotReleased { holder, error } in &self.failed {
            write!(f, "; {holder} failed: {error}")?;
        }
        Ok(())
    }
}

/// Gives back what is kept of a device's memory for later: by pools that have [registered](on_release),
/// then by the caching allocators of all frameworks, and for the host by the C library. Pinned memory is
/// the host's too, and managed memory a GPU's: what is kept of the one is given back with the other. Arrays
/// that are in use stay as they are.
///
/// A holder that fails is reported, and the others are asked all the same. One that says that it
/// keeps nothing is not asked: no framework is loaded for this, where it counts what it holds.
pub fn release_caches(registry: &Registry, device: Device) -> Released {
    let mut released = Released { device, holders: Vec::new(), failed: Vec::new() };
    let places = [Some(device), same_memory(device)];
    for place in places.into_iter().flatten() {
        for hook in hooks_of(place) {
            let given = guarded("a release hook", || Ok((hook.release)()));
            released.note(&hook.name, given);
        }
    }
    for place in places.into_iter().flatten() {
        for &allocator in registry.every_allocator() {
            // Of the other device, only what surely is kept: to ask for more might load it.
            if place == device || kept(allocator, place).is_some_and(|bytes| bytes > 0) {
                released.note(allocator.backend().name(), trimmed(allocator, place));
            }
        }
        if place.kind() == DeviceKind::Cpu {
            released.note("malloc", Ok(host::trim()));
        }
    }
    counts::count(&[device], |counts| {
        counts.releases += 1;
        counts.released_bytes = counts.released_bytes.saturating_add(released.bytes());
    });
    announce(&RecoveryEvent::Released { released: slice::from_ref(&released) });
    released
}

/// The device whose memory this one's is too: pinned memory is the host's, managed memory a GPU's.
fn same_memory(device: Device) -> Option<Device> {
    Some(match device.kind() {
        DeviceKind::Cpu => Device::new(DeviceKind::CudaHost, 0),
        DeviceKind::CudaHost | DeviceKind::RocmHost => Device::CPU,
        DeviceKind::CudaManaged => Device::cuda(device.ordinal()),
        _ => return None,
    })
}

/// Bytes that an allocator says it keeps; `None` where it does not say.
fn kept(allocator: &dyn Allocator, device: Device) -> Option<u64> {
    let asked = guarded("an allocator's holdings", || allocator.holdings(device));
    asked.ok().flatten().map(|Holdings { cached, .. }| cached)
}

fn trimmed(allocator: &dyn Allocator, device: Device) -> Result<u64> {
    guarded("an allocator's trim", || {
        // What counts and keeps nothing is left in peace: to ask it more might load it.
        if kept(allocator, device) == Some(0) || !allocator.holds(device) {
            return Ok(0);
        }
        allocator.trim(device)
    })
}

/// The call's answer, where a panic is a failure too.
fn guarded<T>(what: &str, call: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        let text = text_of(&*panic).unwrap_or("no message");
        Err(Error::Unsupported {
            what: format!("{what} panicked ({text}), which it must not; going on after that"),
            remedy: "report it to the authors of what holds the memory".to_owned(),
        })
    })
}

fn text_of(panic: &(dyn Any + Send)) -> Option<&str> {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    owned.or_else(|| panic.downcast_ref::<&str>().copied())
}

/// Something that keeps memory of a device and can give it back.
#[derive(Clone)]
struct Hook {
    number: u64,
    device: Device,
    name: Arc<str>,
    release: Arc<dyn Fn() -> u64 + Send + Sync>,
}

static HOOKS: Mutex<Vec<Hook>> = Mutex::new(Vec::new());
static NEXT: AtomicU64 = AtomicU64::new(0);

fn hooks() -> MutexGuard<'static, Vec<Hook>> {
    HOOKS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The hooks for a device; they run outside the lock, so that they may register others.
fn hooks_of(device: Device) -> Vec<Hook> {
    hooks().iter().filter(|hook| hook.device == device).cloned().collect()
}

/// Has `release` called whenever the caches of `device` are released, until what comes back is dropped: a
/// pool gives back there what it keeps, and returns how many bytes that was. A call that goes on
/// while the hook is dropped comes to its end.
///
/// It is called on the thread that ran out of memory, with no lock of this crate held; a recovery may have
/// its [turn](super::RecoveryPolicy::alone) on the device. It must not wait for that thread, nor for another
/// that recovers there, and a panic in it is reported as a failure.
///
/// ```
/// use bridge_core::{Device, Registry};
/// use bridge_memory::recovery::{on_release, release_caches};
///
/// let hook = on_release("my pool", Device::cuda(7), || 4096);
/// let released = release_caches(Registry::global()?, Device::cuda(7));
/// assert_eq!(released.bytes(), 4096);
/// assert_eq!(released.to_string(), "4096 bytes of cuda:7 given back; my pool: 4096");
/// drop(hook);
/// assert_eq!(release_caches(Registry::global()?, Device::cuda(7)).bytes(), 0);
/// # Ok::<(), bridge_core::Error>(())
/// ```
pub fn on_release(
    name: &str,
    device: Device,
    release: impl Fn() -> u64 + Send + Sync + 'static,
) -> ReleaseHook {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    hooks().push(Hook { number, device, name: name.into(), release: Arc::new(release) });
    ReleaseHook(number)
}

/// A registered hook; its drop unregisters it.
#[must_use = "the hook is unregistered when this is dropped"]
#[derive(Debug)]
pub struct ReleaseHook(u64);

impl Drop for ReleaseHook {
    fn drop(&mut self) {
        let removed = {
            let mut hooks = hooks();
            let place = hooks.iter().position(|hook| hook.number == self.0);
            place.map(|place| hooks.remove(place))
        };
        // What the hook owns may register or drop others: outside the lock.
        drop(removed);
    }
}
