//! How often each rung was climbed, in this process.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

/// A figure that only rises.
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])+ $name:ident: $counter:ident,)+) => {
        /// How often each rung was climbed since the process started, by all threads.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
        pub struct RecoveryCounts { $($(#[$doc])+ pub $name: u64,)+ }

        $(pub(super) static $counter: Counter = Counter(AtomicU64::new(0));)+

        /// How often each rung was climbed so far. The figures are read one after the other.
        pub fn counts() -> RecoveryCounts {
            RecoveryCounts { $($name: $counter.0.load(Ordering::Relaxed),)+ }
        }
    };
}

counters! {
    /// Tries that ran out of memory.
    out_of_memory: OUT_OF_MEMORY,
    /// Tries after the first.
    retries: RETRIES,
    /// Times that the caches of a device were released.
    releases: RELEASES,
    /// Bytes that were given back so.
    released_bytes: RELEASED_BYTES,
    /// Batches that were halved.
    splits: SPLITS,
    /// Times that another backend, or the host, was gone to.
    fallbacks: FALLBACKS,
    /// Calls that ran out of memory and succeeded in the end.
    recovered: RECOVERED,
    /// Calls that gave their first error back.
    gave_up: GAVE_UP,
}
