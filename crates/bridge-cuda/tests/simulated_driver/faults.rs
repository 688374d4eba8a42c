//! What goes wrong: memory runs out, copies and kernels fail, devices are lost, tensors lie. Each is
//! an error; the source is intact, nothing leaks, and the next call works where one can.

use bridge_convert::ConvertByName;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::{GPU, OTHER, alone, counted};
use bridge_core::{
    Access, Allocator, Array, CopyPolicy, DataType, Device, DeviceKind, Error, ManagedTensor,
    Options, Overflow, Owner, Registration, Registry, Runtime, TensorError,
};
use bridge_cuda::{Cuda, CudaArray, new_stream, on_stream};
use bridge_testkit::DropCounter;
use cudarc::driver::sys::CUresult;
use cudarc::driver::{CudaContext, DriverError};
use simulated_cuda::{Config, Fault};

/// `CUDA_ERROR_UNKNOWN`, which is not sticky where a call itself fails.
const UNKNOWN: i32 = 999;
/// `CUDA_ERROR_ECC_UNCORRECTABLE`, which is.
const ECC: i32 = 214;

fn registry() -> Registry {
    Registry::new([
        Registration::backend(&Cuda),
        Registration::runtime(&Cuda),
        Registration::allocator(&Cuda),
        Registration::host_tools(&bridge_host::HostKernels),
    ])
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
                cuda.inject_on_this_thread(Fault::OutOfMemory { nth: nth + again });
            }
            let options = Options::default().on(GPU).cast(DataType::F64);
            let converted = registry().convert(source, "cuda", options);
            cuda.clear_faults();
            let source = match converted {
                Err(refused) => {
                    let (source, error) = refused.into_parts();
                    let typed = matches!(
                        error,
                        Error::Tensor(TensorError::OutOfMemory { device: GPU, .. })
                    );
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
            Err(Error::Tensor(TensorError::OutOfMemory { device: GPU, requested })) => {
                assert_eq!(requested, 5 << 20);
            }
            other => panic!("{other:?}"),
        }
        let before = Cuda.usage(GPU).unwrap();
        drop(kept);
        Cuda.synchronize(GPU).unwrap();
        let after = Cuda.usage(GPU).unwrap();
        assert!(after.free >= before.free + (5 << 20), "{before:?} {after:?}");
        // What the pool kept is given out again, to other sizes too.
        drop(CudaArray::zeros(DataType::U8, &[7 << 20], GPU).unwrap());
        assert!(Cuda.trim(GPU).unwrap() >= 7 << 20);
        assert_eq!(Cuda.trim(GPU).unwrap(), 0);
    });
}

#[test]
fn pinned_memory_that_runs_out_is_an_error() {
    alone("pinned_memory_that_runs_out_is_an_error", Config::default(), |cuda| {
        cuda.inject(Fault::PinnedOutOfMemory { nth: 0 });
        let error = CudaArray::from_host(&counted(&[10]), GPU).unwrap_err();
        assert!(
            matches!(error, Error::Tensor(TensorError::OutOfMemory { device, .. })
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
            match registry().convert(source, "cuda", Options::default().copy(CopyPolicy::Always)) {
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

#[test]
fn what_keeps_cudarc_from_making_a_slice_is_told_and_nothing_panics() {
    let name = "what_keeps_cudarc_from_making_a_slice_is_told_and_nothing_panics";
    alone(name, Config::default(), |cuda| {
        let panics = Arc::new(AtomicUsize::new(0));
        let counted_panics = Arc::clone(&panics);
        std::panic::set_hook(Box::new(move |_| {
            counted_panics.fetch_add(1, Ordering::Relaxed);
        }));
        // The context of the stream that the array is in keeps errors of drops, not only ours.
        let foreign = CudaContext::new(0).unwrap().new_stream().unwrap();
        for stream in [new_stream(GPU).unwrap(), foreign] {
            let made = on_stream(&stream, || CudaArray::from_host(&counted(&[4]), GPU));
            let mut array = made.unwrap().unwrap();
            let context = stream.context();
            context.record_err::<()>(Err(DriverError(CUresult::CUDA_ERROR_INVALID_VALUE)));
            let refused = array.into_slice::<f32>().unwrap_err();
            let (back, error) = refused.into_parts();
            assert!(error.to_string().contains("CUDA_ERROR_INVALID_VALUE"), "{error}");
            array = back;
            for nth in [0, 1] {
                let name = "cuEventCreate".to_owned();
                cuda.inject(Fault::Call { name, nth, code: UNKNOWN });
                let (back, error) = array.into_slice::<f32>().unwrap_err().into_parts();
                assert!(error.to_string().contains("CUDA_ERROR_UNKNOWN"), "{error}");
                array = back;
            }
            let slice = array.into_slice::<f32>().unwrap();
            assert_eq!(slice.stream().clone_dtoh(&slice).unwrap(), [0.0, 1.0, 2.0, 3.0]);
        }
        let _ = std::panic::take_hook();
        assert_eq!(panics.load(Ordering::Relaxed), 0);
    });
}
