//! Who is told of the recoveries of the whole program.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::event::RecoveryEvent;

type Listener = dyn Fn(&RecoveryEvent<'_>) + Send + Sync;

static HOOKS: Mutex<Vec<Arc<Listener>>> = Mutex::new(Vec::new());
/// How many there are, so that nobody takes the lock for none.
static COUNT: AtomicUsize = AtomicUsize::new(0);

fn hooks() -> MutexGuard<'static, Vec<Arc<Listener>>> {
    HOOKS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has `listener` told of every step of every recovery in this program, also of conversions within a budget
/// that run out of memory, of caches that are [released](super::release_caches) and of budgets that get
/// something back, until what comes back is dropped. A call that goes on while the hook is dropped comes to
/// its end.
///
/// It is called on the thread that takes the step, and should return soon. No lock of this crate is held
/// then, so that it may convert, reserve and register others; but while a thread retries
/// [alone](super::RecoveryPolicy::alone), it has its turn on the device: a listener that waits for another
/// thread which recovers there too makes that one wait for its turn in vain. A panic in it is caught, and
/// has no effect on the recovery. A [`Monitor`](crate::profile::Monitor) marks these events [by
/// itself](crate::profile::MonitorBuilder::mark_recovery).
///
/// One out of memory is told once by each recovery that meets it: one inside another tells it, and so does
/// the other. A conversion within a budget tells the first, and where it runs out of memory once more, that it
/// [gave up](RecoveryEvent::GaveUp); whoever tries again after that tells the second.
///
/// ```
/// use std::sync::{Arc, Mutex};
/// use bridge_core::{Device, Error, TensorError};
/// use bridge_memory::recovery::{RecoveryPolicy, on_event, with_oom_recovery};
///
/// let log = Arc::new(Mutex::new(Vec::new()));
/// let hook = {
///     let log = Arc::clone(&log);
///     on_event(move |event| log.lock().unwrap().push(event.to_string()))
/// };
/// // ... anywhere in the program:
/// let mut tries = 0;
/// with_oom_recovery(&RecoveryPolicy::new().waits(&[]), || {
///     tries += 1;
///     let out = TensorError::OutOfMemory { device: Device::cuda(3), requested: 64 };
///     if tries == 1 { Err(Error::from(out)) } else { Ok(()) }
/// })?;
/// drop(hook);
/// let log = log.lock().unwrap();
/// assert_eq!(log[..], ["out of memory on cuda:3", "waited 0ns, alone now", "try 2 succeeded"]);
/// # Ok::<(), Error>(())
/// ```
pub fn on_event(listener: impl Fn(&RecoveryEvent<'_>) + Send + Sync + 'static) -> EventHook {
    let listener: Arc<Listener> = Arc::new(listener);
    let mut hooks = hooks();
    hooks.push(Arc::clone(&listener));
    COUNT.store(hooks.len(), Ordering::Release);
    EventHook(listener)
}

/// What [`on_event`] registered; its drop unregisters it.
#[must_use = "the hook is unregistered when this is dropped"]
pub struct EventHook(Arc<Listener>);

impl Drop for EventHook {
    fn drop(&mut self) {
        let mut hooks = hooks();
        let place = hooks.iter().position(|hook| Arc::ptr_eq(hook, &self.0));
        let removed = place.map(|place| hooks.remove(place));
        COUNT.store(hooks.len(), Ordering::Release);
        // What the listener owns is dropped outside the lock, with `self`.
        drop(hooks);
        drop(removed);
    }
}

impl fmt::Debug for EventHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EventHook")
    }
}

/// Tells everybody who listens. They run outside the lock, so that they may register others.
pub(crate) fn announce(event: &RecoveryEvent<'_>) {
    if COUNT.load(Ordering::Acquire) == 0 {
        return;
    }
    let listeners = hooks().clone();
    for listener in listeners {
        let _ = catch_unwind(AssertUnwindSafe(|| listener(event)));
    }
}
