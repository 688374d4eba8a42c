//! A CUDA driver in host memory, for tests: it runs work late and out of order, fails on request, and
//! checks its callers.
//!
//! The package is two things: `libsimulated_cuda.so`, which exports the driver's functions, and this
//! library, which loads it and controls it. [`SimulatedCuda`] is the entrance; `README.md` lists what is
//! exported and what is checked.
//!
//! ```
//! use simulated_cuda::{Config, SimulatedCuda};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let cuda = SimulatedCuda::start(&Config::default().devices(1));
//! let stream = cudarc::driver::CudaContext::new(0)?.default_stream();
//! let array = stream.clone_htod(&[1.0_f32, 2.0])?;
//! assert_eq!(stream.clone_dtoh(&array)?, [1.0, 2.0]);
//! drop((array, stream));
//! assert_eq!(cuda.violations(), []);
//! # Ok(())
//! # }
//! ```
#![cfg(target_os = "linux")]

mod control;
mod driver;
mod interface;

pub use control::{SimulatedCuda, environment, library_folder, library_path};
pub use interface::config::Config;
pub use interface::counters::Counters;
pub use interface::fault::Fault;
pub use interface::launch::{Argument, Launch};
pub use interface::violation::{Violation, ViolationKind};
