//! What a backend answers for its array types, and for people.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bridge_core::{
    Array, Availability, Backend, DataType, Descriptor, Detail, Device, Dlpack, Error,
    ManagedTensor, NativeArray, NativeType,
};

use crate::asked::FIRST;
use crate::tables::{Grid, Row, Tables, row};

const TABLES: &dyn Backend = &Tables;

#[test]
fn the_first_array_type_that_has_the_element_type_and_the_shape_is_made() {
    let made = |data_type, shape: &[usize]| TABLES.native_type_for(data_type, shape);
    let name = |data_type, shape: &[usize]| made(data_type, shape).unwrap().name();
    assert_eq!(name(DataType::F32, &[3]), std::any::type_name::<Row>());
    assert_eq!(name(DataType::F32, &[3, 4]), std::any::type_name::<Grid>());
    assert_eq!(name(DataType::F64, &[0, 4]), std::any::type_name::<Grid>());
    let (row, cube): (&[usize], &[usize]) = (&[3], &[1, 1, 1]);
    for (data_type, shape, expected) in [
        (DataType::F64, row, "tables has no arrays of shape [3]: it takes rank 2;"),
        (DataType::F32, cube, "[1, 1, 1]: it takes rank 1, or rank 2;"),
        (DataType::F16, row, "tables has no float16; cast to float32, which holds every value"),
        (DataType::I64, row, "cast to one of uint8, float32, float64, none of which holds every"),
    ] {
        let error = made(data_type, shape).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    assert_eq!(TABLES.data_types(), [DataType::U8, DataType::F32, DataType::F64]);
}

#[test]
fn a_value_is_known_by_its_rust_type() {
    let found = TABLES.native_type_of(&row()).expect("a row is of the tables");
    assert!(found.is_type_of(&row()) && !found.is_type_of(&1.5_f32));
    assert_eq!(found.type_id(), std::any::TypeId::of::<Row>());
    assert!(TABLES.native_type_of(&"no array").is_none());
}

#[test]
fn an_array_is_given_back_as_its_own_type_only() {
    let array = Array::new(row());
    let debug = format!("{array:?}");
    for told in ["Held<1>", "float32", "cpu", "[2]"] {
        assert!(debug.contains(told), "{debug}");
    }
    assert!(array.downcast_ref::<Row>().is_some() && array.downcast_ref::<Grid>().is_none());
    let refused = array.downcast::<Grid>().err().expect("a row is no grid");
    let text = refused.error().to_string();
    assert!(text.contains("Held<1>, not a ") && text.contains("Held<2>:"), "{text}");
    assert!(refused.into_value().downcast::<Row>().is_ok());
}

#[test]
fn a_tensor_that_is_refused_comes_back() {
    let [row_type, grid_type] = Tables.native_types() else { panic!("two array types") };
    let tensor = Array::new(row()).export().unwrap();
    let address = tensor.data();
    let refused = Array::import(tensor, grid_type).unwrap_err();
    assert!(matches!(refused.error(), Error::UnsupportedShape { .. }), "{}", refused.error());
    let array = Array::restored(refused.into_value(), row_type);
    let again = array.downcast::<Row>().unwrap().export();
    let again = again.unwrap_or_else(|refused| panic!("{}", refused.error()));
    assert_eq!(again.data(), address, "nothing was copied");
    let broken = catch_unwind(AssertUnwindSafe(|| Array::restored(again, grid_type)));
    assert!(broken.is_err(), "a backend that refuses its own array breaks a law");
}

#[test]
fn any_tensor_is_an_array_of_dlpack() {
    let dlpack: &dyn Backend = &Dlpack;
    let of_four = DataType::F32.with_lanes(4).unwrap();
    let made = dlpack.native_type_for(of_four, &[2, 0, 3]).unwrap();
    let tensor = ManagedTensor::from_vec(vec![1_u8, 2], &[2]).unwrap();
    assert!(made.is_type_of(&tensor));
    let array = Array::import(tensor, made).unwrap();
    let tensor = array.downcast::<ManagedTensor>().unwrap();
    assert_eq!(tensor.as_slice::<u8>().unwrap(), [1, 2]);
    assert_eq!(*dlpack.devices().unwrap(), [Device::CPU]);
}

#[test]
fn details_are_none_unless_told_and_a_panic_is_one() {
    struct Panics;
    impl Backend for Panics {
        fn descriptor(&self) -> &'static Descriptor {
            FIRST.descriptor()
        }
        fn availability(&self) -> Availability {
            Availability::HOST
        }
        fn native_types(&self) -> &'static [NativeType] {
            &[]
        }
        fn details(&self) -> Vec<Detail> {
            panic!("the driver is gone")
        }
    }
    let told = |backend: &dyn Backend| {
        let details = backend.checked_details().into_iter();
        details.map(|detail| format!("{}: {}", detail.name, detail.value)).collect::<Vec<_>>()
    };
    assert_eq!(told(&FIRST), [""; 0]);
    assert_eq!(told(&Tables), ["version: 1.2"]);
    let [panicked] = &told(&Panics)[..] else { panic!("one detail") };
    assert!(panicked.starts_with("error: details() panicked: report"), "{panicked}");
}
