//! Layout algebra against an oracle that visits every index.

use bridge_tensor::{DataType, Error, Layout};
use proptest::prelude::*;

/// Every tuple of indices below the extents, the last one running fastest.
fn indices(shape: &[usize]) -> Vec<Vec<usize>> {
    shape.iter().fold(vec![vec![]], |outer, &extent| {
        let inner = |index: Vec<usize>| (0..extent).map(move |at| [&index[..], &[at]].concat());
        outer.into_iter().flat_map(inner).collect()
    })
}

/// The byte offset of the element at these indices.
fn place(layout: &Layout, index: &[usize], item: isize) -> isize {
    let steps = index.iter().zip(layout.strides());
    let elements: isize = steps.map(|(&at, &stride)| at as isize * stride).sum();
    layout.byte_offset() as isize + elements * item
}

/// The byte offset of every element in row-major order, index by index.
fn places(layout: &Layout, item: isize) -> Vec<isize> {
    indices(layout.shape()).iter().map(|index| place(layout, index, item)).collect()
}

/// A compact layout that has been permuted, sliced, reversed and broadcast.
fn layouts() -> impl Strategy<Value = Layout> {
    // Miri visits fewer indices: it is a thousand times slower.
    let (extents, ranks) = if cfg!(miri) { (0_usize..3, 0..4) } else { (0..5, 0..5) };
    let shape = prop::collection::vec(extents, ranks);
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

/// A layout, and its axes in another order.
fn permuted_layouts() -> impl Strategy<Value = (Layout, Vec<usize>)> {
    layouts().prop_flat_map(|layout| {
        let axes: Vec<usize> = (0..layout.rank()).collect();
        (Just(layout), Just(axes).prop_shuffle())
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
    fn an_axis_runs_backwards_where_an_element_lies_before_the_first(layout in layouts()) {
        let places = places(&layout, 4);
        let forwards = places.iter().all(|place| *place >= places[0]);
        prop_assert_eq!(layout.has_no_negative_strides(), forwards);
    }

    #[test]
    fn a_dense_layout_runs_forwards_without_gaps_and_its_order_is_row_major(layout in layouts()) {
        let mut sorted = places(&layout, 4);
        let forwards = sorted.iter().all(|place| *place >= sorted[0]);
        sorted.sort_unstable();
        let gapless = sorted.windows(2).all(|pair| pair[1] == pair[0] + 4);
        prop_assert_eq!(layout.is_dense(), forwards && gapless);
        prop_assert_eq!(layout.dense_order().is_some(), layout.is_dense());
        if let Some(order) = layout.dense_order() {
            prop_assert!(layout.permuted(&order).unwrap().is_row_major());
        }
    }

    #[test]
    fn layouts_overlap_where_two_indices_lead_to_one_place(layout in layouts()) {
        let mut places = places(&layout, 4);
        places.sort_unstable();
        prop_assert_eq!(layout.may_overlap(), places.windows(2).any(|pair| pair[0] == pair[1]));
    }

    #[test]
    fn layouts_are_the_same_where_each_index_leads_to_the_same_place(layout in layouts()) {
        let with = |change: fn((usize, isize)) -> isize| {
            let axes = layout.shape().iter().copied().zip(layout.strides().iter().copied());
            let strides: Vec<isize> = axes.map(change).collect();
            Layout::new(layout.shape(), &strides, layout.byte_offset()).unwrap()
        };
        let others = [
            layout.clone(),
            layout.transposed(),
            layout.clone().at_byte_offset(layout.byte_offset() + 4),
            with(|(extent, stride)| if extent == 1 { 77 } else { stride }),
            with(|(_, stride)| -stride),
            with(|(extent, _)| extent as isize),
        ];
        for other in &others {
            let expected =
                other.shape() == layout.shape() && places(other, 4) == places(&layout, 4);
            prop_assert_eq!(layout.is_same_as(other), expected, "{:?} and {:?}", layout, other);
        }
    }

    #[test]
    fn compact_bytes_are_those_of_the_elements(layout in layouts()) {
        let count = places(&layout, 4).len();
        prop_assert_eq!(layout.element_count(), count);
        prop_assert_eq!(layout.compact_bytes(DataType::F32).unwrap(), count * 4);
        prop_assert_eq!(layout.compact_bytes(DataType::F4E2M1FN).unwrap(), count.div_ceil(2));
    }

    #[test]
    fn coalescing_keeps_every_place_and_leaves_no_axes_to_join(layout in layouts()) {
        let coalesced = layout.coalesced();
        prop_assert_eq!(places(&coalesced, 4), places(&layout, 4));
        prop_assert!(!coalesced.shape().contains(&1));
        for axis in 1..coalesced.rank() {
            let run = coalesced.shape()[axis] as isize * coalesced.strides()[axis];
            prop_assert_ne!(coalesced.strides()[axis - 1], run, "{:?}", coalesced);
        }
    }

    #[test]
    fn permuting_takes_each_index_along((layout, axes) in permuted_layouts()) {
        let permuted = layout.permuted(&axes).unwrap();
        for index in indices(layout.shape()) {
            let moved: Vec<usize> = axes.iter().map(|&axis| index[axis]).collect();
            prop_assert_eq!(place(&permuted, &moved, 4), place(&layout, &index, 4));
        }
    }

    #[test]
    fn slicing_takes_the_indices_it_names_or_refuses(
        layout in layouts(), axis in 0_usize..4, start in 0_usize..6, count in 0_usize..5, step in -3_isize..4,
    ) {
        prop_assume!(axis < layout.rank());
        let taken: Vec<isize> = (0..count as isize).map(|at| start as isize + at * step).collect();
        let extent = layout.shape()[axis] as isize;
        let possible =
            taken.iter().all(|at| (0..extent).contains(at)) && (step != 0 || count < 2);
        let sliced = layout.sliced(axis, start, count, step, DataType::F32);
        prop_assert_eq!(sliced.is_ok(), possible, "{:?}", sliced);
        let Ok(sliced) = sliced else { return Ok(()) };
        prop_assert_eq!(sliced.shape()[axis], count);
        for mut index in indices(sliced.shape()) {
            let found = place(&sliced, &index, 4);
            index[axis] = taken[index[axis]] as usize;
            prop_assert_eq!(found, place(&layout, &index, 4));
        }
        if sliced.is_empty() {
            prop_assert_eq!(sliced.byte_offset(), layout.byte_offset(), "nothing lies elsewhere");
        }
    }

    #[test]
    fn broadcasting_repeats_the_axes_of_extent_1(
        layout in layouts(), outer in prop::collection::vec(0_usize..3, 0..3), inner in 0_usize..4,
    ) {
        let repeated = |&extent: &usize| if extent == 1 { inner } else { extent };
        let new_axes = outer.len();
        let shape: Vec<usize> =
            outer.into_iter().chain(layout.shape().iter().map(repeated)).collect();
        let broadcast = layout.broadcast_to(&shape).unwrap();
        prop_assert_eq!(broadcast.shape(), &shape[..]);
        for index in indices(&shape) {
            let extents = layout.shape().iter().zip(&index[new_axes..]);
            let within: Vec<usize> =
                extents.map(|(&extent, &at)| if extent == 1 { 0 } else { at }).collect();
            prop_assert_eq!(place(&broadcast, &index, 4), place(&layout, &within, 4));
        }
    }

    #[test]
    fn reshaping_keeps_every_place_and_refuses_where_no_strides_can(
        layout in layouts(), splits in prop::collection::vec(1_usize..5, 0..4),
    ) {
        // Factors of the number of elements, and what is left.
        let mut left = layout.element_count();
        let mut shape = vec![];
        for split in splits {
            if left.is_multiple_of(split) {
                shape.push(split);
                left /= split;
            }
        }
        shape.push(left);
        let expected = places(&layout, 4);
        // What the strides must be if there are any: the step from the first element.
        let strides: Vec<isize> = (0..shape.len())
            .map(|axis| shape[axis + 1..].iter().product::<usize>())
            .map(|next| expected.get(next).map_or(0, |place| (place - expected[0]) / 4))
            .collect();
        let candidate = Layout::new(&shape, &strides, layout.byte_offset()).unwrap();
        match layout.reshaped(&shape) {
            Ok(reshaped) => {
                prop_assert_eq!(reshaped.shape(), &shape[..]);
                prop_assert_eq!(places(&reshaped, 4), expected);
            }
            Err(error) => prop_assert_ne!(places(&candidate, 4), expected, "{}", error),
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
    // As many elements as there can be bytes are the most.
    let most = isize::MAX.unsigned_abs();
    let bytes = Layout::row_major(&[most]).unwrap();
    assert_eq!(bytes.compact_bytes(DataType::U8).unwrap(), most);
    assert!(matches!(bytes.compact_bytes(DataType::U16), Err(Error::TooLarge { .. })));
    assert!(matches!(Layout::row_major(&[most + 1]), Err(Error::TooLarge { .. })));
    // One element has no next one, however long the step to it would be.
    let one = Layout::row_major(&[3, 2]).unwrap().sliced(0, 1, 1, isize::MAX, DataType::U8);
    assert_eq!(one.unwrap().byte_offset(), 2);
    let two = Layout::new(&[3], &[isize::MAX / 2], 0).unwrap().sliced(0, 0, 2, 2, DataType::U8);
    assert!(two.is_ok());
    let far = Layout::new(&[5], &[isize::MAX / 2], 0).unwrap().sliced(0, 0, 2, 4, DataType::U8);
    assert!(matches!(far, Err(Error::TooLarge { .. })));
}

#[test]
fn axes_that_interleave_count_as_overlapping() {
    // The places 0, 3, 2, 5, 4, 7 are six, but the rows lie between each other.
    assert!(Layout::new(&[3, 2], &[2, 3], 0).unwrap().may_overlap());
}

#[test]
fn a_layout_is_printed_with_its_offset_if_it_has_one() {
    let layout = Layout::column_major(&[2, 3]).unwrap();
    assert_eq!(format!("{layout:?}"), "shape [2, 3] strides [1, 2]");
    let later = layout.at_byte_offset(8);
    assert_eq!(format!("{later:?}"), "shape [2, 3] strides [1, 2] byte offset 8");
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
    for axes in [&[0, 0][..], &[0, 2], &[0], &[0, 1, 2]] {
        assert!(text(layout.permuted(axes)).contains("named once"), "{axes:?}");
    }
    assert!(text(layout.sliced(0, 1, 3, 1, DataType::U8)).contains("extent 3"));
    assert!(text(layout.sliced(0, 1, 3, -1, DataType::U8)).contains("below the extent"));
    assert!(text(layout.selected(2, 0, DataType::U8)).contains("below the rank 2"));
    assert!(text(layout.broadcast_to(&[3, 5])).contains("must equal [3, 4]"));
    assert!(text(layout.reshaped(&[5])).contains("12 elements"));
    assert!(text(layout.sliced(0, 1, 2, 0, DataType::U8)).contains("broadcast it"));
    assert!(text(layout.with_axis(3)).contains("at most the rank 2"));
    let backwards = Layout::new(&[2], &[-1], 0).unwrap();
    assert!(text(backwards.selected(0, 1, DataType::U8)).contains("before the data pointer"));
}
