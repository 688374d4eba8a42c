//! What safe code can do with other handles of a tensor that was handed out: the memory stays valid,
//! and where it is, and safe Rust sees no element that they may write.
#![forbid(unsafe_code)]

use bridge_convert::Convert;
use bridge_core::{Access, CopyPolicy, DataType, Error, ManagedTensor, NativeArray, Options};
use bridge_cpu::ndarray::SharedArray;
use bridge_host as _;
use bridge_torch::Torch;
use ndarray::{ArrayD, array};
use tch::{Kind, Tensor};

fn numbers() -> Tensor {
    Tensor::from_slice(&[1_f32, 2.0, 3.0, 4.0])
}

/// Memory of a vector of Rust's.
fn imported() -> Tensor {
    ManagedTensor::from_vec(vec![1_f32, 2.0, 3.0, 4.0], &[4]).unwrap().convert().unwrap()
}

/// Much memory that is written at once, so that what was freed is not what it was.
fn reuse_freed_memory() -> Vec<Tensor> {
    (0..64).map(|_| Tensor::full([4], 9.0, (Kind::Float, tch::Device::Cpu))).collect()
}

fn elements_of(exported: &ManagedTensor) -> Vec<u8> {
    bridge_testkit::bytes_of(exported)
}

fn bytes(elements: [f32; 4]) -> Vec<u8> {
    elements.into_iter().flat_map(f32::to_ne_bytes).collect()
}

type Change = fn(Tensor);

/// What safe code does to another handle of the tensor that was handed out.
const CHANGES: [(&str, Change); 4] = [
    ("set_data", |mut other| other.set_data(&Tensor::zeros([2], (Kind::Float, tch::Device::Cpu)))),
    ("set_", |mut other| drop(other.set_source_tensor_(&numbers().neg()))),
    ("resize_", |mut other| drop(other.f_resize_([1 << 20]))),
    ("a lazy clone that is written to", |mut other| {
        let clone = other.f_internal_lazy_clone();
        // Where there is a clone, the memory is its own from here on.
        if clone.is_ok() {
            let _ = other.fill_(7.0);
        }
    }),
];

#[test]
fn what_was_handed_out_stays_valid_whatever_becomes_of_other_handles() {
    for make in [numbers, imported] {
        for (what, change) in CHANGES {
            let torch = make();
            let other = torch.shallow_clone();
            let exported: ManagedTensor = torch.convert().unwrap();
            change(other);
            let _others = reuse_freed_memory();
            assert_eq!(elements_of(&exported), bytes([1.0, 2.0, 3.0, 4.0]), "{what}");
            // It comes back as what was handed out, not as what the other handle has made of it.
            let back: Tensor = exported.convert().unwrap();
            assert_eq!(Vec::<f32>::try_from(back).unwrap(), [1.0, 2.0, 3.0, 4.0], "{what}");
        }
    }
}

#[test]
fn a_handle_that_nobody_changed_comes_back_itself() {
    let torch = numbers();
    let other = torch.shallow_clone();
    let exported = NativeArray::<Torch>::export(torch).unwrap();
    let mut back: Tensor = NativeArray::<Torch>::import(exported).unwrap();
    let _ = back.unsqueeze_(0);
    assert_eq!(other.size(), [1, 4], "the same tensor of torch's");
}

#[test]
fn the_last_holder_frees_the_memory() {
    let drops = bridge_testkit::DropCounter::new();
    let tensor = ManagedTensor::from_vec(vec![1_f32; 4], &[4]).unwrap();
    let tensor = bridge_testkit::foreign::ForeignTensor::of(tensor, &drops).into_managed();
    let torch: Tensor = tensor.convert().unwrap();
    let mut other = torch.shallow_clone();
    let exported: ManagedTensor = torch.convert().unwrap();
    other.set_data(&numbers());
    drop(other);
    assert_eq!(drops.drops(), 0);
    std::thread::spawn(move || drop(exported)).join().unwrap();
    assert_eq!(drops.drops(), 1);
}

#[test]
fn memory_that_one_handle_holds_is_rusts_to_write() {
    let mut shared: SharedArray<f32> = numbers().convert().unwrap();
    shared.view_mut().unwrap()[0] = 10.0;
    let back: Tensor = shared.convert().unwrap();
    assert_eq!(back.double_value(&[0]), 10.0);
    // It is so again when the other holders are gone.
    let torch = numbers();
    let other = torch.shallow_clone();
    let exported: ManagedTensor = torch.convert().unwrap();
    assert_eq!(exported.access(), Access::Shared);
    drop(exported);
    assert_eq!(other.convert::<ManagedTensor>().unwrap().access(), Access::Exclusive);
}

#[test]
fn rust_sees_no_memory_that_torch_may_write() {
    let torch = numbers();
    let mut other = torch.shallow_clone();
    let shared: SharedArray<f32> = torch.convert().unwrap();
    let error = shared.try_view().unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");
    let _ = other.fill_(7.0);
    assert_eq!(shared.try_to_owned().unwrap(), array![7.0, 7.0, 7.0, 7.0].into_dyn());
}

#[test]
fn bytes_that_torch_wrote_are_looked_at_before_they_are_bools() {
    let flags = Tensor::from_slice(&[true, false]);
    let mut bytes = flags.view_dtype(Kind::Uint8);
    let shared: SharedArray<bool> = flags.convert().unwrap();
    assert_eq!(shared.try_to_owned().unwrap(), array![true, false].into_dyn());
    let _ = bytes.fill_(2);
    let error = shared.try_to_owned().unwrap_err();
    assert!(error.to_string().contains("only 0 and 1"), "{error}");
    // A conversion that fails gives the array back.
    let never = Options::default().copy(CopyPolicy::Never);
    let shared = shared.convert_to::<ArrayD<bool>>(never).unwrap_err().into_value();
    let to = Options::default().cast(DataType::F32);
    assert!(shared.convert_to::<ArrayD<bool>>(to).is_err());
    let _ = bytes.fill_(1);
}
