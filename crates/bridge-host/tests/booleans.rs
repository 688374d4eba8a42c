//! What is copied to booleans is 0 or 1, whatever layouts, threads and the source's maker do.

use bridge_core::{
    Access, DataType, Device, Error, Layout, ManagedTensor, Overflow, Owner, TensorError,
    TensorSpec,
};
use bridge_host::{cast, copy, to_data_type, to_row_major, zeroed};
use proptest::prelude::*;

/// A bool tensor of bytes that no Rust value may have, as a C library may hand one over.
fn foreign(bytes: Vec<u8>, layout: Layout, lanes: u16) -> ManagedTensor {
    let mut bytes = Box::new(bytes);
    let data = bytes.as_mut_ptr().cast();
    let spec = TensorSpec { data_type: DataType::BOOL.with_lanes(lanes).unwrap(), layout };
    // SAFETY: the owner keeps the bytes, and every layout of this file lies within them.
    unsafe {
        let owner = Owner::keep(bytes);
        ManagedTensor::from_parts(data, spec, Device::CPU, Access::ReadOnly, owner).unwrap()
    }
}

fn zeros(shape: &[usize], lanes: u16) -> ManagedTensor {
    let data_type = DataType::BOOL.with_lanes(lanes).unwrap();
    zeroed(&TensorSpec::row_major(data_type, shape).unwrap(), 1).unwrap()
}

fn refusal(result: bridge_core::Result<()>) -> String {
    match result {
        Err(Error::Tensor(TensorError::InvalidTensor { reason })) => reason,
        other => panic!("{other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 200 }))]

    /// One invalid byte among valid ones, in a matrix that is turned, reversed and stepped through:
    /// found where the view leads to it, and then named, and only then.
    #[test]
    fn an_invalid_byte_is_named_and_nothing_written(
        (rows, columns) in (1..9_usize, 1..70_usize),
        place in any::<prop::sample::Index>(),
        byte in prop_oneof![Just(2_u8), 3..=255_u8],
        has_ones in any::<bool>(),
        turned in any::<bool>(),
        (step, axis) in (prop::sample::select(vec![1_isize, -1, 2, -2]), 0..2_usize),
    ) {
        let valid = |at: usize| u8::from(has_ones && at.is_multiple_of(3));
        let mut bytes: Vec<u8> = (0..rows * columns).map(valid).collect();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        let matrix = foreign(bytes, Layout::row_major(&[rows, columns]).unwrap(), 1);
        let whole = if turned { matrix.permuted(&[1, 0]).unwrap() } else { matrix };
        let extent = whole.shape()[axis];
        let length = extent.div_ceil(step.unsigned_abs());
        let first = if step < 0 { (length - 1) * step.unsigned_abs() } else { 0 };
        let view = whole.sliced(axis, first, length, step).unwrap();

        let (row, column) = (place / columns, place % columns);
        let mut index = if turned { [column, row] } else { [row, column] };
        let is_seen = index[axis] % step.unsigned_abs() == 0;
        index[axis] /= step.unsigned_abs();
        if step < 0 && is_seen {
            index[axis] = length - 1 - index[axis];
        }
        let mut target = zeros(view.shape(), 1);
        let result = copy(&view, &mut target);
        if is_seen {
            let named = format!("element {} of", index[0] * view.shape()[1] + index[1]);
            let reason = refusal(result);
            prop_assert!(reason.starts_with(&named), "{reason}, not {named}");
            prop_assert!(reason.contains(&format!("byte {byte},")), "{reason}");
            prop_assert!(target.as_slice::<bool>().unwrap().iter().all(|&value| !value));
            prop_assert!(to_row_major(&view).is_err());
        } else {
            prop_assert!(result.is_ok(), "{result:?}");
        }
    }
}

#[test]
fn broadcast_booleans_and_booleans_of_several_lanes_are_looked_at() {
    let row = foreign(vec![1, 0, 3], Layout::new(&[1000, 3], &[0, 1], 0).unwrap(), 1);
    let reason = refusal(copy(&row, &mut zeros(&[1000, 3], 1)));
    assert!(reason.starts_with("element 2 "), "{reason}");
    let lanes = foreign(vec![1, 0, 1, 0, 0, 9], Layout::row_major(&[2]).unwrap(), 3);
    let reason = refusal(copy(&lanes, &mut zeros(&[2], 3)));
    assert!(reason.starts_with("element 1 ") && reason.contains("byte 9,"), "{reason}");
    let valid = foreign(vec![1, 0, 1, 0, 0, 1], Layout::row_major(&[2]).unwrap(), 3);
    copy(&valid, &mut zeros(&[2], 3)).unwrap();
    copy(&foreign(vec![7], Layout::row_major(&[0, 4]).unwrap(), 1), &mut zeros(&[0, 4], 1))
        .unwrap();
}

/// What was not zero is true after a cast, and no cast carries the byte itself over.
#[test]
fn casts_make_numbers_of_any_byte_and_booleans_of_none() {
    let odd = || foreign(vec![0, 1, 2, 255], Layout::row_major(&[4]).unwrap(), 1);
    let numbers = to_data_type(&odd(), DataType::U8, Overflow::Refuse).unwrap();
    assert_eq!(numbers.as_slice::<u8>().unwrap(), [0, 1, 1, 1]);
    refusal(cast(&odd(), &mut zeros(&[4], 1), Overflow::Wrap));
}

/// Other types of a byte are not looked at.
#[test]
fn bytes_of_other_types_are_copied_whatever_they_are() {
    let bytes = ManagedTensor::from_vec(vec![0_u8, 1, 2, 255], &[4]).unwrap();
    assert_eq!(to_row_major(&bytes).unwrap().as_slice::<u8>().unwrap(), [0, 1, 2, 255]);
}
