//! Calls slice by slice.

use bridge_core::{Array, Error, ManagedTensor};
use bridge_memory::call::{CallOptions, DtypeConversion, Rescale, call_by_slice};

use crate::support::{array, elements, registry};

#[test]
fn slices_come_with_the_other_arrays_and_are_stacked_and_stretched_together() {
    let registry = registry();
    let given = vec![array(&[1.0_f32, 2.0, 3.0, 4.0], &[2, 2]), array(&[10.0_f32], &[1])];
    let options = CallOptions::new("scaled").on("dlpack");
    let scaled = |arrays: &[Array]| {
        let [slice, factor] = arrays else { panic!("{arrays:?}") };
        let values = |array: &Array| {
            let tensor = array.downcast_ref::<ManagedTensor>().unwrap();
            tensor.as_slice::<f32>().unwrap().to_vec()
        };
        let factor = values(factor)[0];
        let scaled: Vec<_> = values(slice).iter().map(|one| one * factor).collect();
        Ok(array(&scaled, &[scaled.len()]))
    };
    let made = call_by_slice(&registry, options, given, scaled).unwrap();
    assert_eq!(made.describe().unwrap().layout.shape(), [2, 2]);
    assert_eq!(elements::<f32>(made), [10.0, 20.0, 30.0, 40.0]);

    let options = options.dtype(DtypeConversion::Uint8).rescale(Rescale::MinMax);
    let given = vec![array(&[0.0_f32, 1.0, 2.0, 4.0], &[2, 2]), array(&[1.0_f32], &[1])];
    let made = call_by_slice(&registry, options, given, scaled).unwrap();
    assert_eq!(elements::<u8>(made), [0, 63, 127, 255]);
}

#[test]
fn the_functions_own_error_ends_it() {
    let registry = registry();
    let mut calls = 0;
    let error = call_by_slice(
        &registry,
        CallOptions::new("f"),
        vec![array(&[1_u8, 2, 3], &[3, 1])],
        |_| {
            calls += 1;
            Err(Error::Unsupported { what: "that slice".to_owned(), remedy: "none".to_owned() })
        },
    );
    assert!(error.unwrap_err().to_string().contains("that slice"));
    assert_eq!(calls, 1);
    let none =
        call_by_slice(&registry, CallOptions::new("f"), vec![], |_| Ok(array(&[1_u8], &[1])));
    assert!(none.unwrap_err().to_string().contains("one is needed"));
}
