//! Recovery from out of memory, in any framework.
//!
//! What runs out of memory is tried again on better terms, on five rungs. [`with_oom_recovery`] climbs
//! the first two by itself; the caller adds the others, as each of them asks something of the work:
//!
//! 1. **Wait and retry alone.** Another thread may be done soon; those that retry do so one at a time.
//! 2. **Release the caches** of every framework on the device, and what pools keep
//!    ([`release_caches`]), and retry.
//! 3. **Smaller batches**: [`split_on_oom`] and [`split_range_on_oom`], for work on many items.
//! 4. **Another backend, or the host**: [`FallbackChain`] and [`convert_or_host`].
//! 5. **The original error**: what the first try said, whatever the later ones did.
//!
//! Out of memory is recognised by type and code ([`is_out_of_memory`]); an illegal access, an invalid
//! argument or an invalid handle is never retried. While nothing fails, nothing is looked up, locked
//! or allocated. [`counts`] say how often each rung was climbed; a policy's
//! [observer](RecoveryPolicy::observer) is told of each step, and [`on_event`] of those of the whole program.
//!
//! All five together, on work that the accelerator has too little memory for:
//!
//! ```
//! use bridge_core::{Array, Device, ManagedTensor, Registry, Result, TensorError};
//! use bridge_memory::recovery::{BatchSizes, FallbackChain, RecoveryPolicy, split_on_oom};
//!
//! /// Adds the items up; more than two at once do not fit.
//! fn on_the_device(items: &[f32]) -> Result<f32> {
//!     if items.len() > 2 {
//!         let bytes = size_of_val(items) as u64;
//!         return Err(TensorError::OutOfMemory { device: Device::CPU, requested: bytes }.into());
//!     }
//!     Ok(items.iter().sum())
//! }
//!
//! let policy = RecoveryPolicy::new().waits(&[]).clear_caches(false);
//! // Rungs 1, 2 and 3: each batch climbs the first two before it is halved.
//! let sums = split_on_oom(&policy, &[1.0, 2.0, 3.0, 4.0, 5.0], BatchSizes::new(4, 1)?, on_the_device);
//! assert_eq!(sums?, [3.0, 7.0, 5.0]);
//!
//! // Rung 4: work on a whole array goes to the next backend. Here none is linked but the tensor's
//! // own, so that rung 5 tells what each of them said.
//! let array = Array::new(ManagedTensor::from_vec(vec![1_f32, 2.0], &[2])?);
//! let chain = FallbackChain::new(["torch", "ndarray"])?;
//! let refused = chain.run(Registry::global()?, array, |array| array.describe().map(drop)).unwrap_err();
//! assert!(refused.error().to_string().contains("torch: there is no backend"));
//! # Ok::<(), bridge_core::Error>(())
//! ```

mod alone;
mod caches;
mod classify;
mod counts;
mod event;
mod fallback;
mod hooks;
mod host;
mod ladder;
mod policy;
mod split;

pub use caches::{Kept, NotReleased, ReleaseHook, Released, on_release, release_caches};
pub use classify::{OutOfMemory, is_out_of_memory, out_of_memory};
pub use counts::{RecoveryCounts, counts, counts_by_device, counts_of};
pub use event::RecoveryEvent;
pub use fallback::{
    AllFailed, Attempt, FallbackChain, OrHost, Tried, convert_or_host, convert_or_host_with,
};
pub use hooks::{EventHook, on_event};
pub use ladder::{with_oom_recovery, with_oom_recovery_of};
pub use policy::RecoveryPolicy;
pub use split::{BatchSizes, split_on_oom, split_range_on_oom};

pub(crate) use hooks::announce;
pub(crate) use ladder::make_room;
