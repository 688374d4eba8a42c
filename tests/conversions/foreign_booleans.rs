//! No byte but 0 and 1 becomes a Rust `bool`, whatever a C library calls a boolean.
#![forbid(unsafe_code)]

use arraybridge::{Error, NativeArray, TensorError};
use bridge_testkit::foreign::foreign_booleans;
use ndarray::{Array2, array};

#[test]
fn what_is_copied_into_an_array_of_booleans_is_looked_at() {
    let array: Array2<bool> = array![[true, false], [false, true]];
    let mut target = array.export().unwrap_or_else(|refused| panic!("{refused}"));
    let source = foreign_booleans(&[1, 0, 2, 1], &[2, 2]);
    match bridge_host::copy(&source, &mut target) {
        Err(Error::Tensor(TensorError::InvalidTensor { reason })) => {
            assert!(reason.contains("element 2 "), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    let array = Array2::<bool>::import(target).unwrap_or_else(|refused| panic!("{refused}"));
    assert_eq!(array, array![[true, false], [false, true]]);
}
