//! What goes wrong: memory runs out, copies and kernels fail, devices are lost, tensors lie. Each is
//! an error; the source is intact, nothing leaks, and the next call works where one can.

mod support;

use bridge_core::{
    Access, Array, Backend, Copy, DataType, Device, DeviceKind, Error, Layout, ManagedTensor,
    Options, Overflow, Owner, Registration, Registry, Stream, TensorSpec,
};
use bridge_cuda::{Cuda, CudaArray, new_stream, on_stream, pinned};
use bridge_testkit::DropCounter;
use cudarc::driver::CudaContext;
use simulated_cuda::{Config, Fault};
use support::{GPU, OTHER, alone, counted};

/// `CUDA_ERROR_UNKNOWN`, which is not sticky where a call itself fails.
const UNKNOWN: i32 = 999;
/// `CUDA_ERROR_ECC_UNCORRECTABLE`, which is.
const ECC: i32 = 214;

fn registry() -> Registry {
    Registry::new([
        Registration::backend(&Cuda),
        Registration::host_tools(&bridge_host::HostKernels),
    ])
    .unwrap()
}

/// A host tensor of several pieces, whose owner's drops are counted.
fn large(drops: &DropCounter) -> ManagedTensor {
    let base = counted(&[1500, 1000]);
    let (data, spec) = (base.data(), base.spec());
    let owner = Owner::keep((base, drops.token()));
    // SAFETY: the memory is that of `base`, which the owner keeps.
    unsafe { ManagedTensor::from_parts(data, spec, Device::CPU, Access::Exclusive, owner) }.unwrap()
}

#[test]
fn one_refused_allocation_is_made_up_for_by_trimming() {
    alone("one_refused_allocation_is_made_up_for_by_trimming", Config::default(), |cuda| {
        cuda.inject(Fault::OutOfMemory { nth: 0 });
        let array = CudaArray::from_host(&counted(&[10]), GPU).unwrap();
        assert_eq!(array.to_host().unwrap().as_slice::<f32>().unwrap()[9], 9.0);
    });
}

#[test]
fn memory_runs_out_with_an_error_and_the_source_comes_back() {
    let name = "memory_runs_out_with_an_error_and_the_source_comes_back";
    alone(name, Config::default(), |cuda| {
        let drops = DropCounter::new();
        // Every allocation of a cast after an upload fails in turn, for good.
        for nth in 0..4 {
            let source = Array::new(large(&drops));
            for again in [0, 1] {
                cuda.inject(Fault::OutOfMemory { nth: nth + again });
            }
            let options = Options::default().on(GPU).cast(DataType::F64);
            let converted = registry().convert(source, "cuda", options);
            cuda.clear_faults();
            let source = match converted {
                Err(refused) => {
                    let (source, error) = refused.into_parts();
                    let typed = matches!(error, Error::OutOfMemory { device: GPU, .. });
                    assert!(typed, "{error}");
                    source
                }
                Ok(array) => {
                    assert!(nth > 1, "there are two allocations at least");
                    drop(array);
                    continue;
                }
            };
            assert_eq!(drops.drops() as u64, nth, "the source was dropped");
            // The next call works, with the source that came back.
            let array = registry().convert(source, "cuda", Options::default()).unwrap();
            drop(array);
        }
        assert_eq!(drops.drops(), 4);
    });
}

#[test]
fn more_than_the_device_has_is_out_of_memory() {
    let config = Config::default().memory(8 << 20);
    alone("more_than_the_device_has_is_out_of_memory", config, |_| {
        let kept = CudaArray::zeros(DataType::U8, &[5 << 20], GPU).unwrap();
        match CudaArray::zeros(DataType::U8, &[5 << 20], GPU) {
            Err(Error::OutOfMemory { device: GPU, requested }) => assert_eq!(requested, 5 << 20),
            other => panic!("{other:?}"),
        }
        let before = Cuda.memory(GPU).unwrap();
        drop(kept);
        Cuda.synchronize(GPU).unwrap();
        let after = Cuda.memory(GPU).unwrap();
        assert!(after.free >= before.free + (5 << 20), "{before:?} {after:?}");
        // What the pool kept is given out again, to other sizes too.
        drop(CudaArray::zeros(DataType::U8, &[7 << 20], GPU).unwrap());
        assert!(Cuda.release_cached(GPU).unwrap() >= 7 << 20);
        assert_eq!(Cuda.release_cached(GPU).unwrap(), 0);
    });
}

#[test]
fn pinned_memory_that_runs_out_is_an_error() {
    alone("pinned_memory_that_runs_out_is_an_error", Config::default(), |cuda| {
        cuda.inject(Fault::PinnedOutOfMemory { nth: 0 });
        let error = CudaArray::from_host(&counted(&[10]), GPU).unwrap_err();
        assert!(
            matches!(error, Error::OutOfMemory { device, .. }
            if device.kind() == DeviceKind::CudaHost),
            "{error}"
        );
        // A second buffer that cannot be had only costs time.
        cuda.inject(Fault::PinnedOutOfMemory { nth: 1 });
        let array = CudaArray::from_host(&large(&DropCounter::new()), GPU).unwrap();
        assert_eq!(array.to_host().unwrap().as_slice::<f32>().unwrap()[77], 77.0);
    });
}

#[test]
fn a_copy_that_fails_half_way_leaves_the_source_intact() {
    alone("a_copy_that_fails_half_way_leaves_the_source_intact", Config::default(), |cuda| {
        let drops = DropCounter::new();
        for nth in 0..6 {
            cuda.inject(Fault::Copy { nth, code: UNKNOWN, late: false });
            let source = Array::new(large(&drops));
            let refused =
                registry().convert(source, "cuda", Options::default()).expect_err("it failed");
            let (source, error) = refused.into_parts();
            assert!(error.to_string().contains("copy from the host"), "{error}");
            let array = registry().convert(source, "cuda", Options::default()).unwrap();

            cuda.inject(Fault::Copy { nth, code: UNKNOWN, late: false });
            let array: CudaArray = array.downcast().unwrap();
            let error = array.to_host().unwrap_err();
            assert!(error.to_string().contains("copy from the device"), "{error}");
            assert_eq!(array.to_host().unwrap().as_slice::<f32>().unwrap()[4321], 4321.0);
        }
        // The uploads copied, so all sources are gone.
        assert_eq!(drops.drops(), 6);
    });
}

#[test]
fn a_kernel_that_cannot_be_launched_is_an_error() {
    alone("a_kernel_that_cannot_be_launched_is_an_error", Config::default(), |cuda| {
        let array = CudaArray::from_host(&counted(&[8, 8]), GPU).unwrap();
        cuda.inject(Fault::Launch { nth: 0, code: UNKNOWN, late: false });
        let error = array.cast(DataType::F16, Overflow::Saturate).unwrap_err();
        assert!(error.to_string().contains("launch a kernel"), "{error}");
        assert!(array.cast(DataType::F16, Overflow::Saturate).is_ok());
    });
}

#[test]
fn a_device_lost_in_a_staged_copy_costs_that_device_only() {
    alone("a_device_lost_in_a_staged_copy_costs_that_device_only", Config::default(), |cuda| {
        let drops = DropCounter::new();
        drop(CudaArray::zeros(DataType::U8, &[1], GPU).unwrap());
        Cuda.synchronize(GPU).unwrap();
        cuda.inject(Fault::DeviceLost { device: 0, nth: 3, code: ECC });
        let mut source = Array::new(large(&drops));
        // The work fails when it runs, so the error may come with a later call.
        let mut lost = None;
        for _ in 0..3 {
            match registry().convert(source, "cuda", Options::default().copy(Copy::Always)) {
                Ok(array) => {
                    let array: CudaArray = array.downcast().unwrap();
                    source = Array::new(large(&drops));
                    lost = lost.or(array.to_host().err());
                }
                Err(refused) => {
                    let (array, error) = refused.into_parts();
                    source = array;
                    lost = Some(error);
                }
            }
        }
        let lost = lost.expect("the device is lost").to_string();
        assert!(lost.contains("ECC") && lost.contains("start it again"), "{lost}");
        // The source is whole, and the other device works.
        let options = Options::default().on(OTHER);
        let array: CudaArray =
            registry().convert(source, "cuda", options).unwrap().downcast().unwrap();
        assert_eq!(array.to_host().unwrap().as_slice::<f32>().unwrap()[4321], 4321.0);
        // Memory of a lost device is gone with it.
        cuda.reset(&Config::default());
        std::mem::forget(array);
    });
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
        assert!(text.contains("border of 4 bytes"), "{text}");
        // Freed.
        drop(array);
        Cuda.synchronize(GPU).unwrap();
        Cuda.release_cached(GPU).unwrap();
        let text = refusal(claimed(address, 64, GPU));
        assert!(text.contains("was freed"), "{text}");
        // The backend's other entrances find it out too.
        assert!(Cuda.transfer(&claimed(address, 64, GPU), Device::CPU).is_err());
        assert!(Cuda.copy_on_device(&claimed(address, 64, GPU)).is_err());
        assert!(
            Cuda.cast_on_device(&claimed(address, 64, GPU), DataType::F64, Overflow::Wrap).is_err()
        );
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
        assert!(text.contains("another context"), "{text}");

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
        assert!(matches!(huge, Err(Error::TooLarge { .. })), "{huge:?}");
        let huge = CudaArray::zeros(DataType::U8, &[1 << 60], GPU);
        assert!(matches!(huge, Err(Error::OutOfMemory { .. })), "{huge:?}");
        let huge = pinned(&TensorSpec::row_major(DataType::U8, &[1 << 60]).unwrap());
        assert!(matches!(huge, Err(Error::OutOfMemory { .. })), "{huge:?}");

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
        let refused = bridge_core::stack(&registry(), arrays.into(), 0, "cuda", Options::default())
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

#[test]
fn a_slice_that_cannot_be_made_leaves_the_array() {
    alone("a_slice_that_cannot_be_made_leaves_the_array", Config::default(), |cuda| {
        let stream = new_stream(GPU).unwrap();
        for nth in 0..4 {
            let slice = stream.clone_htod(&[1_f32, 2.0, 3.0, 4.0]).unwrap();
            let arrays = [
                CudaArray::from_slice(slice, &[2, 2]).unwrap(),
                CudaArray::from_host(&counted(&[2, 2]), GPU).unwrap(),
            ];
            for array in arrays {
                for name in ["cuEventCreate", "cuEventRecord", "cuStreamWaitEvent"] {
                    cuda.inject(Fault::Call { name: name.to_owned(), nth, code: UNKNOWN });
                }
                let made = array.into_slice::<f32>();
                cuda.clear_faults();
                if let Err(refused) = made {
                    let array = refused.into_value();
                    assert_eq!(array.shape(), [2, 2]);
                    assert_eq!(array.to_host().unwrap().shape(), [2, 2]);
                }
            }
        }
    });
}
