//! Copies between random layouts equal a copy index by index.

use bridge_core::{DataType, Layout};
use bridge_host::{copy_strided, set_max_threads};
use proptest::prelude::*;

/// How one axis of a random layout lies in memory.
#[derive(Debug, Clone)]
struct AxisPlan {
    extent: usize,
    /// Elements left out between neighbours along the axis, for source and target.
    gaps: [usize; 2],
    backwards: [bool; 2],
    /// The axis repeats the source.
    broadcast: bool,
    /// Where the axis comes among the axes by density, for source and target.
    density: [u32; 2],
    scrambled: isize,
}

fn axis(extents: impl Strategy<Value = usize>) -> impl Strategy<Value = AxisPlan> {
    let gap = || prop_oneof![4 => Just(0_usize), 1 => 1..3_usize];
    let backwards = || prop::bool::weighted(0.25);
    (
        extents,
        [gap(), gap()],
        [backwards(), backwards()],
        prop::bool::weighted(0.1),
        any::<[u32; 2]>(),
        any::<i32>(),
    )
        .prop_map(|(extent, gaps, backwards, broadcast, density, scrambled)| AxisPlan {
            extent,
            gaps,
            backwards,
            broadcast,
            density,
            scrambled: scrambled as isize,
        })
}

/// The layout on one side (0 source, 1 target), and the bytes of memory it needs.
fn layout(axes: &[AxisPlan], side: usize, item: usize) -> (Layout, usize) {
    let mut order: Vec<usize> = (0..axes.len()).collect();
    order.sort_by_key(|&axis| axes[axis].density[side]);
    let mut strides = vec![0_isize; axes.len()];
    let (mut reach, mut offset) = (1_usize, 0_usize);
    for axis in order {
        let plan = &axes[axis];
        if plan.extent == 1 {
            strides[axis] = plan.scrambled;
        } else if !(plan.broadcast && side == 0) {
            let stride = reach + plan.gaps[side];
            strides[axis] = stride as isize;
            let last = stride * plan.extent.saturating_sub(1);
            if plan.backwards[side] {
                strides[axis] = -strides[axis];
                offset += last;
            }
            reach += last;
        }
    }
    let shape: Vec<usize> = axes.iter().map(|plan| plan.extent).collect();
    (Layout::new(&shape, &strides, offset * item).unwrap(), reach * item)
}

fn naive(source: &[u8], from: &Layout, target: &mut [u8], to: &Layout, item: usize) {
    let place = |layout: &Layout, index: &[usize]| {
        let steps = index.iter().zip(layout.strides()).zip(layout.shape());
        let elements = steps.filter(|(_, n)| **n > 1).map(|((&i, &s), _)| i as isize * s);
        (layout.byte_offset() as isize + elements.sum::<isize>() * item as isize) as usize
    };
    let shape = from.shape();
    let mut index = vec![0; shape.len()];
    for _ in 0..from.element_count() {
        let (s, t) = (place(from, &index), place(to, &index));
        target[t..t + item].copy_from_slice(&source[s..s + item]);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            if index[axis] < shape[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
}

fn check(axes: &[AxisPlan], data_type: DataType, misalign: usize) {
    let item = data_type.size_in_bytes().unwrap();
    let (from, from_bytes) = layout(axes, 0, item);
    let (to, to_bytes) = layout(axes, 1, item);
    let source: Vec<u8> =
        (0..from_bytes + misalign).map(|i| (i * 7 + (i >> 8) * 13 + 1) as u8).collect();
    let mut target = vec![0xEE_u8; to_bytes + misalign];
    let mut expected = target.clone();
    naive(&source[misalign..], &from, &mut expected[misalign..], &to, item);
    // SAFETY: `layout` has counted the bytes that both layouts reach, target elements differ, and
    // the vectors do not overlap.
    unsafe {
        copy_strided(
            source.as_ptr().add(misalign + from.byte_offset()),
            &from,
            target.as_mut_ptr().add(misalign + to.byte_offset()),
            &to,
            data_type,
        );
    }
    assert!(target == expected, "{from:?} to {to:?} of {data_type}");
}

fn data_types() -> impl Strategy<Value = DataType> {
    let several = |data_type: DataType, lanes| data_type.with_lanes(lanes).unwrap();
    prop::sample::select(vec![
        DataType::U8,
        DataType::BF16,
        DataType::F32,
        DataType::C64,
        DataType::C128,
        several(DataType::U8, 3),
        several(DataType::U8, 5),
        several(DataType::F16, 3),
        several(DataType::F32, 3),
        several(DataType::F64, 5),
        several(DataType::F64, 20),
        several(DataType::F4E2M1FN, 2),
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 8 } else { 600 }))]

    #[test]
    fn small_axes_of_many_kinds(
        axes in prop::collection::vec(axis(0..5_usize), 0..=8),
        data_type in data_types(),
        misalign in 0..4_usize,
    ) {
        check(&axes, data_type, misalign);
    }

    #[test]
    fn two_or_three_long_axes(
        long in prop::collection::vec(axis(prop_oneof![60..70_usize, 120..140_usize]), 2),
        short in prop::collection::vec(axis(1..4_usize), 0..2),
        data_type in data_types(),
    ) {
        let mut axes = long;
        axes.extend(short);
        check(&axes, data_type, 0);
    }

    #[test]
    fn pictures_and_their_channels(
        long in axis(1000..1200_usize),
        short in axis(1..20_usize),
        data_type in data_types(),
    ) {
        check(&[long, short], data_type, 1);
    }
}

#[test]
fn rank_32() {
    let axes: Vec<AxisPlan> = (0..32_u32)
        .map(|axis| AxisPlan {
            extent: if axis % 3 == 0 { 2 } else { 1 },
            gaps: [(axis % 2) as usize, 0],
            backwards: [axis % 4 == 0, axis % 5 == 0],
            broadcast: false,
            density: [axis, 32 - axis],
            scrambled: -77,
        })
        .collect();
    check(&axes, DataType::F32, 0);
}

#[test]
fn packed_elements_are_copied_as_bytes() {
    let shape = Layout::row_major(&[3, 3]).unwrap();
    let (source, mut target) = ([1_u8, 2, 3, 4, 5], [0_u8; 5]);
    // SAFETY: nine elements of 4 bits are 5 bytes, which both arrays have.
    unsafe {
        copy_strided(source.as_ptr(), &shape, target.as_mut_ptr(), &shape, DataType::F4E2M1FN);
    }
    assert_eq!(source, target);
}

/// Everything that depends on size: threads, streaming stores, several tiles.
#[test]
#[cfg_attr(miri, ignore)]
fn large_copies_on_one_and_on_several_threads() {
    let plan = |extent, density| AxisPlan {
        extent,
        gaps: [0, 0],
        backwards: [false, false],
        broadcast: false,
        density,
        scrambled: 0,
    };
    for threads in [1, 3] {
        set_max_threads(threads);
        for data_type in [DataType::U8, DataType::F16, DataType::F32, DataType::F64, DataType::C128]
        {
            let item = data_type.size_in_bytes().unwrap();
            check(&[plan(1024, [0, 1]), plan((8 << 10) / item, [1, 0])], data_type, 0);
            check(&[plan(1031, [0, 1]), plan((9 << 10) / item + 1, [1, 0])], data_type, 3);
            check(&[plan((6 << 20) / item, [0, 0])], data_type, 1);
            if data_type == DataType::C128 {
                // Whole, and in rows of 1 KiB with gaps between them.
                check(&[plan((17 << 20) / item, [0, 0])], data_type, 1);
                let rows = AxisPlan { gaps: [3, 1], ..plan(17 << 10, [1, 1]) };
                check(&[rows, plan((1 << 10) / item, [0, 0])], data_type, 3);
            }
            let mut backwards = plan(1001, [1, 1]);
            backwards.backwards = [true, false];
            check(&[backwards, plan((6 << 10) / item, [0, 0])], data_type, 0);
            let mut broadcast = plan(1001, [1, 1]);
            broadcast.broadcast = true;
            check(&[plan((6 << 10) / item, [0, 0]), broadcast], data_type, 0);
        }
    }
    set_max_threads(0);
}
