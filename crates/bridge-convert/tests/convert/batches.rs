//! Many arrays in one call.

use bridge_convert::{convert_all, convert_each};
use bridge_core::{Array, DataType, Error, ManagedTensor, Options};

use crate::support::{PlainArray, Takes, registry};

/// Whether these fit uint8 shows only when they are cast.
fn arrays(firsts: &[f32]) -> Vec<Array> {
    let array = |&first| Array::new(ManagedTensor::from_vec(vec![first, 0.0], &[2]).unwrap());
    firsts.iter().map(array).collect()
}

fn first(array: Array) -> u8 {
    let array: PlainArray<Takes> = array.downcast().unwrap();
    array.tensor.as_slice::<u8>().unwrap()[0]
}

#[test]
fn all_arrays_are_converted_in_their_order_or_come_back() {
    let bytes = Options::default().cast(DataType::U8);
    for firsts in [&[][..], &[7.0], &[7.0, 8.0, 9.0]] {
        let converted = convert_all(registry(), arrays(firsts), "takes", &bytes).unwrap();
        let converted: Vec<_> =
            converted.into_iter().map(|array| f32::from(first(array))).collect();
        assert_eq!(converted, firsts);
    }

    // What plans show is found before the first array moves.
    let mut mixed = arrays(&[7.0, 8.0]);
    mixed.insert(0, Array::new(ManagedTensor::from_vec(vec![1_u8], &[1]).unwrap()));
    let never = bytes.copy(bridge_core::CopyPolicy::Never);
    let (batch, error) = convert_all(registry(), mixed, "takes", &never).unwrap_err().into_parts();
    assert!(matches!(error, Error::InBatch { index: 1, .. }), "{error}");
    assert_eq!((batch.index, batch.converted.len(), batch.remaining.len()), (1, 0, 3));

    let refused = convert_all(registry(), arrays(&[7.0, 300.0, 9.0]), "takes", &bytes);
    let (batch, error) = refused.unwrap_err().into_parts();
    let text = error.to_string();
    assert!(text.starts_with("array 1 of the batch: element 0 is 300"), "{text}");
    assert_eq!((batch.index, batch.converted.len(), batch.remaining.len()), (1, 1, 2));
    assert!(batch.remaining.into_iter().all(|array| array.downcast::<ManagedTensor>().is_ok()));
}

#[test]
fn each_array_is_converted_whatever_happens_to_the_others() {
    let bytes = Options::default().cast(DataType::U8);
    let results = convert_each(registry(), arrays(&[7.0, 300.0, 9.0]), "takes", &bytes);
    let [one, refused, other] = results.try_into().unwrap_or_else(|_| panic!("three"));
    assert_eq!((first(one.unwrap()), first(other.unwrap())), (7, 9));
    assert!(refused.unwrap_err().into_value().downcast::<ManagedTensor>().is_ok());
}
