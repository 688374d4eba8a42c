//! What only a simulated driver can show: faults, refusals, the order of streams, missing drivers. Each
//! test runs in a process of its own, on a driver that is configured for it.

mod availability;
mod every_allocation;
mod faults;
mod holdings;
mod kernels;
mod peaks;
mod pools;
mod refusals;
mod staging;
mod streams;
#[path = "../support/mod.rs"]
mod support;
