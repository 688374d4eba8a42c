//! Which driver the tests run on: the simulated one, or, where `ARRAYBRIDGE_CUDA=real` is set, the
//! machine's. Files whose names begin with `simulated_` need the simulated one. In which order that
//! one runs what is in several streams follows from `ARRAYBRIDGE_CUDA_SEED`, a number.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::process::Command;
use std::sync::Once;

use bridge_core::{Backend, DataType, Device, ManagedTensor, Overflow};
use bridge_cuda::Cuda;
use simulated_cuda::{Config, SimulatedCuda};

/// Set for the process that runs one test.
const CHILD: &str = "ARRAYBRIDGE_CUDA_TEST";

/// The backend, ready. A violation of the simulated driver's rules ends the process.
pub(crate) fn cuda() -> &'static Cuda {
    static CHOICE: Once = Once::new();
    CHOICE.call_once(|| {
        if !wants_real_driver() {
            start(&Config::default().abort_on_violation(true));
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
/// keeps for the life of a process begins anew. Afterwards no device memory may be alive and no rule
/// be broken.
#[expect(clippy::needless_pass_by_value, reason = "a configuration is written down in the call")]
pub(crate) fn alone(name: &str, config: Config, test: impl FnOnce(&SimulatedCuda)) {
    alone_with(name, &config, &[], test);
}

/// As [`alone`], with variables.
pub(crate) fn alone_with(
    name: &str,
    config: &Config,
    variables: &[(&str, &str)],
    test: impl FnOnce(&SimulatedCuda),
) {
    if std::env::var_os(CHILD).is_none_or(|child| child != name) {
        let program = std::env::current_exe().expect("a test knows its program");
        let mut child = Command::new(program);
        child.args([name, "--exact", "--nocapture", "--test-threads=1"]).env(CHILD, name);
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

/// What the host makes of a tensor.
pub(crate) fn cast_on_host(tensor: &ManagedTensor, to: DataType, overflow: Overflow) -> Vec<u8> {
    let cast = bridge_host::to_data_type(tensor, to, overflow).expect("the host can");
    bridge_testkit::bytes_of(&cast)
}
