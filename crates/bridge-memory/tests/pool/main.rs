//! Buffers that are used again.

mod aliasing;
mod budget;
mod conversions;
mod device;
mod every_way;
mod host;
mod marked;
mod pages;
mod runtime;
mod threads;
