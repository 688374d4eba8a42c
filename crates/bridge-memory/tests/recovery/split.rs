use bridge_core::{Error, Result};
use bridge_memory::recovery::{
    BatchSizes, RecoveryEvent, RecoveryPolicy, split_on_oom, split_range_on_oom,
};
use proptest::prelude::*;
use std::sync::Mutex;

use crate::support::{ILLEGAL_ACCESS, NO_MEMORY, SHARED, no_memory_on, registry};

fn at_once() -> RecoveryPolicy<'static> {
    RecoveryPolicy::new().retries(0)
}

/// Does batches of `most` items at most.
fn up_to(most: usize) -> impl FnMut(&[u32]) -> Result<Vec<u32>> {
    move |batch| if batch.len() > most { Err(no_memory_on(SHARED)) } else { Ok(batch.to_vec()) }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 256 }))]

    #[test]
    fn every_item_is_done_once_and_in_order(
        count in 0..200_usize,
        least in 1..20_usize,
        more in 0..60_usize,
        fits in 1..80_usize,
    ) {
        let items: Vec<u32> = (0..count as u32).collect();
        let sizes = BatchSizes::new(least + more, least).unwrap();
        let done = split_on_oom(&at_once(), &items, sizes, up_to(fits));
        // Where even the smallest batch does not fit, it is an error, unless all items are fewer.
        if fits < least.min(count) {
            prop_assert!(done.is_err());
        } else {
            let done = done.unwrap();
            prop_assert!(done.iter().all(|batch| !batch.is_empty() && batch.len() <= fits));
            prop_assert_eq!(done.concat(), items);
        }
    }
}

#[test]
fn the_rest_of_a_batch_is_not_dropped() {
    // Of 10 items in batches of 8 that fit by 3, the usual recipe does 0 to 1 and 8 to 9.
    let items: Vec<u32> = (0..10).collect();
    let done = split_on_oom(&at_once(), &items, BatchSizes::new(8, 1).unwrap(), up_to(3)).unwrap();
    assert_eq!(done, [vec![0, 1], vec![2, 3], vec![4, 5], vec![6, 7], vec![8, 9]]);
}

#[test]
fn no_batch_is_below_the_least_and_the_error_is_the_works() {
    let items: Vec<u32> = (0..10).collect();
    let mut sizes = Vec::new();
    let work = |batch: &[u32]| -> Result<()> {
        sizes.push(batch.len());
        Err(no_memory_on(SHARED))
    };
    let error = split_on_oom(&at_once(), &items, BatchSizes::new(9, 3).unwrap(), work).unwrap_err();
    assert!(error.out_of_memory().is_some());
    assert_eq!(sizes, [9, 5, 3]);
}

#[test]
fn a_near_miss_ends_it_and_what_must_not_run_twice_is_not_halved() {
    let registry = registry();
    let policy = at_once().registry(&registry);
    let items = [1, 2, 3, 4];
    let sizes = BatchSizes::new(4, 1).unwrap();
    for (policy, error) in [(policy, ILLEGAL_ACCESS), (policy.once(), NO_MEMORY)] {
        let mut tries = 0;
        let refused = split_on_oom(&policy, &items, sizes, |_| -> Result<(), _> {
            tries += 1;
            Err(error)
        });
        assert_eq!((refused.unwrap_err(), tries), (error, 1));
    }
}

#[test]
fn a_batch_climbs_the_other_rungs_before_it_is_halved() {
    let registry = registry();
    let told = Mutex::new(Vec::new());
    let observer = |event: &RecoveryEvent<'_>| {
        let name = match event {
            RecoveryEvent::OutOfMemory { .. } => "out of memory".to_owned(),
            RecoveryEvent::Waited { .. } => "waited".to_owned(),
            RecoveryEvent::Released { .. } => "released".to_owned(),
            RecoveryEvent::Split { from, to } => format!("{from} to {to}"),
            RecoveryEvent::GaveUp { .. } => "gave up".to_owned(),
            other => format!("{other:?}"),
        };
        told.lock().unwrap().push(name);
    };
    let policy = RecoveryPolicy::new().registry(&registry).waits(&[]).observer(&observer);
    let done = split_on_oom(&policy, &[1, 2], BatchSizes::new(2, 1).unwrap(), up_to(1)).unwrap();
    assert_eq!(done, [[1], [2]]);
    let (oom, end) = ("out of memory", "gave up");
    let expected = [oom, "waited", oom, "waited", "released", oom, end, "2 to 1"];
    assert_eq!(told.into_inner().unwrap(), expected);
}

#[test]
fn rows_of_an_array_are_split_by_their_ranges() {
    let rows = [[1, 2], [3, 4], [5, 6], [7, 8], [9, 10]];
    let mut sum = 0;
    let ranges = split_range_on_oom(&at_once(), 5, BatchSizes::new(100, 2).unwrap(), |range| {
        if range.len() > 3 {
            return Err(no_memory_on(SHARED));
        }
        sum += rows[range.clone()].iter().flatten().sum::<i32>();
        Ok(range)
    });
    assert_eq!(ranges.unwrap(), [0..3, 3..5]);
    assert_eq!(sum, 55);
    let none = split_range_on_oom(&at_once(), 0, BatchSizes::new(1, 1).unwrap(), |_| {
        Err::<(), Error>(no_memory_on(SHARED))
    });
    assert_eq!(none.unwrap(), []);
}

#[test]
fn sizes_that_cannot_be_are_refused() {
    for (first, least, told) in [
        (4, 0, "the smallest batch is 0"),
        (0, 0, "the smallest batch is 0"),
        (0, 1, "the first batch is 0"),
        (2, 3, "the first batch is 2: it must have 3 items at least"),
    ] {
        let error = BatchSizes::new(first, least).unwrap_err().to_string();
        assert!(error.contains(told), "{error}");
    }
}
