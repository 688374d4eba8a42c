//! What arrays do on every OpenCL device of the machine. One program, as each that is linked costs time;
//! what watches its own process stands beside it.

mod casts;
mod conformance;
mod copies;
mod dlpack;
mod hostile;
mod in_place;
mod pools;
mod queues;
#[path = "../support/mod.rs"]
mod support;
mod traps;
