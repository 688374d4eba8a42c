//! What only a simulated driver can show: faults, refusals, the order of streams, missing drivers. Each
//! test runs in a process of its own, on a driver that is configured for it.

mod availability;
mod every_allocation;
mod faults;
mod holdings;
mod host_allocations;
mod kernels;
mod peaks;
mod pools;
mod refusals;
mod staging;
mod streams;
#[path = "../support/mod.rs"]
mod support;

/// Of all tests here; it fails where `host_allocations` tells it to.
#[global_allocator]
static ALLOCATOR: bridge_testkit::failing_allocator::FailingAllocator =
    bridge_testkit::failing_allocator::FailingAllocator;
