//! Smaller batches where a batch does not fit.

use std::error::Error as StdError;
use std::ops::Range;

use bridge_core::Result as CoreResult;

use super::classify::out_of_memory;
use super::counts;
use super::event::RecoveryEvent;
use super::ladder::{devices_of, with_oom_recovery};
use super::policy::RecoveryPolicy;
use crate::arguments::invalid;

/// How many items a batch has: at first, and at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchSizes {
    first: usize,
    least: usize,
}

impl BatchSizes {
    /// Batches of `first` items, which become smaller where memory runs out, down to `least`.
    ///
    /// # Errors
    ///
    /// Where one of them is zero, or `least` is the larger one.
    pub fn new(first: usize, least: usize) -> CoreResult<Self> {
        if least == 0 {
            return Err(invalid("the smallest batch", &least, "it must have an item at least"));
        }
        if first < least {
            let expected = format!("it must have {least} items at least, as the smallest batch");
            return Err(invalid("the first batch", &first, &expected));
        }
        Ok(Self { first, least })
    }
}

/// Does `work` on all items, batch by batch, and returns what it gave for each batch, in order. A
/// batch that runs out of memory climbs the policy's rungs, and is then done in halves; later batches are
/// no larger. Every item is done once, as far as `work` succeeds on it, and no batch is smaller than
/// the least but for the one at the end of the items.
///
/// ```
/// use bridge_core::{Device, Error, TensorError};
/// use bridge_memory::recovery::{BatchSizes, RecoveryPolicy, split_on_oom};
///
/// let policy = RecoveryPolicy::new().retries(0);
/// let batches = split_on_oom(&policy, &[1, 2, 3, 4, 5, 6, 7], BatchSizes::new(4, 1)?, |batch| {
///     match batch.len() {
///         4.. => Err(Error::from(TensorError::OutOfMemory { device: Device::CPU, requested: 64 })),
///         _ => Ok(batch.to_vec()),
///     }
/// })?;
/// assert_eq!(batches, [vec![1, 2], vec![3, 4], vec![5, 6], vec![7]]);
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
///
/// What `work` gave where it ran out of memory on the smallest batch, or failed for another reason.
/// Where the policy says that nothing may run [twice](RecoveryPolicy::once), nothing is halved.
pub fn split_on_oom<I, T, E: StdError + 'static>(
    policy: &RecoveryPolicy<'_>,
    items: &[I],
    sizes: BatchSizes,
    mut work: impl FnMut(&[I]) -> Result<T, E>,
) -> Result<Vec<T>, E> {
    split_range_on_oom(policy, items.len(), sizes, |batch| work(&items[batch]))
}

/// As [`split_on_oom`], for `items` that are counted only: the rows of an array along its first axis,
/// say, of which `work` takes the range that it is given.
///
/// # Errors
///
/// As [`split_on_oom`].
pub fn split_range_on_oom<T, E: StdError + 'static>(
    policy: &RecoveryPolicy<'_>,
    items: usize,
    sizes: BatchSizes,
    mut work: impl FnMut(Range<usize>) -> Result<T, E>,
) -> Result<Vec<T>, E> {
    let mut size = sizes.first;
    let mut done = Vec::new();
    let mut start = 0;
    while start < items {
        let batch = start..start.saturating_add(size).min(items);
        match with_oom_recovery(policy, || work(batch.clone())) {
            Ok(one) => {
                done.push(one);
                start = batch.end;
            }
            Err(error) => {
                let half = halved(batch.len(), sizes.least).filter(|_| !policy.once);
                let Some((half, told)) = half.zip(out_of_memory(policy.lookup(), &error)) else {
                    return Err(error);
                };
                counts::count(&devices_of(policy, &told), |counts| counts.splits += 1);
                policy.tell(&RecoveryEvent::Split { from: batch.len(), to: half });
                size = half;
            }
        }
    }
    Ok(done)
}

/// The larger half of a batch, if that is smaller than the batch and no smaller than the least.
fn halved(batch: usize, least: usize) -> Option<usize> {
    let half = batch.div_ceil(2).max(least);
    (half < batch).then_some(half)
}
