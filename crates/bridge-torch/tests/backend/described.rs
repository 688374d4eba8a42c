//! What is said of a torch tensor before it is handed over is what is then handed over: the first law
//! of array types, for what only torch has.

use bridge_convert::Convert;
use bridge_core::{
    Access, CopyPolicy, Description, Device, DeviceKind, ManagedTensor, NativeArray, Options,
    Ownership, TensorSpec,
};
use bridge_core::{DataType, Owner};
use bridge_torch::Torch;
use tch::Tensor;

#[track_caller]
fn given(tensor: Tensor) -> Description {
    let said = NativeArray::<Torch>::describe(&tensor).unwrap();
    let exported = NativeArray::<Torch>::export(tensor).unwrap();
    // Which Rust value keeps the memory is known only once it does.
    let given = Description { owner: None, ..exported.describe() };
    assert_eq!(said, given);
    given
}

fn vector() -> Tensor {
    ManagedTensor::from_vec(vec![1_f32; 6], &[2, 3]).unwrap().convert().unwrap()
}

/// Host memory that a driver would have pinned or manages.
fn pinned(kind: DeviceKind) -> Tensor {
    let mut elements = vec![1_f32; 6];
    let data = elements.as_mut_ptr().cast();
    let spec = TensorSpec::row_major(DataType::F32, &[2, 3]).unwrap();
    let device = Device::new(kind, 0);
    // SAFETY: the elements fill the vector, which the owner keeps and which nobody else holds.
    let tensor = unsafe {
        let owner = Owner::keep(elements);
        ManagedTensor::from_parts(data, spec, device, Access::Exclusive, owner)
    };
    tensor.unwrap().convert().unwrap()
}

fn transposed(mut tensor: Tensor) -> Tensor {
    let _ = tensor.transpose_(0, 1);
    tensor
}

#[test]
fn a_vector_is_movable_until_torch_permutes_it() {
    let whole = given(vector());
    assert_eq!((whole.ownership, whole.access), (Ownership::Movable, Access::Exclusive));
    assert_eq!(given(transposed(vector())).ownership, Ownership::Kept);
    let kept = vector();
    assert_eq!(given(kept.shallow_clone()).access, Access::Shared);
    let torchs = Tensor::from_slice(&[1_i64]);
    let other = torchs.shallow_clone();
    assert_eq!(given(torchs).access, Access::Shared);
    assert_eq!(given(other).access, Access::Exclusive, "no other handle is left");
}

#[test]
fn pinned_and_managed_memory_is_on_its_device_when_torch_gives_it_back() {
    // pytorch#96318, jax#37896: the device codes of pinned and managed memory.
    for kind in [DeviceKind::CudaHost, DeviceKind::RocmHost, DeviceKind::CudaManaged] {
        let device = Device::new(kind, 0);
        assert_eq!(given(pinned(kind)).device, device);
        assert_eq!(given(transposed(pinned(kind))).device, device);
        // Others of torch's hold it too: then it is what torch says of it.
        let kept = pinned(kind);
        assert_eq!(given(kept.get(0)).device, Device::CPU);
    }
}

#[test]
fn what_is_to_be_read_only_is_said_to_be() {
    let read_only = || ManagedTensor::from_vec(vec![1_f32; 2], &[2]).unwrap().into_read_only();
    let lent = || -> Tensor {
        let options = promised(Options::default().copy(CopyPolicy::Never));
        read_only().convert_to(options).unwrap()
    };
    assert_eq!(given(lent()).access, Access::ReadOnly);
    let kept = lent();
    assert_eq!(given(kept.shallow_clone()).access, Access::ReadOnly);
    let first = Tensor::from_slice(&[1_f32]);
    assert_eq!(given(first.internal_lazy_clone()).access, Access::ReadOnly);
    assert_eq!(given(first).access, Access::ReadOnly);
}

/// The options, with the promise that nobody writes to what is converted under them.
fn promised(options: Options) -> Options {
    // SAFETY: no test that asks for it writes to the result.
    unsafe { options.ignore_read_only() }
}
