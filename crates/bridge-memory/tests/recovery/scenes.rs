//! The scenes of the guide to advanced topics (seed 000), written anew: recovery by itself, half
//! batches, smaller and smaller batches, a chain of frameworks.

use std::sync::PoisonError;

use bridge_core::{Array, Device, Error, ManagedTensor, Registry, Result};
use bridge_memory::recovery::{
    BatchSizes, FallbackChain, RecoveryPolicy, split_on_oom, with_oom_recovery,
};
use bridge_testkit::fake_accelerator::{DEVICES, FakeArray};

use crate::caches::SHARED_IS_MINE;
use crate::support::{GIVING, NO_MEMORY, SHARED, no_memory_on, registry};

/// OOM recovery: what does not fit beside a full cache fits once it is cleared.
#[test]
fn a_memory_intensive_operation_succeeds_once_the_cache_is_cleared() {
    let _mine = SHARED_IS_MINE.lock().unwrap_or_else(PoisonError::into_inner);
    const DEVICE: u64 = 1000;
    GIVING.0.keep(700);
    let registry = registry();
    let policy = RecoveryPolicy::new().registry(&registry).waits(&[]);
    let squares = || match DEVICE - GIVING.0.kept() {
        free if free < 800 => Err(no_memory_on(SHARED)),
        _ => Ok([1, 4, 9]),
    };
    assert_eq!(with_oom_recovery(&policy, squares).unwrap(), [1, 4, 9]);
}

/// Manual handling: the whole, or else both halves, put together.
#[test]
fn a_batch_too_large_is_done_in_halves_and_put_together() {
    let policy = RecoveryPolicy::new().waits(&[]).devices(&[SHARED]);
    let data = [1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0];
    let on_the_gpu = |part: &[f32]| match part.len() {
        4.. => Err(no_memory_on(SHARED)),
        _ => Ok(part.iter().map(|x| x * 2.0).collect::<Vec<_>>()),
    };
    let sizes = BatchSizes::new(data.len(), data.len() / 2).unwrap();
    let doubled = split_on_oom(&policy, &data, sizes, on_the_gpu).unwrap().concat();
    assert_eq!(doubled, [2.0, 4.0, 6.0, 8.0, 10.0, 12.0]);
}

/// Batch size reduction: from 32 down, and no item is lost on the way.
#[test]
fn batches_shrink_until_they_fit_and_no_item_is_lost() {
    let policy = RecoveryPolicy::new().retries(0);
    let data: Vec<usize> = (0..100).collect();
    let mut largest = 0;
    let sizes = BatchSizes::new(32, 1).unwrap();
    let results = split_on_oom(&policy, &data, sizes, |batch| {
        if batch.len() > 10 {
            return Err(no_memory_on(SHARED));
        }
        largest = largest.max(batch.len());
        Ok(batch.to_vec())
    });
    assert_eq!(results.unwrap().concat(), data);
    assert_eq!(largest, 8);
}

/// The sum of the array of a fake device, where there is memory for it.
fn sum_on(
    registry: &Registry,
    array: &Array,
) -> Result<u32, Box<dyn std::error::Error + Send + Sync>> {
    let tensor = array.downcast_ref::<FakeArray>().ok_or("it is not there")?.tensor();
    if tensor.device() == DEVICES[0] {
        return Err(NO_MEMORY.into());
    }
    let host = registry.runtime(tensor.device())?.transfer(tensor, Device::CPU)?;
    Ok(host.as_slice::<u32>()?.iter().sum())
}

/// Framework fallback chain: each is tried in turn, and the one that can does it.
#[test]
fn the_next_framework_does_what_the_first_cannot() -> Result<()> {
    let registry = registry();
    let data = Array::new(ManagedTensor::from_vec(vec![1_u32, 2, 3], &[3])?);
    let chain = FallbackChain::new(["cupy", "fake", "fake"])?;
    let chain = chain.on(1, DEVICES[0])?.on(2, DEVICES[1])?;
    let tried =
        chain.run(&registry, data, |array| sum_on(&registry, array)).map_err(|refused| {
            let (what, remedy) = (refused.error().to_string(), "none".to_owned());
            Error::Unsupported { what, remedy }
        })?;
    assert_eq!((tried.value, tried.failed.len()), (6, 2));
    Ok(())
}
