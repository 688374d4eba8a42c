//! Layout algebra against an oracle that visits every index.

use bridge_tensor::{DataType, Error, Layout};
use proptest::prelude::*;

/// The byte offset of every element in row-major order, index by index.
fn places(layout: &Layout, item: isize) -> Vec<isize> {
    let mut index = vec![0; layout.rank()];
    let mut places = Vec::new();
    for _ in 0..layout.element_count() {
        let elements: isize =
            index.iter().zip(layout.strides()).map(|(&i, &s): (&usize, _)| i as isize * s).sum();
        places.push(layout.byte_offset() as isize + elements * item);
        for axis in (0..index.len()).rev() {
            index[axis] += 1;
            if index[axis] < layout.shape()[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
    places
}

/// A compact layout that has been permuted, sliced, reversed and broadcast.
fn layouts() -> impl Strategy<Value = Layout> {
    let shape = prop::collection::vec(0_usize..5, 0..5);
    let change = (0_usize..4, 0_usize..5, 0_usize..5, -2_isize..3);
    (shape, prop::collection::vec(change, 0..4)).prop_map(|(shape, changes)| {
        let mut layout = Layout::row_major(&shape).unwrap().at_byte_offset(4096);
        for (kind, axis, at, step) in changes {
            let rank = layout.rank();
            let axis = if rank == 0 { 0 } else { axis % rank };
            layout = match kind {
                0 => layout.transposed(),
                1 => layout.with_axis(axis).unwrap(),
                2 if rank > 0 => {
                    let extent = layout.shape()[axis];
                    let start = at.min(extent.saturating_sub(1));
                    let room = if step >= 0 { extent - start.min(extent) } else { start + 1 };
                    let count = room.div_ceil(step.unsigned_abs().max(1)).min(extent);
                    layout.sliced(axis, start, count, step, DataType::F32).unwrap_or(layout)
                }
                3 => {
                    let mut wider = vec![2];
                    wider.extend_from_slice(layout.shape());
                    layout.broadcast_to(&wider).unwrap()
                }
                _ => layout,
            };
        }
        layout
    })
}

proptest! {
    #[test]
    fn the_span_covers_exactly_the_elements(layout in layouts()) {
        let span = layout.span(DataType::F32).unwrap();
        let places = places(&layout, 4);
        let origin = layout.byte_offset() as isize;
        let low = places.iter().min().map_or(0, |low| low - origin);
        let high = places.iter().max().map_or(0, |high| high - origin + 4);
        prop_assert_eq!(span, low..high);
    }

    #[test]
    fn compactness_is_what_it_says(layout in layouts()) {
        let places = places(&layout, 4);
        let ascending = places.windows(2).all(|pair| pair[1] == pair[0] + 4);
        prop_assert_eq!(layout.is_row_major(), ascending);
        prop_assert_eq!(layout.is_column_major(), layout.transposed().is_row_major());
    }

    #[test]
    fn a_dense_order_makes_the_layout_row_major(layout in layouts()) {
        if let Some(order) = layout.dense_order() {
            prop_assert!(layout.permuted(&order).unwrap().is_row_major());
        }
    }

    #[test]
    fn overlap_is_never_missed(layout in layouts()) {
        let mut places = places(&layout, 4);
        places.sort_unstable();
        if places.windows(2).any(|pair| pair[0] == pair[1]) {
            prop_assert!(layout.may_overlap());
        }
    }

    #[test]
    fn coalescing_keeps_every_place(layout in layouts()) {
        prop_assert_eq!(places(&layout.coalesced(), 4), places(&layout, 4));
    }

    #[test]
    fn reshaping_keeps_every_place_or_refuses(layout in layouts(), split in 1_usize..5) {
        let count = layout.element_count();
        if count.is_multiple_of(split) {
            match layout.reshaped(&[split, count / split]) {
                Ok(reshaped) => prop_assert_eq!(places(&reshaped, 4), places(&layout, 4)),
                Err(error) => prop_assert!(!layout.is_row_major(), "{}", error),
            }
        }
    }

    #[test]
    fn size_one_strides_mean_nothing(layout in layouts(), scrambled in any::<i32>()) {
        let strides: Vec<isize> = layout
            .shape()
            .iter()
            .zip(layout.strides())
            .map(|(&extent, &stride)| if extent == 1 { scrambled as isize } else { stride })
            .collect();
        let other = Layout::new(layout.shape(), &strides, layout.byte_offset()).unwrap();
        prop_assert!(other.is_same_as(&layout));
        prop_assert_eq!(other.is_row_major(), layout.is_row_major());
        prop_assert_eq!(other.is_column_major(), layout.is_column_major());
        prop_assert_eq!(other.dense_order().is_some(), layout.dense_order().is_some());
        prop_assert_eq!(other.may_overlap(), layout.may_overlap());
        prop_assert_eq!(other.span(DataType::F32).unwrap(), layout.span(DataType::F32).unwrap());
        prop_assert_eq!(other.coalesced(), layout.coalesced());
    }

    #[test]
    fn selecting_is_taking_every_place_with_that_index(layout in layouts(), axis in 0_usize..4) {
        prop_assume!(axis < layout.rank());
        for index in 0..layout.shape()[axis] {
            let part = layout.selected(axis, index, DataType::F32).unwrap();
            let inner: usize = layout.shape()[axis + 1..].iter().product();
            let extent = layout.shape()[axis];
            let expected: Vec<isize> = places(&layout, 4)
                .into_iter()
                .enumerate()
                .filter(|(place, _)| place / inner.max(1) % extent == index)
                .map(|(_, place)| place)
                .collect();
            prop_assert_eq!(places(&part, 4), expected);
        }
    }
}

#[test]
fn sizes_that_overflow_are_errors() {
    // tensorflow#116201: the product of these wraps to zero in 64 bits.
    let forged = Layout::row_major(&[1 << 32, 1 << 32, 16]);
    assert!(matches!(forged, Err(Error::TooLarge { .. })));
    // dlpark counts this span in elements and accepts it: in bytes it is beyond `isize::MAX`.
    let wide = Layout::new(&[2], &[isize::MAX / 2], 0).unwrap();
    assert!(matches!(wide.span(DataType::F64), Err(Error::TooLarge { .. })));
    let both_ways = Layout::new(&[2, 2], &[isize::MAX / 2, -(isize::MAX / 2)], 0).unwrap();
    assert!(matches!(both_ways.span(DataType::U16), Err(Error::TooLarge { .. })));
    let far = Layout::row_major(&[2]).unwrap().at_byte_offset(usize::MAX);
    assert!(matches!(far.span(DataType::U8), Err(Error::TooLarge { .. })));
    // An empty axis makes a shape empty, but not a forged one harmless: frameworks multiply the rest.
    assert_eq!(Layout::row_major(&[1 << 40, 0]).unwrap().element_count(), 0);
    assert!(matches!(Layout::row_major(&[1 << 40, 1 << 40, 0]), Err(Error::TooLarge { .. })));
    assert!(matches!(Layout::row_major(&[0, usize::MAX]), Err(Error::TooLarge { .. })));
}

#[test]
fn shapes_and_strides_must_match_and_be_few() {
    assert!(matches!(Layout::new(&[1, 2], &[1], 0), Err(Error::InvalidLayout { .. })));
    assert!(matches!(Layout::row_major(&[1; 65]), Err(Error::InvalidLayout { .. })));
    assert!(Layout::row_major(&[1; 64]).is_ok());
}

#[test]
fn packed_elements_have_no_strides() {
    let packed = Layout::row_major(&[3, 5]).unwrap();
    assert_eq!(packed.span(DataType::F4E2M1FN).unwrap(), 0..8);
    assert!(packed.transposed().span(DataType::F4E2M1FN).is_err());
    assert!(packed.selected(0, 1, DataType::F4E2M1FN).is_err());
}

#[test]
fn out_of_range_arguments_say_what_is_allowed() {
    let layout = Layout::row_major(&[3, 4]).unwrap();
    let text = |result: bridge_tensor::Result<Layout>| result.unwrap_err().to_string();
    assert!(text(layout.permuted(&[0, 0])).contains("named once"));
    assert!(text(layout.sliced(0, 1, 3, 1, DataType::U8)).contains("extent 3"));
    assert!(text(layout.sliced(0, 1, 3, -1, DataType::U8)).contains("below the extent"));
    assert!(text(layout.selected(2, 0, DataType::U8)).contains("below the rank 2"));
    assert!(text(layout.broadcast_to(&[3, 5])).contains("must equal [3, 4]"));
    assert!(text(layout.reshaped(&[5])).contains("12 elements"));
}
