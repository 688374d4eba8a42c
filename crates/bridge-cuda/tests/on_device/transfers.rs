//! Copies keep every byte: pageable, pinned and managed memory, in any layout, in many pieces,
//! within a device and between devices.

use crate::support::{GPU, cuda};
use bridge_core::{DataType, Device, DeviceKind, ManagedTensor, Mapping, Runtime, TensorSpec};
use bridge_cuda::{Cuda, CudaArray, managed, pinned};
use bridge_testkit::bytes_of;
use proptest::prelude::*;

/// A host tensor whose bytes count up.
fn numbered(data_type: DataType, shape: &[usize]) -> ManagedTensor {
    let spec = TensorSpec::row_major(data_type, shape).unwrap();
    let tensor = bridge_host::zeroed(&spec, data_type.alignment()).unwrap();
    let bytes = spec.layout.compact_bytes(data_type).unwrap();
    for place in 0..bytes {
        // SAFETY: the tensor is new, with this many bytes, and nobody else's.
        unsafe { tensor.first_element().add(place).write((place % 251) as u8) };
    }
    tensor
}

/// Views of a tensor: what has to be packed in different ways.
fn view(tensor: ManagedTensor, which: usize) -> ManagedTensor {
    let rank = tensor.shape().len();
    let last = rank - 1;
    let extent = tensor.shape()[last];
    match which {
        0 => tensor,
        1 => tensor.permuted(&(0..rank).rev().collect::<Vec<_>>()).unwrap(),
        2 => tensor.sliced(last, extent - 1, extent, -1).unwrap(),
        3 => tensor.sliced(last, 0, extent.div_ceil(2), 2).unwrap(),
        4 => {
            let mut axes: Vec<usize> = (0..rank).collect();
            axes.rotate_left(1);
            tensor.permuted(&axes).unwrap()
        }
        _ => tensor.sliced(0, 1, 1, 1).unwrap(),
    }
}

fn check(data_type: DataType, shape: &[usize], which: usize) {
    let expected = bytes_of(&view(numbered(data_type, shape), which));
    let up = CudaArray::from_host(&view(numbered(data_type, shape), which), GPU).unwrap();
    assert_eq!(bytes_of(&up.to_host().unwrap()), expected, "up, view {which}");

    let whole = CudaArray::from_host(&numbered(data_type, shape), GPU).unwrap();
    let strided = CudaArray::from_tensor(view(whole.into_tensor(), which)).unwrap();
    assert_eq!(bytes_of(&strided.to_host().unwrap()), expected, "down, view {which}");
    let copy = strided.to_device(GPU).unwrap();
    assert!(copy.layout().is_row_major());
    assert_eq!(bytes_of(&copy.to_host().unwrap()), expected, "on the device, view {which}");
    if let Ok(there) = strided.to_device(Device::cuda(1)) {
        assert_eq!(bytes_of(&there.to_host().unwrap()), expected, "to a peer, view {which}");
    }
    let (host, _) = strided.download().unwrap().wait().unwrap();
    assert_eq!(bytes_of(&host), expected, "to pinned memory, view {which}");
}

#[test]
fn copies_in_many_pieces_keep_every_byte() {
    cuda();
    // More pieces than the two buffers that a copy has.
    for which in 0..=5 {
        check(DataType::F32, &[37, 201, 83], which);
    }
    check(DataType::U8, &[3_000_017], 0);
    check(DataType::C128, &[513, 300], 1);
    check(DataType::U16, &[1200, 1111], 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn any_shape_and_type_survives(
        shape in prop::collection::vec(1_usize..40, 1..4),
        which in 0_usize..6,
        data_type in prop::sample::select(vec![
            DataType::U8, DataType::I16, DataType::F32, DataType::C64, DataType::C128,
            DataType::F32.with_lanes(3).unwrap(),
        ]),
    ) {
        cuda();
        if which != 5 || shape[0] > 1 {
            let named = DataType::NAMED.contains(&data_type);
            if named {
                check(data_type, &shape, which);
            } else {
                // No array type has these, but the backend moves them.
                let host = view(numbered(data_type, &shape), which);
                let up = Cuda.transfer(&host, GPU).unwrap();
                let down = Cuda.transfer(&up, Device::CPU).unwrap();
                prop_assert_eq!(bytes_of(&down), bytes_of(&host));
            }
        }
    }
}

#[test]
fn packed_elements_travel_as_bytes() {
    cuda();
    for data_type in [DataType::F4E2M1FN, DataType::F6E3M2FN] {
        let host = numbered(data_type, &[7, 5]);
        let up = CudaArray::from_host(&host, GPU).unwrap();
        assert_eq!(bytes_of(&up.to_host().unwrap()), bytes_of(&host));
    }
}

#[test]
fn pinned_memory_is_used_in_place() {
    cuda();
    let spec = TensorSpec::row_major(DataType::F32, &[100]).unwrap();
    let mut host = pinned(&spec).unwrap();
    host.as_mut_slice::<f32>().unwrap().fill(3.0);
    let place = host.data();
    assert_eq!(Cuda.mapping(&host.describe(), GPU), Mapping::Possible);
    let mapped = CudaArray::from_tensor(Cuda.map(host, GPU).unwrap()).unwrap();
    assert_eq!(mapped.tensor().data(), place);
    let copy = mapped.to_device(GPU).unwrap();
    assert_eq!(copy.to_host().unwrap().as_slice::<f32>().unwrap(), [3.0; 100]);
    let back = Device::new(DeviceKind::CudaHost, 0);
    let host = Cuda.map(mapped.into_tensor(), back).unwrap();
    assert_eq!((host.data(), host.device()), (place, back));
    assert_eq!(host.as_slice::<f32>().unwrap(), [3.0; 100]);
}

#[test]
fn managed_memory_is_used_in_place() {
    cuda();
    let spec = TensorSpec::row_major(DataType::F32, &[100]).unwrap();
    let Ok(mut host) = managed(&spec, 0) else { return }; // Not every device has it.
    host.as_mut_slice::<f32>().unwrap().fill(4.0);
    let mapped = CudaArray::from_tensor(Cuda.map(host, GPU).unwrap()).unwrap();
    let copy = mapped.to_device(GPU).unwrap();
    assert_eq!(copy.to_host().unwrap().as_slice::<f32>().unwrap(), [4.0; 100]);
}

#[test]
fn a_download_goes_into_memory_that_is_pinned_already() {
    cuda();
    let host = numbered(DataType::F32, &[30, 50]);
    let spec = TensorSpec::row_major(DataType::F32, &[50, 30]).unwrap();
    let array = CudaArray::from_host(&host, GPU).unwrap();
    let mut array = CudaArray::from_tensor(view(array.into_tensor(), 1)).unwrap();
    let mut target = pinned(&spec).unwrap();
    let place = target.data();
    for _ in 0..2 {
        target.as_mut_slice::<f32>().unwrap().fill(-1.0);
        (target, array) = array.download_to(target).unwrap().wait().unwrap();
        assert_eq!(target.data(), place);
        assert_eq!(bytes_of(&target), bytes_of(&view(numbered(DataType::F32, &[30, 50]), 1)));
    }
    // Other shapes, other element types, memory that is not pinned, memory of a device.
    let wrong = [
        pinned(&TensorSpec::row_major(DataType::F32, &[30, 50]).unwrap()).unwrap(),
        pinned(&TensorSpec::row_major(DataType::I32, &[50, 30]).unwrap()).unwrap(),
        numbered(DataType::F32, &[50, 30]),
        CudaArray::zeros(DataType::F32, &[50, 30], GPU).unwrap().into_tensor(),
    ];
    for target in wrong {
        let place = target.data();
        let (back, error) = array.download_to(target).unwrap_err().into_parts();
        assert!(error.to_string().contains("bridge_cuda::pinned"), "{error}");
        assert_eq!(back.1.data(), place);
        array = back.0;
    }
}

#[test]
fn an_array_for_others_to_write_has_its_layout_and_device() {
    cuda();
    // SAFETY: the elements are not read before they are written.
    let array = unsafe { CudaArray::uninitialized(DataType::F32, &[3, 4], GPU) }.unwrap();
    assert_eq!((array.shape(), array.device()), (&[3, 4][..], GPU));
    assert!(array.layout().is_row_major() && array.stream().is_some());
}
