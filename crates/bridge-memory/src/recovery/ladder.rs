//! The rungs that any work can climb: wait and retry alone, release the caches and retry.

use std::error::Error as StdError;
use std::thread;
use std::time::Duration;

use bridge_core::{Device, Registry};

use super::alone::{Turn, turn_on};
use super::caches::{Released, release_caches};
use super::classify::{OutOfMemory, out_of_memory};
use super::counts;
use super::event::RecoveryEvent;
use super::policy::RecoveryPolicy;

/// Does `work`, and where memory runs out, does it again on better terms: alone, then after the caches of
/// every framework on the device are released. [`RecoveryPolicy`] says how often.
///
/// `work` runs again from the start, so it must be able to; a policy says with
/// [`once`](RecoveryPolicy::once) where it is not. A panic in it goes on, and leaves no lock behind.
///
/// ```
/// use bridge_core::{Device, Error, TensorError};
/// use bridge_memory::recovery::{RecoveryPolicy, with_oom_recovery};
///
/// let mut tries = 0;
/// let done = with_oom_recovery(&RecoveryPolicy::new(), || {
///     tries += 1;
///     match tries {
///         1 => Err(Error::from(TensorError::OutOfMemory { device: Device::CPU, requested: 64 })),
///         _ => Ok("done"),
///     }
/// });
/// assert_eq!((done?, tries), ("done", 2));
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
///
/// The first one that `work` gave. It is given back at once where it is about something else than
/// memory; after the last retry, or after a retry that failed for another reason, which an observer
/// is told, where it is.
#[inline]
pub fn with_oom_recovery<T, E: StdError + 'static>(
    policy: &RecoveryPolicy<'_>,
    work: impl FnMut() -> Result<T, E>,
) -> Result<T, E> {
    with_oom_recovery_of(policy, |error| error, work)
}

/// As [`with_oom_recovery`], for an error that is none of the standard library's trait, or that keeps
/// what it is about to itself, as a [`Refused`](bridge_core::Refused) of a type of yours does: `view`
/// shows the one inside, as `|error| error.as_ref()` does for a box.
///
/// ```
/// use std::error::Error;
/// use bridge_memory::recovery::{RecoveryPolicy, with_oom_recovery_of};
///
/// let read = || -> Result<Vec<u8>, Box<dyn Error>> {
///     let mut bytes = Vec::new();
///     bytes.try_reserve_exact(usize::MAX / 2)?;
///     Ok(bytes)
/// };
/// let policy = RecoveryPolicy::new().waits(&[]);
/// let error = with_oom_recovery_of(&policy, |error| error.as_ref(), read).unwrap_err();
/// assert!(error.is::<std::collections::TryReserveError>());
/// ```
///
/// # Errors
///
/// As [`with_oom_recovery`].
#[inline]
pub fn with_oom_recovery_of<T, E>(
    policy: &RecoveryPolicy<'_>,
    view: impl Fn(&E) -> &(dyn StdError + 'static),
    mut work: impl FnMut() -> Result<T, E>,
) -> Result<T, E> {
    match work() {
        Ok(done) => Ok(done),
        Err(first) => climb(policy, view, first, work),
    }
}

#[cold]
#[inline(never)]
fn climb<T, E>(
    policy: &RecoveryPolicy<'_>,
    view: impl Fn(&E) -> &(dyn StdError + 'static),
    first: E,
    mut work: impl FnMut() -> Result<T, E>,
) -> Result<T, E> {
    let Some(mut ladder) = Ladder::at(policy, view(&first)) else { return Err(first) };
    let mut last = None;
    while ladder.step_up() {
        match work() {
            Ok(done) => {
                ladder.recovered();
                return Ok(done);
            }
            Err(error) => {
                let goes_on = ladder.failed(view(&error));
                last = Some(error);
                if !goes_on {
                    break;
                }
            }
        }
    }
    ladder.gave_up(view(last.as_ref().unwrap_or(&first)));
    Err(first)
}

/// Releases the caches of the devices that an out-of-memory error is about, for callers that retry in
/// another way. `false` where the error is about something else.
pub(crate) fn make_room(policy: &RecoveryPolicy<'_>, error: &(dyn StdError + 'static)) -> bool {
    let Some(ladder) = Ladder::at(policy, error) else { return false };
    if policy.clear_caches {
        ladder.release();
    }
    true
}

/// Where a recovery stands.
struct Ladder<'a> {
    policy: &'a RecoveryPolicy<'a>,
    registry: Option<&'a Registry>,
    devices: Vec<Device>,
    /// Tries so far.
    attempt: u32,
    turn: Option<Turn>,
}

impl<'a> Ladder<'a> {
    /// At the foot, after the first try; `None` where the error is not about memory.
    fn at(policy: &'a RecoveryPolicy<'a>, error: &(dyn StdError + 'static)) -> Option<Self> {
        let registry = policy.lookup();
        let told = out_of_memory(registry, error)?;
        let devices = devices_of(policy, &told);
        let ladder = Self { policy, registry, devices, attempt: 1, turn: None };
        ladder.tell_out_of_memory(error);
        Some(ladder)
    }

    fn tell_out_of_memory(&self, error: &(dyn StdError + 'static)) {
        counts::count(&self.devices, |counts| counts.out_of_memory += 1);
        let (attempt, devices) = (self.attempt, &*self.devices);
        self.policy.tell(&RecoveryEvent::OutOfMemory { attempt, devices, error });
    }

    /// Makes ready for the next try; `false` where there is none left.
    fn step_up(&mut self) -> bool {
        let retry = self.attempt;
        if self.policy.once {
            if self.policy.clear_caches {
                self.release();
            }
            return false;
        }
        if retry > self.policy.retries {
            return false;
        }
        self.wait(retry);
        if self.policy.releases(retry) {
            self.release();
        }
        counts::count(&self.devices, |counts| counts.retries += 1);
        self.attempt = self.attempt.saturating_add(1);
        true
    }

    fn wait(&mut self, retry: u32) {
        let wait = self.policy.wait(retry);
        if wait > Duration::ZERO {
            thread::sleep(wait);
        }
        if let (Some(patience), None) = (self.policy.patience(), &self.turn) {
            self.turn = turn_on(&self.devices, patience);
        }
        self.policy.tell(&RecoveryEvent::Waited { wait, alone: self.turn.is_some() });
    }

    fn release(&self) {
        let Some(registry) = self.registry else { return };
        let released: Vec<Released> =
            self.devices.iter().map(|&device| release_caches(registry, device)).collect();
        // All others were told by `release_caches`.
        self.policy.tell_own(&RecoveryEvent::Released { released: &released });
    }

    /// A retry failed; whether another may help.
    fn failed(&self, error: &(dyn StdError + 'static)) -> bool {
        let is_memory = out_of_memory(self.registry, error).is_some();
        if is_memory {
            self.tell_out_of_memory(error);
        }
        is_memory
    }

    fn recovered(&self) {
        counts::count(&self.devices, |counts| counts.recovered += 1);
        self.policy.tell(&RecoveryEvent::Recovered { attempt: self.attempt });
    }

    fn gave_up(&self, error: &(dyn StdError + 'static)) {
        counts::count(&self.devices, |counts| counts.gave_up += 1);
        self.policy.tell(&RecoveryEvent::GaveUp { attempts: self.attempt, error });
    }
}

/// The devices that the caller and the error name, or else those of the backend whose error it is.
pub(super) fn devices_of(policy: &RecoveryPolicy<'_>, told: &OutOfMemory) -> Vec<Device> {
    let mut devices = Vec::new();
    for device in policy.devices.iter().copied().chain(told.device) {
        if !devices.contains(&device) {
            devices.push(device);
        }
    }
    if devices.is_empty()
        && let Some(backend) = told.backend
    {
        devices.extend(backend.devices().iter().flat_map(|devices| devices.iter().copied()));
    }
    devices
}
