//! Going back and forth holds nothing: memory, references of the driver, and counts stay flat.

#![cfg(target_os = "linux")]

use bridge_convert::ConvertByName;
mod support;

use bridge_core::{
    Array, DataType, Device, ManagedTensor, Options, Registration, Registry, Runtime,
};
use bridge_opencl::{ClArray, OpenCl};
use bridge_testkit::growth;
use support::{array, on_every_device, references, settles_at};

/// How much the process may grow over all rounds, by the driver's caches and the allocator's.
const SLACK: u64 = 2 << 20;

fn stays_flat(rounds: usize, round: impl Fn()) {
    let grown = growth(rounds, round);
    assert!(grown < SLACK, "{grown} bytes more after {rounds} rounds");
}

#[test]
fn a_hundred_thousand_round_trips_in_place_stay_flat() {
    on_every_device(|queue| {
        if !queue.device().capabilities().is_cpu {
            return;
        }
        stays_flat(100_000, || {
            let tensor = ManagedTensor::from_vec(vec![7_u32; 256], &[256]).unwrap();
            let lent = ClArray::in_place(queue, tensor).unwrap();
            let (vec, _) = lent.into_host().unwrap().into_vec::<u32>().unwrap();
            assert_eq!(vec[255], 7);
        });
    });
}

#[test]
fn a_hundred_thousand_round_trips_by_copy_stay_flat() {
    on_every_device(|queue| {
        stays_flat(100_000, || {
            let there = array(queue, &[7_u32; 256]);
            assert_eq!(there.to_vec::<u32>().unwrap()[255], 7);
        });
    });
}

#[test]
fn routes_strided_copies_and_casts_stay_flat() {
    on_every_device(|queue| {
        let registry = Registry::new([
            Registration::backend(&OpenCl),
            Registration::runtime(&OpenCl),
            Registration::allocator(&OpenCl),
            Registration::host_tools(&bridge_host::HostKernels),
        ]);
        let device = queue.device().device();
        // One array kept a round would be 4 MB or more.
        stays_flat(4_000, || {
            let tensor = ManagedTensor::from_vec(vec![1.5_f32; 512], &[32, 16]).unwrap();
            let view = tensor.sliced(0, 0, 16, 2).unwrap().permuted(&[1, 0]).unwrap();
            let up = Options::default().on(device).cast(DataType::I64);
            let there = registry.convert(Array::new(view), "opencl", up).unwrap();
            let tensor = there.export().unwrap();
            drop(OpenCl.transfer(&tensor, Device::CPU).unwrap());
        });
    });
}

#[test]
fn the_drivers_count_of_references_stays_flat() {
    on_every_device(|queue| {
        let held = array(queue, &[1_u8; 64]);
        let before = references(&held);
        for _ in 0..1_000 {
            drop(held.copy().unwrap());
        }
        held.wait().unwrap();
        queue.finish().unwrap();
        assert!(settles_at(&held, before), "{} references, not {before}", references(&held));
        let free = queue.device().memory().free;
        for _ in 0..1_000 {
            drop(held.cast(DataType::F32, bridge_core::Overflow::Refuse).unwrap());
        }
        queue.finish().unwrap();
        assert_eq!(queue.device().memory().free, free);
    });
}
