//! What comes of chunks that all succeed.

use bridge_core::{
    Admission, Array, Device, DeviceBytes, Error, ManagedTensor, Options, Permit, Result,
};
use bridge_memory::budget::{Budget, Shortage};
use bridge_memory::chunk::{ChunkMap, ChunkPlan, map_chunks};
use bridge_memory::pool::Pool;
use bridge_testkit::fake_accelerator::{FakeArray, transfers};
use proptest::prelude::*;

use crate::support::{
    DEVICE, alone, counted, elements, live_bytes, plus_one, plus_one_on_device, registry,
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 64 }))]

    #[test]
    fn chunks_of_any_rank_and_axis_make_the_whole(
        shape in prop::collection::vec(1_usize..6, 1..5),
        axis in any::<prop::sample::Index>(),
        chunk in 1_usize..7,
        transposed in any::<bool>(),
        on_device in any::<bool>(),
    ) {
        let axis = axis.index(shape.len());
        let mut tensor = counted(&shape);
        if transposed {
            let back: Vec<_> = (0..shape.len()).rev().collect();
            tensor = tensor.permuted(&back).unwrap();
        }
        let expected: Vec<_> = elements(&tensor).iter().map(|n| n + 1).collect();
        let before = elements(&tensor);
        let shape = tensor.shape().to_vec();
        let plan = ChunkPlan::of_size(shape[axis], chunk).unwrap();
        let registry = registry();
        let run = ChunkMap::new(&registry, &plan).along(axis);
        let mapped = if on_device {
            run.to("fake-accelerator").run(Array::new(tensor), plus_one_on_device)
        } else {
            run.run(Array::new(tensor), |chunk| {
                Ok(Array::new(plus_one(&chunk.downcast::<ManagedTensor>()?)?))
            })
        };
        let mapped = mapped.unwrap();
        prop_assert_eq!(mapped.result.shape(), shape);
        prop_assert_eq!(mapped.result.as_slice::<i32>().unwrap(), expected);
        prop_assert_eq!(elements(&mapped.array.downcast::<ManagedTensor>().unwrap()), before);
    }
}

#[test]
fn chunks_on_the_host_share_the_memory_of_the_array() {
    let tensor = counted(&[6, 2]);
    let first = tensor.data().addr();
    let mut places = Vec::new();
    let registry = registry();
    let plan = ChunkPlan::of_size(6, 4).unwrap();
    let mapped = ChunkMap::new(&registry, &plan).run(Array::new(tensor), |chunk| {
        let chunk = chunk.downcast::<ManagedTensor>()?;
        places.push((chunk.first_element().addr() - first, chunk.shape().to_vec()));
        Ok(Array::new(plus_one(&chunk)?))
    });
    let mapped = mapped.unwrap();
    assert_eq!(places, [(0, vec![4, 2]), (32, vec![2, 2])]);
    // The array is what it was: it can be written.
    let mut array = mapped.array.downcast::<ManagedTensor>().unwrap();
    assert!(array.as_mut_slice::<i32>().is_ok() && array.data().addr() == first);
    // And a target can own the result's memory.
    assert!(mapped.result.into_vec::<i32>().is_ok());
}

#[test]
fn no_more_than_two_chunks_are_on_the_device() {
    let _alone = alone();
    let registry = registry();
    const CHUNK: u64 = 100 * 4;
    let plan = ChunkPlan::of_size(1000, 100).unwrap();
    for (overlapped, most, uploads) in [(true, 2, 1), (false, 1, 10)] {
        transfers();
        let run = ChunkMap::new(&registry, &plan).to("fake-accelerator");
        let run = if overlapped { run } else { run.one_at_a_time() };
        let mut seen = 0;
        let mapped = run.run(Array::new(counted(&[1000])), |chunk| {
            // Time for the other thread to upload as much as it can.
            std::thread::sleep(std::time::Duration::from_millis(5));
            seen = seen.max(live_bytes());
            let chunk = chunk.downcast::<FakeArray>()?;
            let on_host = registry.runtime(DEVICE)?.transfer(chunk.tensor(), Device::CPU)?;
            Ok(Array::new(plus_one(&on_host)?))
        });
        let result = mapped.unwrap().result;
        assert_eq!(result.as_slice::<i32>().unwrap()[999], 1000);
        assert!(seen <= most * CHUNK, "{seen}");
        assert_eq!(transfers().uploads, uploads, "on this thread");
        assert_eq!(live_bytes(), 0);
    }
}

#[test]
fn progress_is_told_after_each_chunk() {
    let registry = registry();
    let plan = ChunkPlan::of_size(5, 2).unwrap();
    let mut told = Vec::new();
    ChunkMap::new(&registry, &plan)
        .on_progress(|progress| told.push((progress.done(), progress.total())))
        .run(Array::new(counted(&[5])), Ok)
        .unwrap();
    assert_eq!(told, [(2, 5), (4, 5), (5, 5)]);
}

#[test]
fn other_axes_and_the_type_may_differ_from_the_array() {
    let registry = registry();
    let plan = ChunkPlan::of_size(3, 2).unwrap();
    let array = Array::new(counted(&[4, 3]));
    let mapped = map_chunks(&registry, array, 1, &plan, "fake", Options::default(), |chunk| {
        let wide = chunk.describe()?.layout.shape()[1];
        let sums = ManagedTensor::from_vec(vec![wide as f64; wide], &[1, wide])?;
        Ok(Array::new(sums))
    });
    let result = mapped.unwrap().result;
    assert_eq!(
        (result.shape(), result.as_slice::<f64>().unwrap()),
        (&[1, 3][..], &[2.0, 2.0, 1.0][..])
    );
}

#[test]
fn the_result_can_lie_in_pooled_memory() {
    let registry = registry();
    let pool = Pool::new();
    let plan = ChunkPlan::of_size(100, 30).unwrap();
    for hits in 0..2 {
        let run = ChunkMap::new(&registry, &plan).pool(&pool);
        let mapped = run.run(Array::new(counted(&[100])), Ok).unwrap();
        assert_eq!(elements(&mapped.result), (0..100).collect::<Vec<_>>());
        assert_eq!((pool.stats().buffers_in_use, pool.stats().hits), (1, hits));
    }
    assert_eq!(pool.stats().buffers_in_use, 0);
}

/// Admits so many bytes at a time on the host.
struct AtMost(u64);

impl Admission for AtMost {
    fn admit(&self, peaks: &[DeviceBytes]) -> Result<Permit> {
        let host = peaks.iter().filter(|peak| peak.device == Device::CPU);
        if host.map(|peak| peak.bytes).sum::<u64>() > self.0 {
            return Err(Error::NotAdmitted(std::sync::Arc::new(std::fmt::Error)));
        }
        Ok(Permit::unlimited())
    }

    fn recover(&self, _: Device, _: &Error, _: u32) -> bool {
        false
    }
}

#[test]
fn a_budget_is_asked_for_the_result() {
    let registry = registry();
    let plan = ChunkPlan::of_size(100, 30).unwrap();
    for (bytes, admitted) in [(400, true), (399, false)] {
        let budget = AtMost(bytes);
        let run = ChunkMap::new(&registry, &plan).options(Options::default().within(&budget));
        let mapped = run.run(Array::new(counted(&[100])), Ok);
        assert_eq!(mapped.is_ok(), admitted);
        if let Err(refused) = mapped {
            assert!(matches!(refused.error(), Error::NotAdmitted(_)));
        }
    }
}

#[test]
fn chunks_and_the_result_have_room_in_a_budget_as_long_as_they_live() {
    let registry = registry();
    let plan = ChunkPlan::of_size(100, 10).unwrap();
    let device = Budget::of_device("device", 80, DEVICE).unwrap();
    let everything = Budget::new("all", 480).unwrap();
    for (budget, result) in [(&device, 0), (&everything, 400)] {
        let consumer = budget.consumer("chunks");
        let run = ChunkMap::new(&registry, &plan).to("fake-accelerator").within(&consumer);
        // One chunk is worked on, another has been uploaded or will be.
        let mut least = u64::MAX;
        let mapped = run.run(Array::new(counted(&[100])), |chunk| {
            least = least.min(budget.reserved());
            let chunk = chunk.downcast::<FakeArray>()?;
            let on_host = registry.runtime(DEVICE)?.transfer(chunk.tensor(), Device::CPU)?;
            Ok(Array::new(plus_one(&on_host)?))
        });
        let mapped = mapped.unwrap();
        assert!(least >= 40, "{least}");
        assert_eq!(budget.reserved(), result);
        drop(mapped.room);
        assert_eq!(budget.reserved(), 0);
    }
}

#[test]
fn a_budget_for_one_chunk_is_enough_and_one_for_less_is_an_error() {
    let registry = registry();
    let plan = ChunkPlan::of_size(100, 10).unwrap();
    // The result takes 400 bytes, where the budget counts the host's; a chunk takes 40.
    for (budget, least) in [
        (Budget::of_device("device", 60, DEVICE).unwrap(), 40),
        (Budget::new("all", 440).unwrap(), 440),
    ] {
        let consumer = budget.consumer("chunks");
        let run = |array| {
            let run = ChunkMap::new(&registry, &plan).to("fake-accelerator").within(&consumer);
            run.run(array, |chunk| {
                let chunk = chunk.downcast::<FakeArray>()?;
                let on_host = registry.runtime(DEVICE)?.transfer(chunk.tensor(), Device::CPU)?;
                Ok(Array::new(plus_one(&on_host)?))
            })
        };
        for _ in 0..20 {
            let mapped = run(Array::new(counted(&[100]))).unwrap();
            assert_eq!(elements(&mapped.result), (1..101).collect::<Vec<_>>());
            drop(mapped.room);
            assert_eq!(budget.reserved(), 0);
        }
        let other = budget.reserve(budget.capacity() - least + 1).unwrap();
        let refused = run(Array::new(counted(&[100]))).unwrap_err();
        assert!(Shortage::of(refused.error()).is_some(), "{refused}");
        assert_eq!(budget.reserved(), other.bytes());
    }
}
