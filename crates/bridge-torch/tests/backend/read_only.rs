//! Read-only memory and torch, which ignores that it is: class E of the bug bank.

use bridge_convert::Convert;
use bridge_core::{
    Access, CopyPolicy, Error, ManagedTensor, NativeArray, Options, Reason, TensorError,
};
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
    let never = Options::default().copy(CopyPolicy::Never);
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
    let options = promised(Options::default().copy(CopyPolicy::Never));
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
    assert_eq!((shared.as_ptr(), shared.try_to_owned().unwrap().sum()), (place, 28));
}

#[test]
fn memory_that_torch_shares_gives_no_rust_slice_to_write() {
    let torch = Tensor::from_slice(&[1_f32, 2.0]);
    let alias = torch.shallow_clone();
    let mut exported: ManagedTensor = torch.convert().unwrap();
    assert_eq!(exported.access(), Access::Shared);
    assert!(matches!(exported.as_mut_slice::<f32>(), Err(TensorError::NotWritable { .. })));
    drop(alias);
}

#[test]
fn memory_that_was_read_only_is_read_only_again_when_torch_gives_it_back() {
    // Who said that nobody will write said it of torch, not of the next framework.
    type Handle = fn(&Tensor) -> Tensor;
    let handles: [(&str, Handle); 3] = [
        ("the same", Tensor::shallow_clone),
        ("a row", |tensor| tensor.get(0)),
        ("a permuted one", Tensor::tr),
    ];
    let lent = || -> Tensor {
        let source = ManagedTensor::from_vec(vec![1_f32; 6], &[2, 3]).unwrap().into_read_only();
        source.convert_to(promised(Options::default().copy(CopyPolicy::Never))).unwrap()
    };
    for (what, handle) in handles {
        for alone in [true, false] {
            let torch = lent();
            let other = handle(&torch);
            let keeper = (!alone).then_some(torch);
            let mut exported: ManagedTensor = other.convert().unwrap();
            assert_eq!(exported.access(), Access::ReadOnly, "{what}, alone: {alone}");
            assert!(exported.as_mut_slice::<f32>().is_err(), "{what}, alone: {alone}");
            assert!(exported.into_vec::<f32>().is_err(), "{what}, alone: {alone}");
            drop(keeper);
        }
    }
    let exported: ManagedTensor = lent().convert().unwrap();
    let error =
        exported.convert_to::<Tensor>(Options::default().copy(CopyPolicy::Never)).unwrap_err();
    assert!(error.to_string().contains("read-only"), "torch has to be allowed anew: {error}");
}

#[test]
fn memory_that_was_writable_comes_back_so_though_read_only_would_have_been_ignored() {
    let writable = ManagedTensor::from_vec(vec![1_f32; 2], &[2]).unwrap();
    let torch: Tensor = writable.convert_to(promised(Options::default())).unwrap();
    let exported: ManagedTensor = torch.convert().unwrap();
    assert_eq!(exported.access(), Access::Exclusive);
}

/// Two tensors that have one memory until one of them is written.
fn lazily_copied() -> (Tensor, Tensor) {
    let first = Tensor::from_slice(&[1_f32, 2.0]);
    let second = first.internal_lazy_clone();
    (first, second)
}

#[test]
fn a_lazily_copied_tensor_is_shared_to_be_read_and_the_copy_is_not_made() {
    let (first, second) = lazily_copied();
    let never = Options::default().copy(CopyPolicy::Never);
    let (one, report) = first.convert_reported::<SharedArray<f32>>(never).unwrap();
    let other: ManagedTensor = second.convert_to(never).unwrap();
    assert_eq!(
        (report.bytes_copied, one.view().as_ptr().cast()),
        (0, other.first_element().cast_const())
    );
    assert_eq!(
        (other.access(), other.as_slice::<f32>().unwrap()),
        (Access::ReadOnly, &[1.0, 2.0][..])
    );
}

#[test]
fn it_stays_where_it_is_while_torch_makes_the_copies() {
    let (mut first, second) = lazily_copied();
    let mut alias = second.shallow_clone();
    let shared: SharedArray<f32> = second.convert().unwrap();
    // Both storages get memory of their own; nobody of torch's has the first any more.
    let _ = (alias.fill_(8.0), first.fill_(9.0));
    drop((alias, first));
    let again = Tensor::from_slice(&[7_f32, 7.0]);
    assert_eq!(shared.view().as_slice().unwrap(), [1.0, 2.0]);
    drop(again);
}

#[test]
fn it_comes_back_to_torch_as_the_tensor_it_was() {
    let (first, second) = lazily_copied();
    let alias = second.shallow_clone();
    let exported = <Tensor as NativeArray<Torch>>::export(second).unwrap();
    let mut back = <Tensor as NativeArray<Torch>>::import(exported).unwrap();
    let _ = back.fill_(5.0);
    assert_eq!(Vec::<f32>::try_from(alias).unwrap(), [5.0, 5.0]);
    assert_eq!(Vec::<f32>::try_from(first).unwrap(), [1.0, 2.0]);
}

#[test]
fn handed_on_to_torch_it_is_copied_before_it_can_be_written() {
    let (first, second) = lazily_copied();
    let mut other: Tensor = second.convert::<ManagedTensor>().unwrap().convert().unwrap();
    let _ = other.fill_(5.0);
    assert_eq!(Vec::<f32>::try_from(first).unwrap(), [1.0, 2.0]);
}

/// The options, with the promise that nobody writes to what is converted under them.
fn promised(options: Options) -> Options {
    // SAFETY: no test that asks for it writes to the result.
    unsafe { options.ignore_read_only() }
}
