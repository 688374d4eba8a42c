//! Read-only memory and torch, which ignores that it is: class E of the bug bank.

use bridge_core::{Access, Convert, Copy, Error, ManagedTensor, NativeArray, Options, Reason};
use bridge_cpu::ndarray::SharedArray;
use bridge_host as _;
use bridge_torch::Torch;
use tch::Tensor;

fn read_only() -> ManagedTensor {
    ManagedTensor::from_vec(vec![1_f32, 2.0, 3.0], &[3]).unwrap().into_read_only()
}

#[test]
fn what_torch_writes_never_reaches_read_only_memory() {
    // pytorch#5442, jax#19183: a warning, and then the write went through.
    let source = read_only().into_shared();
    let mut torch: Tensor = ManagedTensor::alias(&source).convert().unwrap();
    let _ = torch.fill_(9.0);
    assert_eq!(source.as_slice::<f32>().unwrap(), [1.0, 2.0, 3.0]);
}

#[test]
fn without_a_copy_it_is_refused_by_name() {
    let never = Options::default().copy(Copy::Never);
    let error = read_only().convert_to::<Tensor>(never).unwrap_err();
    let Error::WouldCopy { declined, .. } = error.error() else {
        panic!("{error}");
    };
    assert!(declined.iter().any(|one| one.reason == Reason::ReadOnly), "{error}");
    let refused = <Tensor as NativeArray<Torch>>::import(error.into_value()).unwrap_err();
    assert!(refused.to_string().contains("ignore_read_only"), "{refused}");
}

#[test]
fn who_says_so_by_name_shares_it() {
    let source = read_only();
    let place = source.data();
    let options = Options::default().copy(Copy::Never).ignore_read_only();
    let torch: Tensor = source.convert_to(options).unwrap();
    assert_eq!(torch.data_ptr(), place);
}

#[test]
fn a_write_through_torch_is_seen_where_memory_is_shared() {
    let array = ndarray::arr2(&[[1_i64, 2], [3, 4]]);
    let place = array.as_ptr();
    let mut torch: Tensor = array.convert().unwrap();
    assert_eq!(torch.data_ptr().cast_const().cast(), place);
    let alias = torch.shallow_clone();
    let _ = torch.fill_(7);
    let shared: SharedArray<i64> = alias.convert().unwrap();
    assert_eq!((shared.view().as_ptr(), shared.view().sum()), (place, 28));
}

#[test]
fn memory_that_torch_shares_gives_no_rust_slice_to_write() {
    let torch = Tensor::from_slice(&[1_f32, 2.0]);
    let alias = torch.shallow_clone();
    let mut exported: ManagedTensor = torch.convert().unwrap();
    assert_eq!(exported.access(), Access::Shared);
    assert!(matches!(exported.as_mut_slice::<f32>(), Err(Error::NotWritable { .. })));
    drop(alias);
}

#[test]
fn a_lazily_copied_tensor_is_copied_before_it_can_be_written_elsewhere() {
    let first = Tensor::from_slice(&[1_f32, 2.0]);
    let second = first.internal_lazy_clone();
    let mut other: Tensor = second.convert::<ManagedTensor>().unwrap().convert().unwrap();
    let _ = other.fill_(5.0);
    assert_eq!(Vec::<f32>::try_from(first).unwrap(), [1.0, 2.0]);
}
