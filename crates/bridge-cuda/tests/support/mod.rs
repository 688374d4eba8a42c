//! Which driver the tests run on: the simulated one, or, where `ARRAYBRIDGE_CUDA=real` is set, the
//! machine's. Programs whose names begin with `simulated_` need the simulated one. The number
//! `ARRAYBRIDGE_CUDA_SEED` decides in which order it runs the work of several streams.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::panic::Location;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Once};

use bridge_core::{
    Access, Backend, DataType, Device, ManagedTensor, Overflow, Owner, Stream, TensorSpec,
};
use bridge_cuda::Cuda;
use cudarc::driver::{CudaSlice, CudaStream, DevicePtr};
use simulated_cuda::{Config, SimulatedCuda};

/// Set for the process that runs one test.
const CHILD: &str = "ARRAYBRIDGE_CUDA_TEST";

/// The backend, ready. A violation of the simulated driver's rules ends the process.
pub(crate) fn cuda() -> &'static Cuda {
    cuda_with(&Config::default())
}

/// As [`cuda`], where the simulated driver is configured so; all tests of a program say the same.
pub(crate) fn cuda_with(config: &Config) -> &'static Cuda {
    static CHOICE: Once = Once::new();
    CHOICE.call_once(|| {
        if !wants_real_driver() {
            start(&config.clone().abort_on_violation(true));
        }
        assert!(Cuda.availability().is_ready(), "{:?}", Cuda.availability());
    });
    &Cuda
}

/// Whether the tests run on hardware.
pub(crate) fn wants_real_driver() -> bool {
    std::env::var("ARRAYBRIDGE_CUDA").is_ok_and(|choice| choice == "real")
}

fn start(config: &Config) -> SimulatedCuda {
    let simulated = SimulatedCuda::load();
    let seed = std::env::var("ARRAYBRIDGE_CUDA_SEED").ok().and_then(|seed| seed.parse().ok());
    let config = seed.map_or(config.clone(), |seed| config.clone().seed(seed));
    simulated.reset(&config);
    cuda_kernels::register(&simulated);
    simulated
}

/// Runs a test in a process of its own, on a simulated driver that is configured so: what the backend
/// keeps until the process ends starts afresh. At the end no device memory may be left and no rule of the
/// driver be broken.
#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "a configuration is written down in the call")]
pub(crate) fn alone(name: &str, config: Config, test: impl FnOnce(&SimulatedCuda)) {
    alone_with(name, &config, &[], test);
}

/// As [`alone`], with environment variables.
#[track_caller]
pub(crate) fn alone_with(
    name: &str,
    config: &Config,
    variables: &[(&str, &str)],
    test: impl FnOnce(&SimulatedCuda),
) {
    if std::env::var_os(CHILD).is_none_or(|child| child != name) {
        let program = std::env::current_exe().expect("a test knows its program");
        // Each file of the program is a module of its name.
        let file = Path::new(Location::caller().file()).file_stem().expect("a test is in a file");
        let path = format!("{}::{name}", file.to_string_lossy());
        let mut child = Command::new(program);
        child.args([&path, "--exact", "--nocapture", "--test-threads=1"]).env(CHILD, name);
        let output = child.envs(variables.iter().copied()).output().expect("the test starts");
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        assert!(output.status.success(), "in a process of its own:\n{text}");
        assert!(text.contains("1 passed"), "no test of this name ran:\n{text}");
        return;
    }
    let simulated = start(config);
    test(&simulated);
    simulated.flush();
    assert_eq!(simulated.violations(), [], "rules of the driver were broken");
    assert_eq!(simulated.counters().device_allocations_alive, 0, "device memory leaked");
}

/// Device 0.
pub(crate) const GPU: Device = Device::cuda(0);
/// Device 1.
pub(crate) const OTHER: Device = Device::cuda(1);

/// A host tensor of the numbers 0, 1, 2, ... as `f32`.
pub(crate) fn counted(shape: &[usize]) -> ManagedTensor {
    let count: usize = shape.iter().product();
    let numbers = (0..count).map(|number| number as f32).collect::<Vec<_>>();
    ManagedTensor::from_vec(numbers, shape).expect("as many numbers as the shape has")
}

/// The memory of another library, freed in the order of its own stream when it is dropped.
struct Foreign {
    _slice: CudaSlice<f32>,
}

/// A tensor as torch hands it over: still being written in `stream`, and freed there by its deleter.
pub(crate) fn foreign(stream: &Arc<CudaStream>, numbers: &[f32]) -> ManagedTensor {
    let slice = stream.clone_htod(numbers).expect("the driver copies");
    let (address, used) = slice.device_ptr(stream);
    drop(used);
    let spec = TensorSpec::row_major(DataType::F32, &[numbers.len()]).expect("a shape that can be");
    let ready = Stream(stream.cu_stream().addr() as u64);
    let owner = Owner::keep(Foreign { _slice: slice });
    // SAFETY: the slice has this many numbers, written in its stream, which it keeps; slices may be dropped
    // on any thread, and nobody else has it.
    unsafe {
        ManagedTensor::from_parts(address as *mut _, spec, GPU, Access::Exclusive, owner)
            .expect("a valid tensor")
            .ready_on(Some(ready))
    }
}

/// What the host makes of a tensor.
pub(crate) fn cast_on_host(tensor: &ManagedTensor, to: DataType, overflow: Overflow) -> Vec<u8> {
    let cast = bridge_host::to_data_type(tensor, to, overflow).expect("the host can");
    bridge_testkit::bytes_of(&cast)
}
