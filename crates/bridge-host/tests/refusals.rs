//! What copy, cast and allocation refuse, and what they take at the edges.

use std::ptr;

use bridge_core::{
    Access, DataType, Device, DeviceKind, Error, HostTools, Layout, ManagedTensor, Overflow, Owner,
    Stream, TensorError, TensorSpec,
};
use bridge_host::{HostKernels, copy, to_row_major, zeroed};

fn zeros(data_type: DataType, shape: &[usize]) -> ManagedTensor {
    zeroed(&TensorSpec::row_major(data_type, shape).unwrap(), 64).unwrap()
}

#[test]
fn shapes_and_element_types_must_agree() {
    let source = zeros(DataType::F32, &[2, 3]);
    let error = copy(&source, &mut zeros(DataType::F32, &[3, 2])).unwrap_err();
    assert!(matches!(error, Error::Mismatch { what: "shape", .. }), "{error}");
    assert!(error.to_string().contains("[3, 2]") && error.to_string().contains("[2, 3]"));
    let error = copy(&source, &mut zeros(DataType::F64, &[2, 3])).unwrap_err();
    assert!(matches!(error, Error::Mismatch { what: "data type", .. }), "{error}");
    let ones = ManagedTensor::from_vec(vec![1_f32; 6], &[2, 3]).unwrap();
    let mut wide = zeros(DataType::F64, &[2, 3]);
    HostKernels.cast(&ones, &mut wide, Overflow::Refuse).unwrap();
    assert_eq!(wide.as_slice::<f64>().unwrap(), [1.0; 6]);
}

#[test]
fn targets_must_be_exclusively_writable_and_have_each_element_once() {
    let source = zeros(DataType::F32, &[4]);
    let mut read_only = zeros(DataType::F32, &[4]).into_read_only();
    let error = HostKernels.copy(&source, &mut read_only).unwrap_err();
    assert!(matches!(error, Error::Tensor(TensorError::NotWritable { .. })), "{error}");

    let mut memory = [0_f32; 4];
    let spec = TensorSpec::row_major(DataType::F32, &[4]).unwrap();
    let data = ptr::from_mut(&mut memory).cast();
    let part = |layout, access| {
        let spec = TensorSpec { layout, ..spec.clone() };
        // SAFETY: `memory` outlives the tensors of this test, which never write to it.
        unsafe { ManagedTensor::from_parts(data, spec, Device::CPU, access, Owner::nothing()) }
            .unwrap()
    };
    let mut shared = part(Layout::row_major(&[4]).unwrap(), Access::Shared);
    assert!(matches!(
        copy(&source, &mut shared),
        Err(Error::Tensor(TensorError::NotWritable { .. }))
    ));
    let mut repeated = part(Layout::new(&[4], &[0], 0).unwrap(), Access::Exclusive);
    assert!(matches!(
        copy(&source, &mut repeated),
        Err(Error::Tensor(TensorError::InvalidLayout { .. }))
    ));
}

#[test]
fn memory_of_other_devices_is_refused() {
    let spec = TensorSpec::row_major(DataType::F32, &[4]).unwrap();
    let address = ptr::without_provenance_mut(4096);
    let on_device = || {
        let (device, access) = (Device::cuda(0), Access::Exclusive);
        // SAFETY: the address stands for device memory, which nothing here touches.
        unsafe {
            ManagedTensor::from_parts(address, spec.clone(), device, access, Owner::nothing())
        }
        .unwrap()
    };
    let (mut device, other) = (on_device(), on_device());
    let unreadable = copy(&other, &mut device).unwrap_err();
    assert!(matches!(unreadable, Error::Tensor(TensorError::NotReadable { .. })), "{unreadable}");
    let unreadable = to_row_major(&device).unwrap_err();
    assert!(matches!(unreadable, Error::Tensor(TensorError::NotReadable { .. })), "{unreadable}");
    let host = zeros(DataType::F32, &[4]);
    let unreadable = copy(&host, &mut device).unwrap_err();
    assert!(matches!(unreadable, Error::Tensor(TensorError::NotReadable { .. })), "{unreadable}");
}

/// Memory of a device that the host can read, too, and what a stream still writes not yet.
#[test]
fn pinned_memory_is_copied_once_its_stream_is_done() {
    let mut numbers = [1_f32, 2.0, 3.0, 4.0];
    let data = ptr::from_mut(&mut numbers).cast();
    let spec = TensorSpec::row_major(DataType::F32, &[4]).unwrap();
    let pinned = |stream, access| {
        let (device, owner) = (Device::new(DeviceKind::CudaHost, 0), Owner::nothing());
        // SAFETY: the numbers outlive the tensors of this test; the stream is handed to no driver.
        unsafe {
            ManagedTensor::from_parts(data, spec.clone(), device, access, owner)
                .unwrap()
                .ready_on(stream)
        }
    };
    let ready = pinned(None, Access::ReadOnly);
    assert_eq!(to_row_major(&ready).unwrap().as_slice::<f32>().unwrap(), [1.0, 2.0, 3.0, 4.0]);
    let stream = Some(Stream(7));
    let busy = pinned(stream, Access::Exclusive);
    let mut target = zeros(DataType::F32, &[4]);
    assert!(matches!(
        copy(&busy, &mut target),
        Err(Error::Tensor(TensorError::NotReadable { .. }))
    ));
    let mut busy = busy;
    assert!(matches!(
        copy(&target, &mut busy),
        Err(Error::Tensor(TensorError::NotReadable { .. }))
    ));
    let mut free = pinned(None, Access::Exclusive);
    copy(&target, &mut free).unwrap();
    assert_eq!(numbers, [0.0; 4]);
}

#[test]
fn empty_and_scalar_tensors_are_copied_and_cast() {
    for shape in [&[][..], &[0], &[3, 0, 2], &[1, 1]] {
        let source = zeros(DataType::F32, shape);
        assert_eq!(to_row_major(&source).unwrap().shape(), shape);
        let mut target = zeros(DataType::I8, shape);
        HostKernels.cast(&source, &mut target, Overflow::Refuse).unwrap();
    }
}

#[test]
fn zeroed_memory_is_aligned_and_zero() {
    let spec = TensorSpec::row_major(DataType::F64, &[5]).unwrap();
    let tensor = zeroed(&spec, 4096).unwrap();
    assert!(tensor.data().addr().is_multiple_of(4096));
    assert_eq!(tensor.as_slice::<f64>().unwrap(), [0.0; 5]);
    let backwards = TensorSpec { layout: Layout::new(&[5], &[-1], 32).unwrap(), ..spec.clone() };
    assert_eq!(to_row_major(&zeroed(&backwards, 8).unwrap()).unwrap().shape(), [5]);
    let before = TensorSpec { layout: Layout::new(&[5], &[-1], 0).unwrap(), ..spec };
    assert!(zeroed(&before, 8).is_err());
}

#[test]
#[cfg_attr(miri, ignore)] // Miri has no allocator that fails
fn memory_that_cannot_be_had_is_an_error() {
    let huge = TensorSpec::row_major(DataType::U8, &[1 << 50]).unwrap();
    assert!(matches!(zeroed(&huge, 8), Err(Error::Tensor(TensorError::OutOfMemory { .. }))));
}

#[test]
fn copies_can_become_vectors() {
    let matrix = ManagedTensor::from_vec(vec![1_i16, 2, 3, 4, 5, 6], &[2, 3]).unwrap();
    let turned = to_row_major(&matrix.permuted(&[1, 0]).unwrap()).unwrap();
    let (memory, spec) = turned.into_host_memory().unwrap();
    // SAFETY: the copy wrote all six elements.
    let vec = unsafe { memory.into_vec::<i16>(spec.layout.element_count()) }.unwrap();
    assert_eq!(vec, [1, 4, 2, 5, 3, 6]);
}
