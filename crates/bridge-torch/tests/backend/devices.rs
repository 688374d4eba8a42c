//! CUDA devices on a machine that has none: an error that says why, and the array back.

use bridge_convert::Convert;
use bridge_convert::ConvertByName;
use bridge_core::{Array, Backend, Device, Error, ManagedTensor, Options, Registry, Unavailable};
use bridge_host as _;
use bridge_torch::Torch;
use tch::Tensor;

/// What doctor shows; nothing where there is a GPU.
fn why_there_is_none() -> Option<String> {
    Torch.details().into_iter().find(|detail| detail.name == "no CUDA").map(|detail| detail.value)
}

#[track_caller]
fn says_why(error: &Error, why: &str) {
    let Error::Unavailable { backend, why: Unavailable { reason, remedy } } = error else {
        panic!("{error}");
    };
    assert_eq!(*backend, "torch");
    assert!(reason.contains("cuda:0") && reason.contains(why), "{reason}");
    assert!(!remedy.is_empty());
}

#[test]
fn conversions_by_type_and_by_name_say_why_and_give_the_array_back() {
    let Some(why) = why_there_is_none() else {
        return;
    };
    let asked = Options::default().on(Device::cuda(0));
    let tensor = ManagedTensor::from_vec(vec![1_f32, 2.0], &[2]).unwrap();
    let place = tensor.data();
    let refused = tensor.convert_to::<Tensor>(asked).unwrap_err();
    says_why(refused.error(), &why);
    let array = Array::new(refused.into_value());
    let refused = Registry::global().unwrap().convert(array, "torch", asked).unwrap_err();
    says_why(refused.error(), &why);
    let tensor: ManagedTensor = refused.into_value().downcast().unwrap();
    assert_eq!(tensor.data(), place);
}

#[test]
fn the_public_figures_say_why() {
    if let Some(why) = why_there_is_none() {
        says_why(&bridge_torch::cached_memory(Device::cuda(0)).unwrap_err(), &why);
    }
}
