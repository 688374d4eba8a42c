//! Buffers that are used again.

mod aliasing;
mod budget;
mod device;
mod host;
mod threads;
