//! What the backend for torch does. One program, as each that is linked with libtorch costs time; what
//! watches its own process stands beside it.

mod conformance;
mod described;
mod devices;
mod element_types;
mod hostile;
mod other_handles;
mod out_of_memory;
mod ownership;
mod read_only;
mod refusals;
mod strides;
mod threads;
