//! Buffers that are used again.

mod aliasing;
mod device;
mod host;
mod threads;
