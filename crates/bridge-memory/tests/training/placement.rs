use std::ops::Range;

use bridge_core::Device;
use bridge_memory::training::Placement;
use proptest::prelude::*;

fn devices(count: u32) -> Vec<Device> {
    (0..count).map(Device::cuda).collect()
}

/// Whether the ranges are all layers, in order.
fn are_all(ranges: &[Range<usize>], layers: usize) -> bool {
    let ends: Vec<usize> = std::iter::once(0).chain(ranges.iter().map(|one| one.end)).collect();
    ranges.iter().zip(&ends).all(|(range, &start)| range.start == start && range.end >= start)
        && ends.last() == Some(&layers)
}

#[test]
fn even_placement_differs_by_one_layer_at_most() {
    for layers in 0..20 {
        for count in 1..7 {
            let placed = Placement::even(layers, &devices(count)).unwrap();
            assert!(are_all(placed.ranges(), layers), "{placed:?}");
            let lengths: Vec<_> = placed.ranges().iter().map(Range::len).collect();
            let (most, least) = (lengths.iter().max().unwrap(), lengths.iter().min().unwrap());
            assert!(most - least <= 1, "{placed:?}");
        }
    }
}

#[test]
fn the_compatible_placement_is_that_of_the_recipe() {
    for layers in 0..20_usize {
        for count in 1..7_usize {
            let devices = devices(count as u32);
            let placed = Placement::compatible(layers, &devices).unwrap();
            assert!(are_all(placed.ranges(), layers), "{placed:?}");
            for layer in 0..layers {
                // The recipe divides by zero where there are fewer layers than devices.
                let per_device = (layers / count).max(1);
                let expected = devices[(layer / per_device).min(count - 1)];
                assert_eq!(placed.device_of(layer), Some(expected), "{layers} on {count}");
            }
            assert_eq!(placed.device_of(layers), None);
        }
    }
    // 11 layers on 4 devices: 2, 2, 2 and 5.
    let placed = Placement::compatible(11, &devices(4)).unwrap();
    assert_eq!(placed.ranges(), [0..2, 2..4, 4..6, 6..11]);
}

/// The least that the fullest device can have, by trying every cut.
fn best(layers: &[u64], capacities: &[u64]) -> Option<u64> {
    let Some((&capacity, rest)) = capacities.split_first() else {
        return layers.is_empty().then_some(0);
    };
    let cuts = (0..=layers.len()).filter_map(|cut| {
        let load: u64 = layers[..cut].iter().sum();
        let others = best(&layers[cut..], rest)?;
        (load <= capacity).then(|| load.max(others))
    });
    cuts.min()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 256 }))]

    #[test]
    fn the_balanced_placement_is_the_best_there_is(
        layers in proptest::collection::vec(0..50_u64, 0..8),
        capacities in proptest::collection::vec(0..120_u64, 1..4),
    ) {
        let devices: Vec<_> =
            capacities.iter().enumerate().map(|(n, &room)| (Device::cuda(n as u32), room)).collect();
        let placed = Placement::balanced(&layers, &devices);
        match best(&layers, &capacities) {
            None => prop_assert!(placed.is_err()),
            Some(least) => {
                let placed = placed.unwrap();
                prop_assert!(are_all(placed.ranges(), layers.len()));
                prop_assert_eq!(placed.largest(&layers), least);
                for (range, &room) in placed.ranges().iter().zip(&capacities) {
                    prop_assert!(layers[range.clone()].iter().sum::<u64>() <= room);
                }
            }
        }
    }
}

#[test]
fn bytes_that_no_number_holds_do_not_overflow() {
    let halves = [u64::MAX / 2 + 1; 2];
    let room = u64::MAX;
    let two = [(Device::cuda(0), room), (Device::cuda(1), room)];
    assert_eq!(Placement::balanced(&halves, &two).unwrap().ranges(), [0..1, 1..2]);
    let error = Placement::balanced(&halves, &two[..1]).unwrap_err().to_string();
    assert!(error.contains("layer 1 of 9223372036854775808 bytes finds no room"), "{error}");
}

#[test]
fn without_a_device_nothing_is_placed() {
    let refused =
        [Placement::even(3, &[]), Placement::compatible(3, &[]), Placement::balanced(&[3], &[])];
    for refused in refused {
        let error = refused.unwrap_err().to_string();
        assert!(error.contains("the list of devices is empty"), "{error}");
    }
}
