//! Plans that never take more than the limit.

use bridge_core::Result;

use super::plan::{ChunkPlan, some_items};
use crate::arguments::invalid;

impl ChunkPlan {
    /// As few chunks as there can be, their sizes as even as they can be, where a chunk of `n` items
    /// takes `fixed + n * per_item` bytes and may take `limit`.
    ///
    /// # Errors
    ///
    /// For no items, and for a limit below what one item takes.
    pub fn exact(items: usize, fixed: u64, per_item: u64, limit: u64) -> Result<Self> {
        let items = some_items(items)?;
        let room = limit.checked_sub(fixed);
        let most = match room.map(|room| room.checked_div(per_item)) {
            None => 0,
            // Items that cost nothing all fit.
            Some(None) => items,
            Some(Some(most)) => usize::try_from(most).unwrap_or(usize::MAX).min(items),
        };
        if most == 0 {
            return Err(too_small(limit, u128::from(fixed) + u128::from(per_item)));
        }
        let plan = Self::even(items, most)?;
        // At most the limit, so nothing overflows.
        Ok(plan.taking(fixed + plan.chunk() as u64 * per_item))
    }

    /// As [`exact`](Self::exact), where `cost` says what a chunk of so many items takes. The cost
    /// must not fall with more items: then it is asked some 64 times to find the largest chunk that
    /// fits, and otherwise a chunk may be smaller than it could be.
    ///
    /// # Errors
    ///
    /// As [`exact`](Self::exact), and where the even chunks cost more than larger ones do.
    pub fn within(items: usize, limit: u64, cost: impl Fn(u64) -> u64) -> Result<Self> {
        let items = some_items(items)?;
        let fits = |n: usize| cost(n as u64) <= limit;
        if !fits(1) {
            return Err(too_small(limit, u128::from(cost(1))));
        }
        let (mut most, mut too_many) = (1, items);
        if fits(items) {
            most = items;
        }
        while too_many - most > 1 {
            let middle = most + (too_many - most) / 2;
            if fits(middle) {
                most = middle;
            } else {
                too_many = middle;
            }
        }
        let plan = Self::even(items, most)?;
        // The even chunks can be of two sizes.
        let bytes = cost(plan.chunk() as u64).max(cost(plan.smallest() as u64));
        if bytes > limit {
            let expected = format!("at most {limit}, as {most} items fit: a cost must not fall");
            return Err(invalid("the cost of a smaller chunk", &bytes, &expected));
        }
        Ok(plan.taking(bytes))
    }

    fn smallest(&self) -> usize {
        self.range(self.count() - 1).map_or(self.chunk(), |last| last.len())
    }
}

fn too_small(limit: u64, one: u128) -> bridge_core::Error {
    let expected = format!("one item alone takes {one} bytes: raise the limit to that or more");
    invalid("the memory limit in bytes", &limit, &expected)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 256 }))]

        #[test]
        fn exact_plans_hold_the_limit_and_divide_the_items(
            items in 1_usize..200_000,
            fixed in 0_u64..10_000,
            per_item in 0_u64..100,
            room in 0_u64..100_000,
        ) {
            let limit = fixed + room;
            match ChunkPlan::exact(items, fixed, per_item, limit) {
                Err(_) => prop_assert!(room < per_item),
                Ok(plan) => {
                    let lengths: Vec<_> = plan.chunks().map(|chunk| chunk.len()).collect();
                    let (least, most) =
                        (*lengths.iter().min().unwrap(), *lengths.iter().max().unwrap());
                    prop_assert!(least > 0 && most - least <= 1 && most == plan.chunk());
                    prop_assert_eq!(lengths.iter().sum::<usize>(), items);
                    prop_assert_eq!(fixed + most as u64 * per_item, plan.bytes_per_chunk());
                    prop_assert!(plan.bytes_per_chunk() <= limit);
                    // One chunk fewer would not do.
                    let fewer = plan.count() as u64 - 1;
                    prop_assert!(fewer == 0 || fewer * (room / per_item) < items as u64);
                    let same = ChunkPlan::within(items, limit, |n| fixed + n * per_item).unwrap();
                    prop_assert_eq!(same, plan);
                }
            }
        }
    }

    #[test]
    fn a_limit_below_one_item_is_an_error_that_says_what_one_takes() {
        for (fixed, per_item, limit) in [(10, 5, 14), (10, 5, 9), (u64::MAX, u64::MAX, u64::MAX)] {
            let error = ChunkPlan::exact(7, fixed, per_item, limit).unwrap_err().to_string();
            let one = u128::from(fixed) + u128::from(per_item);
            assert!(error.contains(&format!("takes {one} bytes")), "{error}");
        }
        assert!(ChunkPlan::within(7, 14, |n| 10 + n * 5).is_err());
        assert_eq!(ChunkPlan::exact(7, 10, 5, 15).unwrap().count(), 7);
    }

    #[test]
    fn no_items_are_an_error_and_items_that_cost_nothing_are_one_chunk() {
        assert!(ChunkPlan::exact(0, 0, 1, 10).is_err());
        assert!(ChunkPlan::within(0, 10, |_| 1).is_err());
        assert!(ChunkPlan::of_size(0, 1).is_err() && ChunkPlan::of_size(1, 0).is_err());
        let plan = ChunkPlan::exact(usize::MAX, 7, 0, 7).unwrap();
        assert_eq!((plan.count(), plan.chunk(), plan.bytes_per_chunk()), (1, usize::MAX, 7));
    }

    #[test]
    fn nothing_overflows_at_the_largest_numbers() {
        let plan = ChunkPlan::exact(usize::MAX, 0, 3, u64::MAX).unwrap();
        assert_eq!((plan.bytes_per_chunk(), plan.count()), (u64::MAX, 3));
        let last = plan.range(2).unwrap();
        assert_eq!((last.end, plan.range(3)), (usize::MAX, None));
        let plan = ChunkPlan::within(usize::MAX, u64::MAX, |n| n.saturating_mul(1 << 40)).unwrap();
        assert_eq!(plan.count(), 1, "a saturated cost is at the limit, not above it");
    }

    #[test]
    fn a_cost_that_falls_is_refused_where_it_would_break_the_limit() {
        // Ten fit and six do not; thirteen are seven and six.
        let odd = |n: u64| if n == 6 { 100 } else { n };
        let error = ChunkPlan::within(13, 10, odd).unwrap_err().to_string();
        assert!(error.contains("must not fall"), "{error}");
    }

    #[test]
    fn a_part_of_the_available_memory_is_no_more_than_it() {
        assert_eq!(super::super::share_of(1000, 0.8).unwrap(), 800);
        assert_eq!(super::super::share_of(u64::MAX, 1.0).unwrap(), u64::MAX);
        for wrong in [0.0, -0.5, 1.5, f64::NAN, f64::INFINITY] {
            assert!(super::super::share_of(1000, wrong).is_err(), "{wrong}");
        }
    }
}
