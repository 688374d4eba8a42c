//! How much is done about out of memory.

use std::fmt;
use std::time::Duration;

use bridge_core::{Device, Registry};

use super::event::RecoveryEvent;
use super::hooks::announce;

/// How much is done about out of memory. The default: two retries, the first after 10 ms and alone,
/// the second after 50 ms more and once the caches are released.
///
/// ```
/// use std::time::Duration;
/// use bridge_core::Device;
/// use bridge_memory::recovery::RecoveryPolicy;
///
/// const WAITS: [Duration; 2] = [Duration::from_millis(10), Duration::from_secs(1)];
/// let patient = RecoveryPolicy::new()
///     .retries(4)
///     .waits(&WAITS) // the last one repeats
///     .devices(&[Device::CPU]);
/// # let _ = patient;
/// ```
#[derive(Clone, Copy)]
pub struct RecoveryPolicy<'a> {
    pub(super) retries: u32,
    pub(super) waits: &'a [Duration],
    pub(super) clear_caches: bool,
    pub(super) alone_within: Option<Duration>,
    pub(super) devices: &'a [Device],
    pub(super) once: bool,
    pub(super) observer: Option<&'a Observer<'a>>,
    pub(super) registry: Option<&'a Registry>,
}

pub(super) type Observer<'a> = dyn Fn(&RecoveryEvent<'_>) + Sync + 'a;

/// The longest wait, whatever was asked for.
const LONGEST: Duration = Duration::from_secs(60);
const WAITS: &[Duration] = &[Duration::from_millis(10), Duration::from_millis(50)];

impl RecoveryPolicy<'static> {
    /// The default.
    pub const fn new() -> Self {
        Self {
            retries: 2,
            waits: WAITS,
            clear_caches: true,
            alone_within: Some(Duration::from_secs(1)),
            devices: &[],
            once: false,
            observer: None,
            registry: None,
        }
    }
}

impl Default for RecoveryPolicy<'_> {
    fn default() -> Self {
        RecoveryPolicy::new()
    }
}

impl<'a> RecoveryPolicy<'a> {
    /// How often the work is tried again; 2 by default, and with 0 never.
    #[must_use]
    pub const fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// How long it waits before each retry: the first one for the first retry, and the last one for
    /// all that have none of their own. An empty list waits not at all. A wait is a minute at most.
    #[must_use]
    pub fn waits<'b>(self, waits: &'b [Duration]) -> RecoveryPolicy<'b>
    where
        'a: 'b,
    {
        RecoveryPolicy { waits, ..self }
    }

    /// Whether the caches of every framework on the device are released before the last retry and all
    /// from the second on. They are by default.
    #[must_use]
    pub const fn clear_caches(mut self, clear: bool) -> Self {
        self.clear_caches = clear;
        self
    }

    /// Whether only one thread at a time retries on a device, as by default. A thread waits for its
    /// turn as long as [`alone_within`](Self::alone_within) says, and then retries all the same.
    #[must_use]
    pub const fn alone(mut self, alone: bool) -> Self {
        self.alone_within = if alone { Some(Duration::from_secs(1)) } else { None };
        self
    }

    /// Only one thread at a time retries on a device, for which a thread waits so long, a minute at
    /// most; a second by default.
    #[must_use]
    pub const fn alone_within(mut self, patience: Duration) -> Self {
        self.alone_within = Some(patience);
        self
    }

    /// The devices whose caches are released, beside the one that the error names. Where neither
    /// names one, they are those of the backend whose error it is.
    #[must_use]
    pub fn devices<'b>(self, devices: &'b [Device]) -> RecoveryPolicy<'b>
    where
        'a: 'b,
    {
        RecoveryPolicy { devices, ..self }
    }

    /// The work must not run twice: what fails is not tried again. The caches are released all the
    /// same, so that there is room for what the caller does next.
    #[must_use]
    pub const fn once(mut self) -> Self {
        self.once = true;
        self
    }

    /// Who is told of each step, on the thread that takes it, with its turn where it has one.
    /// [`on_event`](super::on_event) tells of all recoveries of the program.
    #[must_use]
    pub fn observer<'b>(
        self,
        observer: &'b (dyn Fn(&RecoveryEvent<'_>) + Sync),
    ) -> RecoveryPolicy<'b>
    where
        'a: 'b,
    {
        RecoveryPolicy { observer: Some(observer), ..self }
    }

    /// Whose backends recognise errors and whose allocators are trimmed; the program's by default.
    #[must_use]
    pub fn registry<'b>(self, registry: &'b Registry) -> RecoveryPolicy<'b>
    where
        'a: 'b,
    {
        RecoveryPolicy { registry: Some(registry), ..self }
    }

    /// How long to wait before a retry, counted from 1.
    pub(super) fn wait(&self, retry: u32) -> Duration {
        let place = usize::try_from(retry).unwrap_or(usize::MAX).saturating_sub(1);
        let wait = self.waits.get(place).or(self.waits.last()).copied();
        wait.unwrap_or(Duration::ZERO).min(LONGEST)
    }

    /// How long to wait for a turn to retry alone; `None` where nobody asks for one.
    pub(super) fn patience(&self) -> Option<Duration> {
        self.alone_within.map(|patience| patience.min(LONGEST))
    }

    /// Whether caches are released before a retry, counted from 1.
    pub(super) fn releases(&self, retry: u32) -> bool {
        self.clear_caches && (retry > 1 || retry == self.retries)
    }

    /// Tells the policy's observer, and whoever listens to all recoveries.
    pub(super) fn tell(&self, event: &RecoveryEvent<'_>) {
        self.tell_own(event);
        announce(event);
    }

    /// Tells the policy's observer alone.
    pub(super) fn tell_own(&self, event: &RecoveryEvent<'_>) {
        if let Some(observer) = self.observer {
            observer(event);
        }
    }

    pub(super) fn lookup(&self) -> Option<&'a Registry> {
        // The registry is missing only while it is made, and then nobody has run out of memory.
        self.registry.or_else(|| Registry::global().ok())
    }
}

impl fmt::Debug for RecoveryPolicy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecoveryPolicy")
            .field("retries", &self.retries)
            .field("waits", &self.waits)
            .field("clear_caches", &self.clear_caches)
            .field("alone_within", &self.alone_within)
            .field("devices", &self.devices)
            .field("once", &self.once)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_wait_repeats_and_every_wait_has_an_end() {
        let waits = [Duration::from_millis(1), Duration::MAX];
        let policy = RecoveryPolicy::new().waits(&waits).alone_within(Duration::MAX);
        assert_eq!([1, 2, 9].map(|retry| policy.wait(retry)), [waits[0], LONGEST, LONGEST]);
        assert_eq!(policy.patience(), Some(LONGEST));
        assert_eq!(RecoveryPolicy::new().waits(&[]).wait(1), Duration::ZERO);
    }

    #[test]
    fn the_last_retry_always_comes_after_a_release() {
        let released = |retries: u32| {
            let policy = RecoveryPolicy::new().retries(retries);
            (1..=retries).map(|retry| policy.releases(retry)).collect::<Vec<_>>()
        };
        assert_eq!(released(1), [true]);
        assert_eq!(released(3), [false, true, true]);
        assert!(!RecoveryPolicy::new().clear_caches(false).releases(2));
    }
}
