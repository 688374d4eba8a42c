//! A program that links no backend: it compiles, and is told what to do.

use bridge_convert::ConvertByName;
use bridge_core::{Array, Error, ManagedTensor, Options, Registry};

#[test]
fn a_program_without_backends_is_told_how_to_get_one() {
    let registry = Registry::global().unwrap();
    assert!(registry.backends().is_empty());
    assert!(registry.detect(&1.0_f32).is_none());

    let tensor = ManagedTensor::from_vec(vec![1_u8, 2], &[2]).unwrap();
    let refused = registry.convert(Array::new(tensor), "torch", Options::default()).unwrap_err();
    let text = refused.to_string();
    assert!(text.contains("no backend \"torch\"") && text.contains("Cargo feature"), "{text}");

    let array = refused.into_value();
    let tensor = array.downcast::<ManagedTensor>().unwrap();
    assert_eq!(tensor.as_slice::<u8>().unwrap(), [1, 2], "the input comes back");
}

#[test]
fn a_program_without_host_tools_is_told_so_when_it_copies() {
    use bridge_convert::Convert;
    use bridge_core::CopyPolicy;
    let tensor = ManagedTensor::from_vec(vec![1_u8, 2], &[2]).unwrap();
    let address = tensor.data();
    let options = Options::default().copy(CopyPolicy::Always);
    let refused = tensor.convert_to::<ManagedTensor>(options).unwrap_err();
    assert!(matches!(refused.error(), Error::Unsupported { .. }), "{refused}");
    assert!(refused.to_string().contains("bridge-host"), "{refused}");
    assert_eq!(refused.into_value().data(), address);
}
