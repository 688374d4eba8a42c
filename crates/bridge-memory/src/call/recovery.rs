//! What a call does about out of memory.

use bridge_core::{Device, Registry};

use crate::recovery::{RecoveryPolicy, make_room, with_oom_recovery};

/// What a call does about out of memory: it tries again, up to so many times, and releases the caches of
/// every framework before, where that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OomRecovery {
    /// How often it tries again.
    pub retries: u32,
    /// Whether the caches of every framework on the device are released before the last retry, and all
    /// from the second on.
    pub clear_cache: bool,
}

impl Default for OomRecovery {
    /// Two retries, with the caches released.
    fn default() -> Self {
        Self { retries: 2, clear_cache: true }
    }
}

/// Does the work, and again as `recovery` says.
pub(super) fn recovering<T, E: std::error::Error + 'static>(
    recovery: Option<OomRecovery>,
    registry: &Registry,
    devices: &[Device],
    mut work: impl FnMut() -> Result<T, E>,
) -> Result<T, E> {
    let Some(OomRecovery { retries, clear_cache }) = recovery else { return work() };
    let policy = RecoveryPolicy::new().retries(retries).clear_caches(clear_cache);
    with_oom_recovery(&policy.registry(registry).devices(devices), work)
}

/// Whether work that failed `attempts` times, the last time with this error, is to be tried again; caches are
/// released then, as `recovery` says. Nothing waits.
pub(super) fn makes_room<E: std::error::Error + 'static>(
    recovery: Option<OomRecovery>,
    registry: &Registry,
    devices: &[Device],
    error: &E,
    attempts: u32,
) -> bool {
    let Some(OomRecovery { retries, clear_cache }) = recovery else { return false };
    let releases = clear_cache && (attempts > 1 || attempts == retries);
    let policy = RecoveryPolicy::new().clear_caches(releases);
    attempts <= retries && make_room(&policy.registry(registry).devices(devices), error)
}
