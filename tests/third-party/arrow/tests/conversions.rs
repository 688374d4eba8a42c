//! What a user of Arrow sees.

use std::sync::Arc;

use arrow_array::types::{Float64Type, Int32Type};
use arrow_array::{Array as _, FixedSizeListArray, Float64Array, Int32Array, StringArray};
use arrow_schema::{DataType as ArrowType, Field};
use bridge_arrow as _; // registers the backend
use bridge_convert::{Convert, ConvertByName};
use bridge_core::{Access, Array, CopyPolicy, DataType, Error, ManagedTensor, Options, Registry};
use bridge_testkit as _; // brings the host tools along

fn rows() -> ManagedTensor {
    ManagedTensor::from_vec(vec![1_f64, 2.0, 3.0, 4.0, 5.0, 6.0], &[2, 3]).unwrap()
}

#[test]
fn an_array_goes_out_read_only_and_comes_back_as_it_was() {
    let array = Float64Array::from(vec![1.0, 2.0, 3.0]);
    let first = array.values().as_ptr();
    let tensor: ManagedTensor = array.convert().unwrap();
    assert_eq!(tensor.access(), Access::ReadOnly);
    assert_eq!(tensor.first_element().cast_const().cast(), first);
    let array: Float64Array = tensor.convert().unwrap();
    assert_eq!(
        (array.values().as_ptr(), &array),
        (first, &Float64Array::from(vec![1.0, 2.0, 3.0]))
    );
}

#[test]
fn memory_of_any_owner_comes_in_without_a_copy() {
    let first = {
        let tensor = rows().into_read_only();
        let first = tensor.first_element().cast_const().cast::<f64>();
        let list: FixedSizeListArray = tensor.convert_to(never()).unwrap();
        // A clone keeps the memory after the array is gone.
        let values = list.values().clone();
        drop(list);
        let values: &Float64Array = values.as_any().downcast_ref().unwrap();
        assert_eq!(values.values()[..], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        (first, values.values().as_ptr())
    };
    assert_eq!(first.0, first.1);
}

#[test]
fn rows_are_lists_as_arrow_itself_makes_them() {
    let list: FixedSizeListArray = rows().convert().unwrap();
    let wanted = [vec![1.0, 2.0, 3.0], vec![4.0, 5.0, 6.0]];
    let wanted = wanted.map(|row| Some(row.into_iter().map(Some)));
    assert_eq!(list, FixedSizeListArray::from_iter_primitive::<Float64Type, _, _>(wanted, 3));
}

#[test]
fn a_slice_of_lists_is_the_rows_of_it() {
    let rows = (0..4).map(|row| Some(vec![Some(row), Some(row * 10)]));
    let list = FixedSizeListArray::from_iter_primitive::<Int32Type, _, _>(rows, 2).slice(1, 2);
    let tensor: ManagedTensor = list.convert_to(never()).unwrap();
    assert_eq!(tensor.shape(), [2, 2]);
    assert_eq!(tensor.as_slice::<i32>().unwrap(), [1, 10, 2, 20]);
}

#[test]
fn empty_lists_keep_their_number() {
    for shape in [[3, 0], [0, 3], [0, 0]] {
        let tensor = ManagedTensor::from_vec(Vec::<f64>::new(), &shape).unwrap();
        let list: FixedSizeListArray = tensor.convert().unwrap();
        assert_eq!((list.len(), list.value_length()), (shape[0], shape[1] as i32));
    }
}

#[test]
fn columns_are_copied_into_rows() {
    let columns = rows().permuted(&[1, 0]).unwrap();
    let (list, report) =
        columns.convert_reported::<FixedSizeListArray>(Options::default()).unwrap();
    assert_eq!(report.bytes_copied, 48);
    let values: &Float64Array = list.values().as_any().downcast_ref().unwrap();
    assert_eq!(values.values()[..], [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
}

#[test]
fn null_entries_are_refused_and_the_array_comes_back() {
    let array = Int32Array::from(vec![Some(1), None, Some(3)]);
    let refused = array.convert::<ManagedTensor>().unwrap_err();
    assert!(refused.to_string().contains("1 null entries"), "{refused}");
    assert_eq!(refused.into_value(), Int32Array::from(vec![Some(1), None, Some(3)]));
    let rows = [Some(vec![Some(1), None]), Some(vec![Some(3), Some(4)])];
    let list = FixedSizeListArray::from_iter_primitive::<Int32Type, _, _>(rows, 2);
    assert!(list.convert::<ManagedTensor>().unwrap_err().to_string().contains("null"));
    let rows = [None, Some(vec![Some(3), Some(4)])];
    let list = FixedSizeListArray::from_iter_primitive::<Int32Type, _, _>(rows, 2);
    assert!(list.convert::<ManagedTensor>().unwrap_err().to_string().contains("null"));
}

#[test]
fn lists_of_other_things_are_refused() {
    let field = Arc::new(Field::new_list_field(ArrowType::Utf8, true));
    let texts = Arc::new(StringArray::from(vec!["a", "b"]));
    let list = FixedSizeListArray::new(field, 2, texts, None);
    let refused = list.convert::<ManagedTensor>().unwrap_err();
    assert!(matches!(refused.error(), Error::Unsupported { .. }), "{refused}");
    assert!(refused.to_string().contains("Utf8"), "{refused}");
}

#[test]
fn by_name_a_matrix_becomes_a_list() {
    let registry = Registry::global().unwrap();
    let array = registry.convert(Array::new(rows()), "arrow", Options::default()).unwrap();
    assert_eq!(array.downcast::<FixedSizeListArray>().unwrap().len(), 2);
    let plan = registry.plan(&Array::new(rows()), "arrow", &Options::default().cast(DataType::F16));
    assert!(plan.is_ok(), "{plan:?}");
}

fn never() -> Options<'static> {
    Options::default().copy(CopyPolicy::Never)
}
