//! Memory of array programs: how much there is, who may take how much of it, and what to do when it
//! runs out.
//!
//! - [`call`]: functions of one framework for arrays of any, and what element type results have.
//! - [`probe`]: how much memory the host and each device have, container limits included.
//! - [`budget`]: reservations that frameworks share, so that there is room for what was promised.
//! - [`predict`]: how many bytes a computation will take, before it starts.
//! - [`pool`]: buffers that are used again.
//! - [`chunk`]: work in parts where the whole does not fit.
//! - [`recovery`]: from out of memory, in any framework.
//! - [`training`]: batch sizes, placement of layers, checkpoints, loss scaling.
//! - [`manager`]: the memory manager of NLSQ, method by method.
//! - [`profile`]: what a piece of code takes, and a monitor over time.
//! - [`patterns`]: conversions kept, put off and merged; devices given out to threads.
//!
//! Programs use the package `arraybridge`, which re-exports all of it as `arraybridge::memory`.

pub mod budget;
pub mod call;
pub mod chunk;
pub mod manager;
pub mod patterns;
pub mod pool;
pub mod predict;
pub mod probe;
pub mod profile;
pub mod recovery;
pub mod training;

mod arguments;
mod bytes;
mod clock;
mod sync;

pub use clock::{Clock, ManualClock, SystemClock};
