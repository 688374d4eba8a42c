//! Calls without the attribute.

use std::collections::{BTreeMap, HashMap};

use bridge_convert::ConvertByName;
use bridge_core::{Array, DataType, Error, ManagedTensor, Options, Registry, Result};
use bridge_memory::call::{
    Call, CallOptions, DtypeConversion, Rescale, Untouched, call, check_contract,
};
use bridge_testkit::fake_accelerator::DEVICES;

use crate::support::{array, elements, registry, tensor};

fn on_device(registry: &Registry, device: usize) -> Array {
    let options = Options::default().on(DEVICES[device]);
    registry.convert(array(&[1.0_f32, 2.0], &[2]), "fake", options).unwrap()
}

/// Hands the arrays back, in the backend that they came in.
fn same(arrays: &[Array]) -> Result<Vec<Array>> {
    let made = arrays.iter().map(|one| {
        let found = one.describe()?;
        assert_eq!(found.data_type, DataType::F32);
        Ok(array(&[0.5_f32, 300.0], &[2]))
    });
    made.collect()
}

#[test]
fn arguments_are_converted_in_and_results_out() {
    let registry = registry();
    let options = CallOptions::new("f").on("fake").device(DEVICES[1]).output("ndarray");
    let given = vec![array(&[1.0_f32, 2.0], &[2]), on_device(&registry, 0)];
    let mut seen = Vec::new();
    let (first, count) = call(&registry, options, given, |arrays| {
        seen = arrays
            .iter()
            .map(|one| (one.descriptor().name, one.describe().unwrap().device))
            .collect();
        Ok((same(arrays)?.remove(0), arrays.len()))
    })
    .unwrap();
    assert_eq!(seen, [("fake-accelerator", DEVICES[1]); 2]);
    assert_eq!((first.descriptor().name, count), ("ndarray", 2));
    assert_eq!(elements::<f32>(first), [0.5, 300.0]);
}

#[test]
fn arrays_on_different_devices_are_refused_by_name_unless_a_device_is_named() {
    let registry = registry();
    let given = || vec![on_device(&registry, 0), on_device(&registry, 1)];
    let options = CallOptions::new("join").on("fake");
    let error = call(&registry, options, given(), same).unwrap_err().to_string();
    for part in ["extension:0 for `array 0`", "extension:1 for `array 1`", "`join`"] {
        assert!(error.contains(part), "{error}");
    }
    call(&registry, options.device(DEVICES[0]), given(), same).unwrap();
    let with_host = vec![array(&[1.0_f32], &[1]), on_device(&registry, 0)];
    let error = call(&registry, options, with_host, same).unwrap_err().to_string();
    assert!(error.contains("cpu for `array 0`, extension:0 for `array 1`"), "{error}");
}

#[test]
fn arguments_of_another_backend_than_asked_for_are_refused() {
    let registry = registry();
    let options = CallOptions::new("f").input("ndarray");
    let error =
        call(&registry, options, vec![array(&[1.0_f32], &[1])], same).unwrap_err().to_string();
    assert!(
        error.contains("`array 0` of `f`, of \"dlpack\"") && error.contains("\"ndarray\""),
        "{error}"
    );
}

#[test]
fn element_types_of_results_follow_the_mode_and_the_rule() {
    let registry = registry();
    let of = |mode, rule| {
        let options = CallOptions::new("f").dtype(mode).rescale(rule);
        let given = vec![array(&[1.0_f32, 2.0], &[2])];
        call(&registry, options, given, same).map(|mut all| all.remove(0))
    };
    use DtypeConversion as Mode;
    assert_eq!(elements::<f32>(of(Mode::NativeOutput, Rescale::Refuse).unwrap()), [0.5, 300.0]);
    assert_eq!(elements::<f64>(of(Mode::Float64, Rescale::Refuse).unwrap()), [0.5, 300.0]);
    assert_eq!(elements::<u8>(of(Mode::Uint8, Rescale::Saturate).unwrap()), [0, 255]);
    assert_eq!(elements::<i16>(of(Mode::Int16, Rescale::MinMax).unwrap()), [-32_768, 32_639]);
    let error = of(Mode::Uint8, Rescale::Refuse).unwrap_err().to_string();
    assert!(error.contains("element 1 is 300"), "{error}");
}

#[test]
fn preserve_gives_results_the_first_arrays_type_on_their_own_device() {
    let registry = registry();
    let bytes =
        registry.convert(array(&[1_u8], &[1]), "fake", Options::default().on(DEVICES[0])).unwrap();
    let options = CallOptions::new("f").dtype(DtypeConversion::PreserveInput);
    for rule in [Rescale::Saturate, Rescale::MinMax] {
        let made = call(&registry, options.rescale(rule), vec![on_device(&registry, 0)], |_| {
            Ok(on_device(&registry, 0))
        });
        assert_eq!(made.unwrap().describe().unwrap().data_type, DataType::F32);
    }
    let options = options.rescale(Rescale::MinMax);
    let made = call(&registry, options, vec![bytes], |_| Ok(on_device(&registry, 1))).unwrap();
    let found = made.describe().unwrap();
    assert_eq!((found.data_type, found.device), (DataType::U8, DEVICES[1]));
}

#[test]
fn every_part_of_a_result_is_converted_and_the_rest_stays() {
    let registry = registry();
    let options = CallOptions::new("f").dtype(DtypeConversion::Uint8);
    let call = Call::new(&registry, options);
    let one = || array(&[7.0_f32], &[1]);
    let made = (
        vec![one(), one()],
        Some(one()),
        Ok::<_, String>(one()),
        HashMap::from([("a", one())]),
        BTreeMap::from([(1, (one(), "text"))]),
        (true, 3_u64, String::from("owned"), Untouched(std::time::Duration::ZERO)),
    );
    let (many, maybe, well, hashed, mut ordered, plain) = call.result(made).unwrap();
    let all = many.into_iter().chain(maybe).chain(well).chain(hashed.into_values());
    let (last, text) = ordered.remove(&1).unwrap();
    for array in all.chain([last]) {
        assert_eq!(elements::<u8>(array), [7]);
    }
    assert_eq!((text, plain.0, plain.1, &*plain.2), ("text", true, 3, "owned"));
    let (none, failed): (Option<Array>, Result<Array, String>) =
        call.result((None::<Array>, Err::<Array, _>("why".to_owned()))).unwrap();
    assert!(none.is_none() && failed.unwrap_err() == "why");
}

#[test]
fn typed_arrays_become_other_types() {
    let registry = registry();
    let call = Call::new(&registry, CallOptions::new("f"));
    let result = (vec![tensor(&[1_u8, 2], &[2])], 4_i32);
    let (arrays, count): (Vec<ndarray::Array1<u8>>, i32) = call.result(result).unwrap();
    assert_eq!((&arrays[0], count), (&ndarray::arr1(&[1, 2]), 4));
}

#[test]
fn an_array_type_of_another_backend_than_the_functions_is_refused() {
    let registry = registry();
    let call = Call::new(&registry, CallOptions::new("blur").on("torch"));
    let error =
        call.argument::<_, ManagedTensor, _>(tensor(&[1_u8], &[1])).unwrap_err().to_string();
    for part in ["ManagedTensor of \"dlpack\"", "`blur` asks for \"torch\""] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_contract_says_whose_result_it_is_and_why() {
    let kept = |image: &[f32]| if image.is_empty() { Err("it is empty") } else { Ok(()) };
    assert!(check_contract("crop", &[1.0_f32][..], kept).is_ok());
    let error: Error = check_contract("crop", &[][..], kept).unwrap_err();
    assert!(error.to_string().contains("`crop` violates its contract"), "{error}");
    assert!(error.to_string().contains("it is empty"), "{error}");
}
