//! What a user of nalgebra sees.

use bridge_convert::{Convert, ConvertByName};
use bridge_core::{
    Access, Array, CopyPolicy, DataType, Error, ManagedTensor, Options, Reason, Registry,
};
use bridge_nalgebra as _; // registers the backend
use bridge_testkit as _; // brings the host tools along
use nalgebra::{DMatrix, DVector};

fn rows() -> ManagedTensor {
    ManagedTensor::from_vec(vec![1_f64, 2.0, 3.0, 4.0, 5.0, 6.0], &[2, 3]).unwrap()
}

fn expected() -> DMatrix<f64> {
    DMatrix::from_row_slice(2, 3, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
}

#[test]
fn rows_are_copied_into_columns() {
    let (matrix, report) = rows().convert_reported::<DMatrix<f64>>(Options::default()).unwrap();
    assert_eq!(matrix, expected());
    assert!(!report.is_zero_copy());
    assert_eq!(report.bytes_copied, 48);
    assert!(report.declined[0].to_string().contains("column-major"), "{:?}", report.declined);
}

#[test]
fn a_transposed_row_major_array_is_taken_without_a_copy() {
    let transposed = rows().permuted(&[1, 0]).unwrap();
    let first = transposed.first_element();
    let never = Options::default().copy(CopyPolicy::Never);
    let matrix: DMatrix<f64> = transposed.convert_to(never).unwrap();
    assert_eq!(matrix, expected().transpose());
    assert_eq!(matrix.as_ptr().cast(), first.cast_const());
}

#[test]
fn a_matrix_goes_out_and_comes_back_at_the_same_address() {
    let matrix = expected();
    let first = matrix.as_ptr();
    let tensor: ManagedTensor = matrix.convert().unwrap();
    assert_eq!(tensor.access(), Access::Exclusive);
    assert_eq!(tensor.layout().strides(), [1, 2]);
    let matrix: DMatrix<f64> = tensor.convert().unwrap();
    assert_eq!((matrix.as_ptr(), matrix), (first, expected()));
}

#[test]
fn a_matrix_becomes_one_by_name_and_stays_what_it_is() {
    let matrix = expected();
    let first = matrix.as_ptr();
    let registry = Registry::global().unwrap();
    assert_eq!(registry.detect(&matrix).unwrap().name(), "nalgebra");
    let array = registry.convert(Array::new(matrix), "na", Options::default()).unwrap();
    assert_eq!(array.downcast::<DMatrix<f64>>().unwrap().as_ptr(), first);
}

#[test]
fn a_wrong_rank_is_refused_with_the_rank_and_what_to_do() {
    let cube = rows().reshaped(&[1, 2, 3]).unwrap();
    let first = cube.first_element();
    let refused = cube.convert::<DMatrix<f64>>().unwrap_err();
    assert_eq!(
        refused.to_string(),
        "Matrix<f64, Dyn, Dyn, VecStorage<f64, Dyn, Dyn>> has no arrays of shape [1, 2, 3]: it takes \
         rank 2; reshape the array first"
    );
    let cube = refused.into_value();
    assert_eq!(cube.first_element(), first);
    let matrix: DMatrix<f64> = cube.reshaped(&[2, 3]).unwrap().convert().unwrap();
    assert_eq!(matrix, expected());
}

#[test]
fn another_element_type_needs_a_cast_that_is_asked_for() {
    let refused = rows().convert::<DMatrix<f32>>().unwrap_err();
    assert!(matches!(refused.error(), Error::UnsupportedDataType { .. }), "{refused}");
    let cast = Options::default().cast(DataType::F32);
    let matrix: DMatrix<f32> = refused.into_value().convert_to(cast).unwrap();
    assert_eq!(matrix, expected().cast::<f32>());
}

#[test]
fn read_only_memory_is_copied_as_a_matrix_can_be_written() {
    let tensor = rows().permuted(&[1, 0]).unwrap().into_read_only();
    let refused =
        tensor.convert_to::<DMatrix<f64>>(Options::default().copy(CopyPolicy::Never)).unwrap_err();
    let Error::WouldCopy { declined, .. } = refused.error() else {
        panic!("{refused}");
    };
    assert_eq!(declined[0].reason, Reason::ReadOnly);
}

#[test]
fn vectors_and_empty_matrices_move() {
    let vector: DVector<i32> =
        ManagedTensor::from_vec(vec![1, 2, 3], &[3]).unwrap().convert().unwrap();
    assert_eq!(vector, DVector::from_vec(vec![1, 2, 3]));
    let empty: DMatrix<bool> =
        ManagedTensor::from_vec(Vec::<bool>::new(), &[0, 4]).unwrap().convert().unwrap();
    assert_eq!(empty.shape(), (0, 4));
}
