//! What safe code can do to candle's tensors, and what then becomes of what was exported.
#![cfg(feature = "candle")]
#![forbid(unsafe_code)]

use bridge_convert::Convert;
use bridge_core::{Access, ManagedTensor, NativeArray, Refused};
use bridge_cpu::candle::Candle;
use bridge_host as _;
use candle_core::op::BackpropOp;
use candle_core::{CpuStorage, Device, InplaceOp1, Layout, Storage, Tensor};
use parking_lot::RwLockReadGuard;

fn numbers() -> Tensor {
    Tensor::new(&[1_f32, 2.0, 3.0, 4.0], &Device::Cpu).unwrap()
}

fn claimed(storage: CpuStorage, shape: &[usize]) -> Tensor {
    Tensor::from_storage(Storage::Cpu(storage), shape, BackpropOp::none(), false)
}

/// An in-place operation that leaves another storage behind.
struct Leave(fn() -> CpuStorage);

impl InplaceOp1 for Leave {
    fn name(&self) -> &'static str {
        "leave"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, _: &Layout) -> candle_core::Result<()> {
        *storage = (self.0)();
        Ok(())
    }
}

#[track_caller]
fn is_refused(tensor: Tensor, says: &str) {
    let described = NativeArray::<Candle>::describe(&tensor).unwrap_err().to_string();
    let refused: Refused<Tensor> = NativeArray::<Candle>::export(tensor).unwrap_err();
    assert_eq!(refused.error().to_string(), described);
    assert!(described.contains(says), "{described}");
    // What came back is usable, and not locked.
    refused.into_value().inplace_op1(&Leave(|| CpuStorage::F32(vec![0.0; 4]))).unwrap();
}

#[test]
fn a_shape_that_the_storage_does_not_hold_is_refused() {
    is_refused(claimed(CpuStorage::F32(vec![1.0]), &[1 << 32]), "takes 17179869184 bytes");
    is_refused(claimed(CpuStorage::F32(vec![1.0; 5]), &[2, 3]), "its storage has 20");
    is_refused(claimed(CpuStorage::F4(vec![0; 3]), &[8]), "takes 4 bytes");
    let part = claimed(CpuStorage::F32(vec![1.0; 9]), &[10]).narrow(0, 4, 6).unwrap();
    is_refused(part, "from element 4 on, takes 40 bytes");
    // All that the storage holds, and no element at all, are fine.
    let whole = claimed(CpuStorage::F32(vec![1.0; 6]), &[2, 3]);
    assert_eq!(whole.convert::<ManagedTensor>().unwrap().as_slice::<f32>().unwrap(), [1.0; 6]);
    let none = claimed(CpuStorage::F32(Vec::new()), &[0, 7]);
    assert_eq!(none.convert::<ManagedTensor>().unwrap().shape(), [0, 7]);
}

#[test]
fn what_an_in_place_operation_leaves_is_looked_at() {
    let other: fn() -> CpuStorage = || CpuStorage::F64(vec![1.0; 4]);
    let shorter: fn() -> CpuStorage = || CpuStorage::F32(vec![1.0; 3]);
    for (left, says) in [(other, "its storage holds float64"), (shorter, "its storage has 12")] {
        let tensor = numbers();
        tensor.inplace_op1(&Leave(left)).unwrap();
        is_refused(tensor, says);
    }
    let tensor = numbers();
    tensor.inplace_op1(&Leave(|| CpuStorage::F32(vec![9.0; 4]))).unwrap();
    assert_eq!(tensor.convert::<ManagedTensor>().unwrap().as_slice::<f32>().unwrap(), [9.0; 4]);
}

/// Whether an in-place operation would wait.
fn is_locked(tensor: &Tensor) -> bool {
    let (guard, _) = tensor.storage_and_layout();
    let lock = RwLockReadGuard::rwlock(&guard);
    drop(guard);
    lock.try_write().is_none()
}

#[test]
fn nobody_changes_or_frees_what_was_exported() {
    let tensor = numbers();
    let view = tensor.narrow(0, 1, 3).unwrap();
    let exported: ManagedTensor = view.convert().unwrap();
    assert_eq!(exported.access(), Access::ReadOnly);
    assert!(is_locked(&tensor), "an in-place operation could free the vector");
    assert_eq!(tensor.to_vec1::<f32>().unwrap()[0], 1.0, "other handles are read meanwhile");

    let writer = tensor.clone();
    let write = move || writer.inplace_op1(&Leave(|| CpuStorage::F32(vec![9.0; 4]))).unwrap();
    let writing = std::thread::spawn(write);
    assert_eq!(exported.as_slice::<f32>().unwrap(), [2.0, 3.0, 4.0]);
    drop(exported);
    writing.join().unwrap();
    assert_eq!(tensor.to_vec1::<f32>().unwrap(), [9.0; 4]);
    assert!(!is_locked(&tensor));
}

#[test]
fn the_lock_ends_on_whichever_thread_drops_the_memory_last() {
    let tensor = numbers();
    let exported: ManagedTensor = tensor.clone().convert().unwrap();
    let shared = exported.into_shared();
    let alias = ManagedTensor::alias(&shared);
    drop(shared);
    assert!(is_locked(&tensor));
    std::thread::spawn(move || drop(alias)).join().unwrap();
    assert!(!is_locked(&tensor));
}

#[test]
fn a_tensor_that_comes_back_is_unlocked_and_the_same() {
    let tensor = numbers();
    let exported = NativeArray::<Candle>::export(tensor.clone()).unwrap();
    let back: Tensor = NativeArray::<Candle>::import(exported).unwrap();
    assert!(!is_locked(&tensor));
    assert_eq!(back.id(), tensor.id());
}
