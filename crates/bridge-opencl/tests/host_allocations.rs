//! Whichever allocation of the host's memory fails in a conversion: an error, the source intact, nothing
//! leaked, and the next call works. On processors the memory of arrays is the host's too.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bridge_convert::ConvertByName as _;
use bridge_core::{
    Array, CopyPolicy, DataType, Device, ManagedTensor, Options, Refused, Registration, Registry,
};
use bridge_memory::pool::PoolOptions;
use bridge_opencl::{ClArray, REGISTRATIONS};
use bridge_testkit::failing_allocator::{FailingAllocator, array_bytes, fail_at};
use bridge_testkit::vectors::Vectors;
use bridge_testkit::{Failures, bytes_of, fail_each};

mod support;

use support::on_every_device;

#[global_allocator]
static ALLOCATOR: FailingAllocator = FailingAllocator;

fn registry() -> Registry {
    let tools = [
        Registration::host_tools(&bridge_host::HostKernels),
        Registration::backend(&bridge_core::Dlpack),
        Registration::backend(&Vectors),
    ];
    Registry::new(REGISTRATIONS.into_iter().chain(tools))
}

/// The numbers from 0 on: 12 000 bytes.
fn here() -> ManagedTensor {
    ManagedTensor::from_vec((0..3000).map(|n| n as f32).collect(), &[50, 60]).unwrap()
}

/// Rows of which each begins where the one before does, and one element further on.
fn turned() -> ManagedTensor {
    here().permuted(&[1, 0]).unwrap()
}

/// The numbers from 0 on, as they lie in memory, wherever they are.
fn intact(array: &Array) {
    let there = array.downcast_ref::<ClArray>().map(|there| there.download().unwrap());
    let here = there.as_ref().or_else(|| array.downcast_ref::<ManagedTensor>());
    let found = here.expect("a tensor of the host");
    let expected = if found.shape() == [50, 60] { here_bytes() } else { bytes_of(&turned()) };
    assert!(bytes_of(found) == expected);
}

fn here_bytes() -> Vec<u8> {
    bytes_of(&here())
}

/// Bytes that all threads hold, once those of the driver have let go: what is the same twice.
fn settled() -> i64 {
    let mut before = array_bytes();
    for _ in 0..1000 {
        std::thread::sleep(Duration::from_millis(2));
        let now = array_bytes();
        if now == before {
            break;
        }
        before = now;
    }
    before
}

/// Other tests of this program allocate too.
fn alone(test: impl Fn()) {
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    test();
}

/// A conversion: what it is called, its array, its target, its options, and how many allocations it fails
/// without and how many it goes on without, on a processor.
type Case<'a> = (&'a str, &'a dyn Fn() -> Array, &'a str, Options<'a>, [u64; 2]);

fn check(is_cpu: bool, cases: &[Case<'_>]) {
    let registry = registry();
    for &(what, make, target, options, expected) in cases {
        let call = |array| registry.convert(array, target, options).map_err(Refused::into_parts);
        let Failures { errors, made_up_for } = fail_each(make, call, intact, fail_at, settled);
        if is_cpu {
            assert_eq!([errors, made_up_for], expected, "{what}");
        }
    }
}

fn copied() -> Options<'static> {
    Options::default().copy(CopyPolicy::Always)
}

/// A type to which the device has a kernel.
const BY_KERNEL: DataType = DataType::F64;
/// A type to which no device has one.
const BY_HOST: DataType = DataType::C64;

#[test]
fn downloads() {
    alone(|| {
        on_every_device(|queue| {
            // Whose every buffer is new.
            let pool = PoolOptions::new().max_buffers(0).build();
            let there = || Array::new(ClArray::upload(queue, &here()).unwrap());
            let turned = || {
                let there = ClArray::upload(queue, &here()).unwrap();
                Array::new(there.permuted(&[1, 0]).unwrap())
            };
            let down = copied().on(Device::CPU);
            check(
                queue.device().capabilities().is_cpu,
                &[
                    ("a download", &there, "dlpack", down, [1, 0]),
                    // The buffer in which rows are turned only saves time.
                    ("in another order of axes", &turned, "dlpack", down, [1, 1]),
                    ("into a vector", &there, "vectors", down, [1, 0]),
                    ("into a vector, in another order", &turned, "vectors", down, [1, 1]),
                    ("into a pool", &there, "dlpack", down.pool(&pool), [1, 0]),
                    ("cast", &there, "dlpack", down.cast(BY_KERNEL), [2, 0]),
                    ("cast, into a vector", &there, "vectors", down.cast(BY_KERNEL), [2, 0]),
                    ("cast, in another order", &turned, "vectors", down.cast(BY_KERNEL), [2, 1]),
                ],
            );
        });
    });
}

/// Without a conversion around it.
#[test]
fn downloads_of_arrays() {
    alone(|| {
        on_every_device(|queue| {
            let make = || Array::new(ClArray::upload(queue, &here()).unwrap());
            let of = |array: &Array| array.downcast_ref::<ClArray>().unwrap().download();
            let call = |array| of(&array).map_err(|error| (array, error));
            let failures = fail_each(make, call, intact, fail_at, settled);
            assert_eq!(failures, Failures { errors: 1, made_up_for: 0 });
            let of = |array: &Array| array.downcast_ref::<ClArray>().unwrap().to_vec::<f32>();
            let call = |array| of(&array).map_err(|error| (array, error));
            let failures = fail_each(make, call, intact, fail_at, settled);
            assert_eq!(failures, Failures { errors: 1, made_up_for: 0 });
        });
    });
}

#[test]
fn uploads_copies_and_casts() {
    alone(|| {
        on_every_device(|queue| {
            let device = queue.device().device();
            let pool = PoolOptions::new().max_buffers(0).build_on(&registry(), device).unwrap();
            let (host, rows) = (|| Array::new(here()), || Array::new(turned()));
            let there = || Array::new(ClArray::upload(queue, &here()).unwrap());
            let up = copied().on(device);
            check(
                queue.device().capabilities().is_cpu,
                &[
                    ("an upload", &host, "opencl", up, [1, 0]),
                    ("in another order of axes", &rows, "opencl", up, [1, 1]),
                    ("into a pool", &host, "opencl", up.pool(&pool), [1, 0]),
                    ("a copy", &there, "opencl", up, [1, 0]),
                    ("a copy into a pool", &there, "opencl", up.pool(&pool), [1, 0]),
                    ("a cast", &there, "opencl", up.cast(BY_KERNEL), [1, 0]),
                    // Downloaded, cast and uploaded.
                    ("a cast by the host", &there, "opencl", up.cast(BY_HOST), [3, 0]),
                ],
            );
        });
    });
}
