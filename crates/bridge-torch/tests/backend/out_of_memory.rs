//! Which of tch's errors say that memory ran out, and what libtorch holds.

use std::io;

use bridge_core::{Allocator, Backend, Device, Holdings};
use bridge_torch::Torch;
use tch::{Kind, TchError, Tensor};

const ON_THE_GPU: &str = "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity \
                          of 7.79 GiB of which 10.00 MiB is free.\nException raised from malloc at \
                          CUDACachingAllocator.cpp:1226 (most recent call first):";

#[test]
fn out_of_memory_is_told_by_what_libtorch_says_and_near_misses_are_not() {
    let torch = |text: &str| TchError::Torch(text.to_owned());
    for (error, expected) in [
        (torch(ON_THE_GPU), true),
        (torch(ON_THE_GPU).path_context("weights.pt"), true),
        (torch("CUDA error: out of memory\nCUDA kernel errors might be reported later"), true),
        (torch("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), true),
        (
            torch(
                "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate \
                 memory: you tried to allocate 4000000000000 bytes. Error code 12 (Cannot allocate \
                 memory)",
            ),
            true,
        ),
        (
            torch(
                "[enforce fail at alloc_cpu.cpp:75] data. DefaultCPUAllocator: not enough memory: \
                 you tried to allocate 400 bytes.",
            ),
            true,
        ),
        (TchError::Io(io::ErrorKind::OutOfMemory.into()), true),
        (torch("CUDA error: an illegal memory access was encountered"), false),
        (torch("CUDA error: invalid argument"), false),
        (torch("CUDA error: invalid resource handle"), false),
        (torch("CUDA error: unspecified launch failure"), false),
        (torch("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`"), false),
        (
            torch("INTERNAL ASSERT FAILED at CUDACachingAllocator.cpp:410: out of memory handler"),
            false,
        ),
        (
            torch(
                "shape '[3]' is invalid for input of size 2\nException raised from CUDA error: out of memory",
            ),
            false,
        ),
        (torch("open file failed, file path: CUDA out of memory.pt"), false),
        (TchError::Shape(ON_THE_GPU.to_owned()), false),
        (TchError::FileFormat(ON_THE_GPU.to_owned()), false),
        (TchError::Io(io::ErrorKind::NotFound.into()), false),
    ] {
        assert_eq!(Torch.is_out_of_memory(&error), expected, "{error}");
    }
    assert!(!Torch.is_out_of_memory(&io::Error::other(ON_THE_GPU)));
}

#[test]
fn what_libtorch_really_throws_is_recognised() {
    let refused = Tensor::f_zeros([1_i64 << 50], (Kind::Double, tch::Device::Cpu)).unwrap_err();
    assert!(Torch.is_out_of_memory(&refused), "{refused}");
    let mistaken = Tensor::f_zeros([2], (Kind::Double, tch::Device::Cpu)).unwrap().f_view([3]);
    let mistaken = mistaken.unwrap_err();
    assert!(!Torch.is_out_of_memory(&mistaken), "{mistaken}");
}

#[test]
fn a_device_that_is_not_in_use_holds_nothing() {
    assert_eq!(Torch.holdings(Device::CPU).unwrap(), None);
    assert!(!Torch.caches(Device::CPU));
    let absent = Device::cuda(4095);
    assert_eq!(Torch.holdings(absent).unwrap(), Some(Holdings::default()));
    assert!(!Torch.caches(absent));
}
