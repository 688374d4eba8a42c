//! Tensors that lie, sizes that cannot be, arrays that do not go together: each is an error that says
//! what was found, and the input comes back.

use crate::support::{GPU, OTHER, alone, counted};
use bridge_core::{
    Access, Allocator, Array, DataType, Device, Error, Layout, ManagedTensor, Options, Overflow,
    Owner, Registration, Registry, Runtime, Stream, TensorError, TensorSpec,
};
use bridge_cuda::{Cuda, CudaArray, new_stream, on_stream, pinned};
use cudarc::driver::CudaContext;
use simulated_cuda::Config;

fn registry() -> Registry {
    Registry::new([
        Registration::backend(&Cuda),
        Registration::runtime(&Cuda),
        Registration::allocator(&Cuda),
        Registration::host_tools(&bridge_host::HostKernels),
    ])
}

/// A tensor on `device` that says its memory is at `address`.
fn claimed(address: u64, count: usize, device: Device) -> ManagedTensor {
    let spec = TensorSpec::row_major(DataType::F32, &[count]).unwrap();
    // SAFETY: not kept: that the claim is found out, before the memory is touched, is the test.
    unsafe {
        ManagedTensor::from_parts(
            address as *mut _,
            spec,
            device,
            Access::Exclusive,
            Owner::nothing(),
        )
    }
    .unwrap()
}

fn refusal(tensor: ManagedTensor) -> String {
    let place = tensor.data();
    let refused = CudaArray::from_tensor(tensor).expect_err("it is refused");
    let (tensor, error) = refused.into_parts();
    assert_eq!(tensor.data(), place, "the tensor comes back");
    error.to_string()
}

#[test]
fn tensors_that_lie_about_their_memory_are_refused() {
    alone("tensors_that_lie_about_their_memory_are_refused", Config::default(), |_| {
        let array = CudaArray::zeros(DataType::F32, &[64], GPU).unwrap();
        array.wait().unwrap();
        let address = array.tensor().data().addr() as u64;
        // Another device's.
        let text = refusal(claimed(address, 64, OTHER));
        assert!(text.contains("cuda:1, but it is on cuda:0"), "{text}");
        // A device that is not there.
        let text = refusal(claimed(address, 64, Device::cuda(7)));
        assert!(text.contains("no device cuda:7"), "{text}");
        // The host's.
        let numbers = vec![0_f32; 64];
        let text = refusal(claimed(numbers.as_ptr().addr() as u64, 64, GPU));
        assert!(text.contains("knows no memory there"), "{text}");
        // Longer than the allocation.
        let text = refusal(claimed(address, 1 << 40, GPU));
        assert!(text.contains("knows no memory there"), "{text}");
        // Not aligned.
        let text = refusal(claimed(address + 2, 8, GPU));
        assert!(text.contains("aligned to 4 bytes"), "{text}");
        // Freed.
        drop(array);
        Cuda.synchronize(GPU).unwrap();
        Cuda.trim(GPU).unwrap();
        let text = refusal(claimed(address, 64, GPU));
        assert!(text.contains("was freed"), "{text}");
        // The backend's other entrances find it out too.
        assert!(Cuda.transfer(&claimed(address, 64, GPU), Device::CPU).is_err());
        assert!(Cuda.copy(&claimed(address, 64, GPU)).is_err());
        assert!(Cuda.cast(&claimed(address, 64, GPU), DataType::F64, Overflow::Wrap).is_err());
    });
}

#[test]
fn memory_of_another_context_is_refused() {
    alone("memory_of_another_context_is_refused", Config::default(), |_| {
        let foreign = CudaContext::new_non_primary(0, 0).unwrap();
        let mut address = 0;
        foreign.bind_to_thread().unwrap();
        // SAFETY: a context is current; the memory is freed below.
        unsafe { cudarc::driver::sys::cuMemAlloc_v2(&raw mut address, 256).result() }.unwrap();
        let text = refusal(claimed(address, 64, GPU));
        assert!(text.contains("context other than the primary one"), "{text}");

        let stream = foreign.default_stream();
        let text = on_stream(&stream, || ()).unwrap_err().to_string();
        assert!(text.contains("another context"), "{text}");
        let slice = stream.clone_htod(&[1_f32, 2.0]).unwrap();
        let refused = CudaArray::from_slice(slice, &[2]).expect_err("another context");
        let (slice, error) = refused.into_parts();
        assert!(error.to_string().contains("another context"), "{error}");
        assert_eq!(stream.clone_dtoh(&slice).unwrap(), [1.0, 2.0]);
        drop(slice);
        foreign.bind_to_thread().unwrap();
        // SAFETY: it was allocated above.
        unsafe { cudarc::driver::sys::cuMemFree_v2(address).result() }.unwrap();
    });
}

#[test]
fn impossible_sizes_and_shapes_are_errors() {
    alone("impossible_sizes_and_shapes_are_errors", Config::default(), |_| {
        let huge = CudaArray::zeros(DataType::F64, &[1 << 40, 1 << 40], GPU);
        assert!(matches!(huge, Err(Error::Tensor(TensorError::TooLarge { .. }))), "{huge:?}");
        let huge = CudaArray::zeros(DataType::U8, &[1 << 60], GPU);
        assert!(matches!(huge, Err(Error::Tensor(TensorError::OutOfMemory { .. }))), "{huge:?}");
        let huge = pinned(&TensorSpec::row_major(DataType::U8, &[1 << 60]).unwrap());
        assert!(matches!(huge, Err(Error::Tensor(TensorError::OutOfMemory { .. }))), "{huge:?}");

        let stream = new_stream(GPU).unwrap();
        let slice = stream.clone_htod(&[1_f32, 2.0, 3.0]).unwrap();
        let error = CudaArray::from_slice(slice, &[2, 2]).expect_err("three elements");
        assert!(error.to_string().contains("number of elements is 3"), "{error}");
        drop(error);

        let array = CudaArray::from_host(&counted(&[4, 4]), GPU).unwrap();
        let turned = array.into_tensor().permuted(&[1, 0]).unwrap();
        let error = CudaArray::from_tensor(turned).unwrap().into_slice::<f32>().unwrap_err();
        assert!(error.to_string().contains("copy it first"), "{error}");
        let array = error.into_value();
        let error = array.into_slice::<f64>().unwrap_err();
        assert!(error.to_string().contains("float32"), "{error}");
        assert_eq!(error.into_value().layout().strides(), [1, 4]);
    });
}

#[test]
fn arrays_of_several_devices_in_one_call_are_named() {
    alone("arrays_of_several_devices_in_one_call_are_named", Config::default(), |_| {
        let arrays = [GPU, OTHER]
            .map(|device| Array::new(CudaArray::zeros(DataType::F32, &[3], device).unwrap()));
        let refused =
            bridge_convert::stack(&registry(), arrays.into(), 0, "cuda", Options::default())
                .expect_err("they are on two devices");
        let text = refused.to_string();
        assert!(text.contains("cuda:0") && text.contains("cuda:1"), "{text}");
    });
}

#[test]
fn values_that_do_not_fit_are_named_as_on_the_host() {
    alone("values_that_do_not_fit_are_named_as_on_the_host", Config::default(), |_| {
        let mut numbers = vec![1.0_f32; 5000];
        numbers[4321] = 70_000.0;
        numbers[4999] = -1.0;
        let host = ManagedTensor::from_vec(numbers, &[50, 100]).unwrap();
        let array = CudaArray::from_host(&host, GPU).unwrap();
        for (data_type, index) in [(DataType::F16, 4321), (DataType::U32, 4999)] {
            let error = array.cast(data_type, Overflow::Refuse).unwrap_err().to_string();
            let host = bridge_host::to_data_type(&host, data_type, Overflow::Refuse);
            assert_eq!(error, host.unwrap_err().to_string());
            assert!(error.contains(&format!("element {index}")), "{error}");
        }
        // In another layout the index is that of the array as it stands.
        let turned = array.into_tensor().permuted(&[1, 0]).unwrap();
        let turned = CudaArray::from_tensor(turned).unwrap();
        let error = turned.cast(DataType::F16, Overflow::Refuse).unwrap_err().to_string();
        let host = host.permuted(&[1, 0]).unwrap();
        let host = bridge_host::to_data_type(&host, DataType::F16, Overflow::Refuse);
        assert_eq!(error, host.unwrap_err().to_string());
        let complex = turned.cast(DataType::C64, Overflow::Refuse).unwrap();
        let error = complex.cast(DataType::F32, Overflow::Refuse).unwrap_err();
        assert!(matches!(error, Error::NoCast { .. }), "{error}");
    });
}

#[test]
fn the_number_zero_means_the_legacy_stream() {
    alone("the_number_zero_means_the_legacy_stream", Config::default(), |_| {
        let array = CudaArray::zeros(DataType::F32, &[3], GPU).unwrap();
        // DLPack's 0 is ambiguous; where a producer says it all the same, the driver's meaning is
        // taken: the legacy stream.
        array.wait().unwrap();
        // SAFETY: the data is ready everywhere.
        let tensor = unsafe { array.into_tensor().ready_on(Some(Stream(0))) };
        let array = CudaArray::from_tensor(tensor).unwrap();
        assert_eq!(array.to_host().unwrap().as_slice::<f32>().unwrap(), [0.0; 3]);
        let layout = Layout::row_major(&[3]).unwrap();
        assert_eq!(array.layout(), &layout);
        Cuda.synchronize(GPU).unwrap();
    });
}

/// Three bytes as a bool tensor on the host, as another library may hand them over.
fn bools(bytes: Vec<u8>) -> ManagedTensor {
    let spec = TensorSpec::row_major(DataType::BOOL, &[bytes.len()]).unwrap();
    let data = bytes.as_ptr().cast_mut().cast();
    // SAFETY: the owner keeps the bytes, which are initialized, and nobody else has them.
    unsafe {
        ManagedTensor::from_parts(data, spec, Device::CPU, Access::Exclusive, Owner::keep(bytes))
    }
    .unwrap()
}

#[test]
fn bytes_that_are_no_bool_do_not_become_one() {
    alone("bytes_that_are_no_bool_do_not_become_one", Config::default(), |_| {
        let stream = new_stream(GPU).unwrap();
        // Memory of ours, then memory that was a slice of bools before others wrote to it.
        let ours = CudaArray::from_host(&bools(vec![0, 1, 2]), GPU).unwrap();
        let slice = stream.clone_htod(&[true, false, true]).unwrap();
        let theirs = CudaArray::from_slice(slice, &[3]).unwrap();
        let address = theirs.tensor().first_element().addr() as u64;
        theirs.wait().unwrap();
        stream.context().bind_to_thread().unwrap();
        // SAFETY: the array has three bytes, which no work uses.
        unsafe { cudarc::driver::sys::cuMemcpyHtoD_v2(address, [0_u8, 1, 2].as_ptr().cast(), 3) }
            .result()
            .unwrap();
        for array in [ours, theirs] {
            let (array, error) = array.into_slice::<bool>().unwrap_err().into_parts();
            let text = error.to_string();
            assert!(text.contains("byte 2 of a bool tensor is 2"), "{text}");
            // The array comes back as it was, and what the error advises works.
            assert!(text.contains("uint8"), "{text}");
            assert_eq!(bridge_testkit::bytes_of(&array.to_host().unwrap()), [0, 1, 2]);
            let numbers = array.cast(DataType::U8, Overflow::Refuse).unwrap();
            let slice = numbers.into_slice::<u8>().unwrap();
            assert_eq!(slice.stream().clone_dtoh(&slice).unwrap(), [0, 1, 1]);
        }
    });
}

#[test]
fn bools_become_a_slice_of_bools() {
    alone("bools_become_a_slice_of_bools", Config::default(), |_| {
        let array = CudaArray::from_host(&bools(vec![0, 1, 1]), GPU).unwrap();
        let slice = array.into_slice::<bool>().unwrap();
        assert_eq!(slice.stream().clone_dtoh(&slice).unwrap(), [false, true, true]);
        let none = CudaArray::zeros(DataType::BOOL, &[0], GPU).unwrap();
        assert_eq!(none.into_slice::<bool>().unwrap().len(), 0);
    });
}
