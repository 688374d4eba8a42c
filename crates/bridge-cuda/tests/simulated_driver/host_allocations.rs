//! Whichever allocation of the host's own memory fails in a conversion: an error, the source intact, nothing
//! leaked, and the next call works. What fails in the driver is in `every_allocation`.

use bridge_convert::ConvertByName as _;
use bridge_core::{Array, Device, Options, Refused, Registration, Registry};
use bridge_cuda::REGISTRATIONS;
use bridge_memory::pool::PoolOptions;
use bridge_testkit::failing_allocator::{array_bytes, fail_at};
use bridge_testkit::vectors::Vectors;
use bridge_testkit::{Failures, fail_each};
use simulated_cuda::{Config, SimulatedCuda};

use crate::every_allocation::{
    MANAGED, NARROW, PINNED, WIDE, copy, gaps_here, gaps_there, held, here, intact, much, on, there,
};
use crate::support::{GPU, alone};

/// A conversion: what it is called, its array, its target, its options, and how many allocations it fails
/// without and how many it goes on without.
type Case<'a> = (&'a str, &'a dyn Fn() -> Array, &'a str, Options<'a>, [u64; 2]);

fn check(cuda: &SimulatedCuda, cases: &[Case<'_>]) {
    let tools = [
        Registration::host_tools(&bridge_host::HostKernels),
        Registration::backend(&bridge_core::Dlpack),
        Registration::backend(&Vectors),
    ];
    let registry = Registry::new(REGISTRATIONS.into_iter().chain(tools));
    let held = || (array_bytes(), held(cuda));
    for &(what, make, target, options, expected) in cases {
        let call = |array| registry.convert(array, target, options).map_err(Refused::into_parts);
        let Failures { errors, made_up_for } = fail_each(make, call, intact, fail_at, held);
        assert_eq!([errors, made_up_for], expected, "{what}");
    }
}

#[test]
fn downloads_and_the_hosts_memory() {
    alone("downloads_and_the_hosts_memory", Config::default(), |cuda| {
        let (there, much) = (|| there(&[50, 60]), || there(&[300, 1000]));
        // Whose every buffer is new.
        let pool = PoolOptions::new().max_buffers(0).build();
        let down = on(Device::CPU);
        check(
            cuda,
            &[
                ("a download", &there, "dlpack", down, [1, 0]),
                ("in pieces", &much, "dlpack", down, [1, 0]),
                ("of rows with gaps", &gaps_there, "dlpack", down, [1, 0]),
                ("into a vector", &there, "vectors", down, [1, 0]),
                ("of rows with gaps, into a vector", &gaps_there, "vectors", down, [1, 0]),
                ("into a pool", &there, "dlpack", down.pool(&pool), [1, 0]),
                ("cast", &there, "dlpack", down.cast(WIDE), [2, 0]),
                ("cast to what may not fit", &there, "dlpack", down.cast(NARROW), [2, 0]),
                ("cast, into a vector", &gaps_there, "vectors", down.cast(WIDE), [2, 0]),
                // All of it is the driver's.
                ("to pinned memory", &gaps_there, "cuda", on(PINNED), [0, 0]),
                ("to managed memory", &there, "cuda", on(MANAGED), [0, 0]),
            ],
        );
    });
}

#[test]
fn uploads_and_the_hosts_memory() {
    alone("uploads_and_the_hosts_memory", Config::default(), |cuda| {
        let there = || there(&[50, 60]);
        check(
            cuda,
            &[
                ("an upload", &here, "cuda", on(GPU), [0, 0]),
                ("in pieces", &much, "cuda", on(GPU), [0, 0]),
                // A buffer of the host's kernels only saves time.
                ("of rows with gaps", &gaps_here, "cuda", on(GPU), [0, 1]),
                ("cast, then uploaded", &here, "cuda", on(GPU).cast(NARROW), [1, 0]),
                ("a copy on the device", &there, "cuda", copy(GPU), [0, 0]),
                ("a cast that may not fit", &there, "cuda", on(GPU).cast(NARROW), [0, 0]),
            ],
        );
    });
}
