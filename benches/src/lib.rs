//! What the benchmarks share.
//!
//! Every group measures one job: the function `ours` is arraybridge, the others are peers, measured
//! in the same run. `cargo xtask bench` runs them and prints each peer's time as a multiple of ours.

mod common_memory;
#[cfg(feature = "torch")]
pub mod libtorch_dlpack;
#[cfg(feature = "opencl")]
pub mod opencl_calls;

pub use common_memory::{InPython, in_common_memory};
pub use python_peer::PythonPeer;
