//! Which driver the tests run on.

use std::sync::Once;

use bridge_core::Backend;
use bridge_cuda::Cuda;
use simulated_cuda::SimulatedCuda;

/// The backend, on the real driver where the machine has one and `ARRAYBRIDGE_SIMULATED_CUDA` does
/// not say otherwise, else on the simulated one.
pub(crate) fn cuda() -> &'static Cuda {
    static CHOICE: Once = Once::new();
    CHOICE.call_once(|| {
        if !has_real_driver() {
            let simulated = SimulatedCuda::load();
            cuda_kernels::register(&simulated);
        }
        assert!(Cuda.availability().is_ready(), "{:?}", Cuda.availability());
    });
    &Cuda
}

/// Whether tests run on hardware.
pub(crate) fn has_real_driver() -> bool {
    let simulated = std::env::var_os("ARRAYBRIDGE_SIMULATED_CUDA").is_some();
    !simulated && std::path::Path::new("/dev/nvidiactl").exists()
}
