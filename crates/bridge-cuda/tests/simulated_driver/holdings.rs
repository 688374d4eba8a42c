//! What the backend holds and keeps, and which of the driver's errors are a lack of memory.

use bridge_core::{
    Allocator, Backend, DataType, Device, DeviceKind, Holdings, Runtime, TensorSpec,
};
use bridge_cuda::{Cuda, CudaArray};
use cudarc::driver::DriverError;
use cudarc::driver::sys::CUresult;
use simulated_cuda::Config;

use crate::support::{GPU, OTHER, alone, counted};

const PINNED: Device = Device::new(DeviceKind::CudaHost, 0);

#[test]
fn out_of_memory_is_told_by_the_code_and_near_misses_are_not() {
    // A simulated driver, as printing an error asks the driver for its text.
    let name = "out_of_memory_is_told_by_the_code_and_near_misses_are_not";
    alone(name, Config::default(), |_| {
        for (code, expected) in [
            (CUresult::CUDA_ERROR_OUT_OF_MEMORY, true),
            (CUresult::CUDA_ERROR_ILLEGAL_ADDRESS, false),
            (CUresult::CUDA_ERROR_INVALID_VALUE, false),
            (CUresult::CUDA_ERROR_INVALID_HANDLE, false),
            (CUresult::CUDA_ERROR_INVALID_CONTEXT, false),
            (CUresult::CUDA_ERROR_LAUNCH_FAILED, false),
            (CUresult::CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, false),
            (CUresult::CUDA_ERROR_NOT_INITIALIZED, false),
            (CUresult::CUDA_SUCCESS, false),
        ] {
            let error = DriverError(code);
            assert_eq!(Cuda.is_out_of_memory(&error), expected, "{code:?}");
        }
        let text = std::io::Error::other("CUDA_ERROR_OUT_OF_MEMORY");
        assert!(!Cuda.is_out_of_memory(&text));
    });
}

#[test]
fn what_is_freed_is_kept_until_it_is_trimmed() {
    alone("what_is_freed_is_kept_until_it_is_trimmed", Config::default(), |_| {
        let bytes = 1 << 20;
        let array = CudaArray::zeros(DataType::U8, &[bytes], GPU).unwrap();
        let held = Cuda.holdings(GPU).unwrap().unwrap();
        assert!(held.in_use >= bytes as u64, "{held:?}");
        drop(array);
        Cuda.synchronize(GPU).unwrap();
        let kept = Cuda.holdings(GPU).unwrap().unwrap();
        assert_eq!((kept.in_use, kept.cached >= bytes as u64), (0, true), "{kept:?}");
        assert!(Cuda.caches(GPU));
        assert_eq!(Cuda.trim(GPU).unwrap(), kept.cached);
        assert_eq!(Cuda.holdings(GPU).unwrap(), Some(Holdings::default()));
    });
}

#[test]
fn staging_buffers_are_what_is_kept_of_pinned_memory() {
    alone("staging_buffers_are_what_is_kept_of_pinned_memory", Config::default(), |_| {
        let there = CudaArray::from_host(&counted(&[1024, 1024]), GPU).unwrap();
        there.wait().unwrap();
        let kept = Cuda.holdings(PINNED).unwrap().unwrap();
        assert!(kept.in_use == 0 && kept.cached > 0, "{kept:?}");
        let spec = TensorSpec::row_major(DataType::U8, &[8]).unwrap();
        drop(Cuda.allocate(&spec, PINNED).unwrap());
        assert!(!Cuda.caches(PINNED), "pinned arrays are freed at once");
        // Managed memory has no staging, and its trim gives none back.
        let managed = Device::new(DeviceKind::CudaManaged, 0);
        assert_eq!(Cuda.trim(managed).unwrap(), 0);
        assert_eq!(Cuda.trim(PINNED).unwrap(), kept.cached);
        assert_eq!(Cuda.holdings(PINNED).unwrap(), Some(Holdings::default()));
    });
}

#[test]
fn asking_takes_no_gpu_into_use() {
    alone("asking_takes_no_gpu_into_use", Config::default(), |_| {
        for device in [GPU, OTHER, Device::CPU, Device::opencl(0)] {
            let held = Cuda.holdings(device).unwrap().unwrap_or_default();
            assert_eq!(held, Holdings::default(), "{device}");
        }
        assert!(!Cuda.holds(Device::CPU));
        assert_eq!(Cuda.trim(GPU).unwrap(), 0);
        assert!(!is_in_use(0));
        drop(CudaArray::zeros(DataType::U8, &[64], GPU).unwrap());
        assert!(is_in_use(0));
    });
}

/// Whether the GPU's primary context is retained.
fn is_in_use(ordinal: i32) -> bool {
    let (mut flags, mut active) = (0, 0);
    // SAFETY: the driver writes two numbers.
    let asked = unsafe {
        cudarc::driver::sys::cuDevicePrimaryCtxGetState(ordinal, &raw mut flags, &raw mut active)
    };
    asked.result().unwrap();
    active != 0
}

#[test]
fn a_gpu_without_a_pool_does_not_count() {
    alone("a_gpu_without_a_pool_does_not_count", Config::default().memory_pools(false), |_| {
        drop(CudaArray::zeros(DataType::U8, &[64], GPU).unwrap());
        assert_eq!(Cuda.holdings(GPU).unwrap(), None);
        assert!(!Cuda.caches(GPU));
    });
}
