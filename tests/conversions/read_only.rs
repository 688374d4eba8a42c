//! Read-only is enforced: writing needs unique ownership.

use arraybridge::backends::ndarray::SharedArray;
use arraybridge::{Access, Convert, Error, ManagedTensor, TensorError};
use candle_core::{Device, Tensor};
use ndarray::array;

fn is_refused(shared: &mut SharedArray<f32>, word: &str) {
    let error = shared.view_mut().unwrap_err();
    assert!(matches!(error, Error::Tensor(TensorError::NotWritable { .. })), "{error}");
    assert!(error.to_string().contains(word), "{error}");
}

#[test]
fn what_candle_gives_out_cannot_be_written() {
    let tensor = Tensor::zeros(3, candle_core::DType::F32, &Device::Cpu).unwrap();
    let mut shared: SharedArray<f32> = tensor.convert().unwrap();
    assert!(shared.is_read_only());
    is_refused(&mut shared, "read-only");
    let mut copy = shared.try_to_owned().unwrap();
    copy[0] = 1.0;
}

#[test]
fn clones_forbid_writing_and_the_last_one_may_again() {
    let mut shared = SharedArray::from(array![1.0_f32, 2.0]);
    let clone = shared.clone();
    is_refused(&mut shared, "clones");
    let alias: ManagedTensor = clone.convert().unwrap();
    assert_eq!(alias.access(), Access::ReadOnly, "an exported clone is read-only");
    is_refused(&mut shared, "clones");
    drop(alias);
    shared.view_mut().unwrap()[0] = 5.0;
    assert_eq!(shared.view()[0], 5.0);
}

#[test]
fn aliases_and_broadcasts_are_read_only() {
    let tensor = ManagedTensor::from_vec(vec![1.0_f32], &[1]).unwrap().into_shared();
    let mut alias: SharedArray<f32> = ManagedTensor::alias(&tensor).convert().unwrap();
    is_refused(&mut alias, "read-only");
    let tensor = ManagedTensor::from_vec(vec![1.0_f32], &[1]).unwrap();
    let repeated = tensor.broadcast_to(&[4]).unwrap();
    let mut repeated: SharedArray<f32> = repeated.convert().unwrap();
    is_refused(&mut repeated, "repeated");
    // A repeated element cannot be moved into a vector either: it is copied out.
    let owned: ndarray::ArrayD<f32> = repeated.convert().unwrap();
    assert_eq!(owned, array![1.0, 1.0, 1.0, 1.0].into_dyn());
}

#[test]
fn a_read_only_vector_is_copied_not_moved_into_an_owned_array() {
    let tensor = ManagedTensor::from_vec(vec![1.0_f32, 2.0], &[2]).unwrap().into_read_only();
    let address = tensor.first_element();
    let shared: SharedArray<f32> = tensor.convert().unwrap();
    assert_eq!(shared.as_ptr().cast::<u8>(), address.cast_const(), "viewed in place");
    let owned: ndarray::Array1<f32> = shared.convert().unwrap();
    assert_ne!(owned.as_ptr().cast::<u8>(), address.cast_const(), "an owned array is writable");
}

#[cfg(feature = "torch")]
#[test]
fn memory_that_candle_lent_to_torch_is_candles_own_again() {
    use arraybridge::{CopyPolicy, Options};

    let never = Options::default().copy(CopyPolicy::Never);
    // SAFETY: nothing here writes to what is converted.
    let promised = unsafe { never.ignore_read_only() };
    let candle = Tensor::new(&[1_f32, 2.0], &Device::Cpu).unwrap();
    let (again, id) = (candle.clone(), candle.id());
    let torch: tch::Tensor = candle.convert_to(promised).unwrap();
    let back: Tensor = torch.convert_to(never).unwrap();
    assert_eq!(back.id(), id, "the very tensor, and no copy");
    // Lent anew and handed on: read-only, as it was.
    let torch: tch::Tensor = again.convert_to(promised).unwrap();
    let handed_on: ManagedTensor = torch.convert().unwrap();
    assert_eq!(handed_on.access(), Access::ReadOnly);
}
