//! Where kernels come from: PTX, where the driver takes it, else NVRTC, where it is there; an error that
//! names both ways out where neither is.

use crate::support::{GPU, alone_with, counted};
use bridge_core::{Backend, DataType, ManagedTensor, Overflow, Result};
use bridge_cuda::{Cuda, CudaArray};
use bridge_testkit::bytes_of;
use simulated_cuda::{Config, Fault, SimulatedCuda};

/// What drivers answer where they cannot compile PTX, with what the advice must name.
const REFUSALS: [(i32, &str, &str); 5] = [
    (221, "CUDA_ERROR_JIT_COMPILER_NOT_FOUND", "libnvidia-ptxjitcompiler"),
    (222, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION", "update the driver"),
    (218, "CUDA_ERROR_INVALID_PTX", "compute capability 6.0"),
    (209, "CUDA_ERROR_NO_BINARY_FOR_GPU", "compute capability 6.0"),
    (223, "CUDA_ERROR_JIT_COMPILATION_DISABLED", "CUDA_DISABLE_PTX_JIT"),
];

const NOT_THERE: &str = "/nowhere/libnvrtc.so.12";

fn refuse(cuda: &SimulatedCuda, code: i32) {
    cuda.inject(Fault::Call { name: "cuModuleLoadData".to_owned(), nth: 0, code });
}

fn turned() -> ManagedTensor {
    counted(&[40, 50]).permuted(&[1, 0]).unwrap()
}

/// Copies and casts, by three kernels, and compares with the host.
fn use_kernels() -> Result<()> {
    let array = CudaArray::from_host(&counted(&[40, 50]), GPU)?;
    let turned_there = CudaArray::from_tensor(array.into_tensor().permuted(&[1, 0])?)?;
    let copy = turned_there.to_device(GPU)?;
    assert_eq!(bytes_of(&copy.to_host()?), bytes_of(&turned()));
    for array in [&turned_there, &copy] {
        let cast = array.cast(DataType::F16, Overflow::Refuse)?.to_host()?;
        let expected = bridge_host::to_data_type(&turned(), DataType::F16, Overflow::Refuse)?;
        assert_eq!(bytes_of(&cast), bytes_of(&expected));
    }
    Ok(())
}

#[test]
fn where_the_driver_takes_no_ptx_nvrtc_compiles_every_kernel() {
    let name = "where_the_driver_takes_no_ptx_nvrtc_compiles_every_kernel";
    let nvrtc = simulated_nvrtc::library();
    let variables = [("ARRAYBRIDGE_NVRTC", nvrtc.to_str().unwrap())];
    alone_with(name, &Config::default(), &variables, |cuda| {
        // The driver is asked once: were it asked again, it would take PTX, and binaries fail here.
        refuse(cuda, 221);
        use_kernels().unwrap();
        cuda.inject(Fault::Call { name: "cuModuleLoadData".to_owned(), nth: 0, code: 200 });
        let array = CudaArray::from_host(&counted(&[100, 10]), GPU).unwrap();
        let error = array.cast(DataType::F64, Overflow::Wrap).unwrap_err().to_string();
        assert!(error.contains("NVRTC") && error.contains("INVALID_IMAGE"), "{error}");
        array.cast(DataType::F64, Overflow::Wrap).unwrap();
    });
}

#[test]
fn without_nvrtc_each_refusal_is_an_error_that_names_both_ways_out() {
    let name = "without_nvrtc_each_refusal_is_an_error_that_names_both_ways_out";
    let variables = [("ARRAYBRIDGE_NVRTC", NOT_THERE)];
    let config = Config::default().devices(REFUSALS.len());
    alone_with(name, &config, &variables, |cuda| {
        for (ordinal, (code, reason, remedy)) in REFUSALS.into_iter().enumerate() {
            let device = bridge_core::Device::cuda(ordinal as u32);
            let array = CudaArray::from_host(&counted(&[100, 10]), device).unwrap();
            for _ in 0..2 {
                refuse(cuda, code);
                let error = array.cast(DataType::F16, Overflow::Wrap).unwrap_err().to_string();
                cuda.clear_faults();
                for part in [reason, remedy, NOT_THERE, "ARRAYBRIDGE_NVRTC", "on the host"] {
                    assert!(error.contains(part), "{part} is missing in: {error}");
                }
            }
            // What needs no kernel still works.
            assert_eq!(bytes_of(&array.to_host().unwrap()), bytes_of(&counted(&[100, 10])));
        }
    });
}

#[test]
fn other_errors_of_loading_are_not_taken_for_a_refusal() {
    let name = "other_errors_of_loading_are_not_taken_for_a_refusal";
    let variables = [("ARRAYBRIDGE_NVRTC", NOT_THERE)];
    alone_with(name, &Config::default(), &variables, |cuda| {
        refuse(cuda, 2);
        let error = use_kernels().unwrap_err().to_string();
        assert!(error.contains("CUDA_ERROR_OUT_OF_MEMORY") && !error.contains("NVRTC"), "{error}");
        use_kernels().unwrap();
    });
}

#[test]
fn one_of_the_two_can_be_asked_for() {
    let nvrtc = simulated_nvrtc::library();
    let nvrtc = ("ARRAYBRIDGE_NVRTC", nvrtc.to_str().unwrap());
    let choice = |choice| [("ARRAYBRIDGE_CUDA_KERNELS", choice), nvrtc];
    let name = "one_of_the_two_can_be_asked_for";
    // Each case is the process of its own that the others are skipped in.
    let case = std::env::var("CASE").unwrap_or_default();
    for (asked, config, told) in [
        ("ptx", Config::default(), "driver takes no PTX"),
        ("nvrtc", Config::default(), ""),
        ("nvrtc", Config::default().compute_capability(86), ""),
        ("nvrtc", Config::default().compute_capability(90), "knows sm_90"),
        ("cuda", Config::default(), "ARRAYBRIDGE_CUDA_KERNELS"),
    ] {
        let this = format!("{asked}{config}");
        if !case.is_empty() && case != this {
            continue;
        }
        let variables = [&choice(asked)[..], &[("CASE", &this)]].concat();
        alone_with(name, &config, &variables, |cuda| {
            if asked == "ptx" {
                refuse(cuda, 221);
            }
            match use_kernels() {
                Ok(()) => assert_eq!(told, ""),
                Err(error) => {
                    let error = error.to_string();
                    assert!(!told.is_empty() && error.contains(told), "{error}");
                }
            }
            let details = Cuda.details();
            let kernels = details.iter().find(|detail| detail.name == "kernels").unwrap();
            assert!(kernels.value.contains(asked), "{}", kernels.value);
        });
    }
}
