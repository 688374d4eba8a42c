//! Owned arrays are handed over as they lie, whatever part of their vector they are.
#![cfg(feature = "ndarray")]

use bridge_core::{Access, NativeArray, Ownership};
use bridge_cpu::ndarray::Ndarray;
use bridge_testkit::bytes_of;
use ndarray::{Array2, s};

/// Twelve numbers in three rows.
fn numbers() -> Array2<i32> {
    Array2::from_shape_fn((3, 4), |(row, column)| (4 * row + column) as i32)
}

#[test]
fn every_arrangement_is_handed_over_as_it_lies_and_comes_back_the_same() {
    let arrangements = [
        ("whole", numbers(), true),
        ("by columns", numbers().reversed_axes(), true),
        ("rows backwards", numbers().slice_move(s![..;-1, ..]), false),
        ("the last rows", numbers().slice_move(s![1.., ..]), false),
        ("the middle row", numbers().slice_move(s![1..2, ..]), false),
        ("the middle columns", numbers().slice_move(s![.., 1..3]), false),
        ("every second column", numbers().slice_move(s![.., ..;2]), false),
        ("nothing", numbers().slice_move(s![3.., ..]), false),
    ];
    for (name, array, is_whole_vector) in arrangements {
        let (copy, address) = (array.clone(), array.as_ptr());
        let tensor = NativeArray::<Ndarray>::export(array).unwrap();
        assert_eq!(tensor.access(), Access::Exclusive, "{name}");
        assert_eq!(tensor.shape(), copy.shape(), "{name}");
        if is_whole_vector {
            assert_eq!(tensor.describe().ownership, Ownership::Movable, "{name}");
        }
        let elements: Vec<u8> = copy.iter().flat_map(|number| number.to_ne_bytes()).collect();
        assert_eq!(bytes_of(&tensor), elements, "{name}");
        let back: Array2<i32> = NativeArray::<Ndarray>::import(tensor).unwrap();
        assert_eq!(back, copy, "{name}");
        assert!(back.is_empty() || back.as_ptr() == address, "{name}");
    }
}
