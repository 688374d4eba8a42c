//! A shuffled order that takes no memory.

/// The numbers below `items` in a shuffled order, each of which is computed when it is asked for: a
/// list of 10⁸ of them would take 800 MB.
///
/// The order is a function of `seed` and `items` alone, the same on every machine and in every
/// version of this crate with the same major number. It is good enough to visit items in no
/// particular order; it hides nothing from anybody.
///
/// ```
/// use bridge_memory::chunk::Permutation;
///
/// let order = Permutation::new(5, 7);
/// let mut items: Vec<_> = (0..5).filter_map(|place| order.at(place)).collect();
/// items.sort_unstable();
/// assert_eq!(items, [0, 1, 2, 3, 4]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permutation {
    items: u64,
    seed: u64,
    /// Bits of a half: two of them hold every number below `items`.
    half: u32,
}

/// Rounds of the network. Four would do; small halves need some more.
const ROUNDS: u64 = 8;

impl Permutation {
    /// The order of so many items that `seed` gives.
    pub fn new(items: usize, seed: u64) -> Self {
        let items = items as u64;
        let bits = u64::BITS - items.saturating_sub(1).leading_zeros();
        Self { items, seed, half: bits.div_ceil(2).max(3) }
    }

    /// The item at this place of the order; `None` beyond the last.
    ///
    /// A Feistel network, with SplitMix64's mixing function for its rounds, permutes the numbers of
    /// twice `half` bits, of which there are less than four times as many as items, and 64 at least.
    /// It is applied until the number is that of an item, which keeps it a permutation.
    pub fn at(&self, place: usize) -> Option<usize> {
        let mut number = place as u64;
        if number >= self.items {
            return None;
        }
        loop {
            number = self.permuted(number);
            if number < self.items {
                return usize::try_from(number).ok();
            }
        }
    }

    fn permuted(&self, number: u64) -> u64 {
        let mask = (1_u64 << self.half) - 1;
        let (mut left, mut right) = (number >> self.half, number & mask);
        for round in 0..ROUNDS {
            let key = self.seed.wrapping_add(round.wrapping_mul(GOLDEN_RATIO));
            let mixed = mix(mix(key) ^ right) >> (u64::BITS - self.half);
            (left, right) = (right, left ^ mixed);
        }
        (left << self.half) | right
    }
}

/// 2⁶⁴ divided by the golden ratio: SplitMix64's step.
const GOLDEN_RATIO: u64 = 0x9e37_79b9_7f4a_7c15;

/// SplitMix64's mixing function.
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn order(items: usize, seed: u64) -> Vec<usize> {
        (0..items).map_while(|place| Permutation::new(items, seed).at(place)).collect()
    }

    #[test]
    fn every_item_comes_once() {
        for items in (0..70).chain([255, 256, 257, 5000]) {
            if cfg!(miri) && items > 70 {
                break;
            }
            let mut seen = order(items, items as u64);
            seen.sort_unstable();
            assert_eq!(seen, (0..items).collect::<Vec<_>>());
        }
        assert_eq!(Permutation::new(4, 0).at(4), None);
        let largest = Permutation::new(usize::MAX, 3);
        assert_eq!(largest.at(usize::MAX), None);
        assert!(largest.at(usize::MAX - 1).is_some());
    }

    #[test]
    fn the_order_is_the_same_on_every_machine() {
        // From a version of the same in Python.
        assert_eq!(order(10, 42), [6, 2, 9, 0, 5, 8, 4, 3, 1, 7]);
        let large = Permutation::new(100_000_000, 1);
        let first: Vec<_> = (0..3).filter_map(|place| large.at(place)).collect();
        assert_eq!(first, [80_932_210, 83_404_093, 69_119_793]);
    }

    #[test]
    #[cfg_attr(miri, ignore = "statistics need many rounds")]
    fn all_orders_of_four_items_are_about_as_frequent() {
        let mut seen = BTreeMap::new();
        for seed in 0..24_000 {
            *seen.entry(order(4, seed)).or_insert(0) += 1;
        }
        // 1000 each; five standard deviations are 155.
        assert_eq!(seen.len(), 24);
        assert!(seen.values().all(|&times| (845..1155).contains(&times)), "{seen:?}");
    }
}
