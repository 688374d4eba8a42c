//! Mistakes of other bridges that no other test shows: see docs/known-bugs.md.

use std::ptr::NonNull;

use bridge_tensor::dlpack::DLManagedTensorVersioned;
use bridge_tensor::{
    Access, DataType, Device, DeviceKind, Layout, ManagedTensor, Owner, TensorSpec,
};

type Header = NonNull<DLManagedTensorVersioned>;

/// What a C consumer reads of a header of this rank: shape and strides.
fn shape_and_strides(header: Header, rank: usize) -> (Vec<i64>, Vec<i64>) {
    // SAFETY: the header is live and of this rank, so both lists have that many values.
    unsafe {
        let seen = &header.as_ref().dl_tensor;
        let list = |values: *const i64| std::slice::from_raw_parts(values, rank).to_vec();
        (list(seen.shape), list(seen.strides))
    }
}

/// What a C consumer does that needs a tensor no longer.
fn let_go(header: Header) {
    // SAFETY: the header was just handed out, and its deleter is run this once.
    unsafe { (header.as_ref().deleter.unwrap())(header.as_ptr()) };
}

#[test]
fn each_export_has_a_header_of_its_own_until_its_deleter_runs() {
    // cudnn-frontend#547: one header for two exports.
    let whole = ManagedTensor::from_vec((0..6_i32).collect(), &[2, 3]).unwrap();
    let turned = whole.permuted(&[1, 0]).unwrap().into_shared();
    let first = ManagedTensor::alias(&turned).permuted(&[1, 0]).unwrap().into_dlpack();
    let second = ManagedTensor::alias(&turned).into_dlpack();
    drop(turned);
    assert_eq!(shape_and_strides(first, 2), (vec![2, 3], vec![3, 1]));
    let_go(first);
    assert_eq!(shape_and_strides(second, 2), (vec![3, 2], vec![1, 3]));
    // SAFETY: the header is live; its sixth element is the last of the vector.
    assert_eq!(unsafe { *second.as_ref().dl_tensor.data.cast::<i32>().add(5) }, 5);
    let_go(second);
}

#[test]
fn strides_of_extents_of_one_go_out_as_they_came_in() {
    // Paddle#77052, pytorch#99803: they were rewritten, and consumers broke.
    for first in [24, 1, 0, 7] {
        let layout = Layout::new(&[1, 2, 3, 4], &[first, 12, 4, 1], 0).unwrap();
        let tensor = ManagedTensor::from_vec_with_layout(vec![1_f32; 24], layout).unwrap();
        let header = tensor.into_dlpack();
        let strides = [first as i64, 12, 4, 1];
        assert_eq!(shape_and_strides(header, 4), (vec![1, 2, 3, 4], strides.to_vec()));
        // SAFETY: the header was just handed out, and is handed back.
        let back = unsafe { ManagedTensor::from_dlpack(header.as_ptr()) }.unwrap();
        assert_eq!(back.layout().strides(), [first, 12, 4, 1]);
    }
}

#[test]
fn the_kind_and_the_ordinal_of_a_device_go_out_and_come_in() {
    // mahout#744, cuvs#2239, Paddle#68549: the ordinal was always 0. cuda-python#1863, MatX#1240:
    // managed memory under the number of another kind. The numbers are those of dlpack.h.
    let kinds = [
        (DeviceKind::Cuda, 2),
        (DeviceKind::CudaHost, 3),
        (DeviceKind::Rocm, 10),
        (DeviceKind::RocmHost, 11),
        (DeviceKind::CudaManaged, 13),
    ];
    static MEMORY: [f32; 2] = [1.0, 2.0];
    for (kind, number) in kinds {
        for ordinal in [0, 1, 7] {
            let device = Device::new(kind, ordinal);
            let spec = TensorSpec::row_major(DataType::F32, &[2]).unwrap();
            let data = MEMORY.as_ptr().cast_mut().cast();
            // SAFETY: the memory is static and nobody writes to it; nothing reads it as the
            // device's.
            let tensor = unsafe {
                let owner = Owner::nothing();
                ManagedTensor::from_parts(data, spec, device, Access::ReadOnly, owner)
            };
            let header = tensor.unwrap().into_dlpack();
            // SAFETY: the header is live.
            let seen = unsafe { header.as_ref() }.dl_tensor.device;
            assert_eq!((seen.device_type.0, seen.device_id), (number, ordinal as i32));
            // SAFETY: the header was just handed out, and is handed back.
            let back = unsafe { ManagedTensor::from_dlpack(header.as_ptr()) }.unwrap();
            assert_eq!(back.device(), device);
        }
    }
}

#[test]
fn owners_and_tensors_cannot_be_cloned() {
    // RUSTSEC-2022-0012: an owner that was `Clone`, and so freed its memory twice.
    trait IsAmbiguousIfClone<A> {
        fn is_not_clone() {}
    }
    impl<T> IsAmbiguousIfClone<()> for T {}
    struct Cloned;
    impl<T: Clone> IsAmbiguousIfClone<Cloned> for T {}
    // Each line compiles as long as the type is not `Clone`.
    <Owner as IsAmbiguousIfClone<_>>::is_not_clone();
    <ManagedTensor as IsAmbiguousIfClone<_>>::is_not_clone();
}
