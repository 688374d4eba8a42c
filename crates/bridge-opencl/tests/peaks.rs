//! What the backend says that a copy takes beside its result is what it allocates, on a device that works in the
//! host's memory: in a program of its own, which counts.

use bridge_core::{DataType, Device, Layout, ManagedTensor, Overflow, Runtime as _};
use bridge_memory::profile::{CountingAllocator, PeakScope};
use bridge_opencl::{ClDevice, OpenCl};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator::new();

/// Handles, events, shapes, and what arrays here are longer than their elements.
const SMALL: u64 = 8 << 10;

const SIDE: usize = 400;

fn numbers(turned: bool) -> ManagedTensor {
    let values = (0..SIDE * SIDE).map(|n| (n % 100) as f32).collect();
    let tensor = ManagedTensor::from_vec(values, &[SIDE, SIDE]).unwrap();
    if turned { tensor.permuted(&[1, 0]).unwrap() } else { tensor }
}

/// One test, as all of the program is counted.
#[test]
fn a_copy_takes_what_it_says() {
    for device in ClDevice::all().unwrap_or_default() {
        if !device.capabilities().is_cpu {
            continue;
        }
        let there = device.device();
        for turned in [false, true] {
            let host = numbers(turned);
            let array = OpenCl.transfer(&numbers(false), there).unwrap();
            let array = if turned { array.permuted(&[1, 0]).unwrap() } else { array };
            let (same, refuse, saturate) = (DataType::F32, Overflow::Refuse, Overflow::Saturate);
            for (what, source, to, data_type, overflow) in [
                ("up", &host, there, same, refuse),
                ("down", &array, Device::CPU, same, refuse),
                ("on the device", &array, there, same, refuse),
                ("a cast", &array, there, DataType::I16, saturate),
                ("a cast that looks", &array, there, DataType::I16, refuse),
                ("a cast by the host", &array, there, DataType::F8E4M3FN, saturate),
            ] {
                let found = source.describe();
                let told: u64 = OpenCl
                    .working_memory(&found, data_type, to, overflow)
                    .iter()
                    .map(|part| part.bytes)
                    .sum();
                let make = || match data_type == same {
                    true => OpenCl.transfer(source, to).unwrap(),
                    false => OpenCl.cast(source, data_type, overflow).unwrap(),
                };
                drop(make()); // what is made once is not counted
                OpenCl.synchronize(there).unwrap();
                let scope = PeakScope::start();
                let made = make();
                let taken = scope.finish().expect("this program counts").growth();
                let layout = Layout::row_major(made.shape()).unwrap();
                let result = layout.compact_bytes(made.data_type()).unwrap() as u64;
                let expected = result + told;
                assert!(
                    (expected.saturating_sub(SMALL)..expected + SMALL).contains(&taken),
                    "{what}, turned: {turned}: {taken} for {result} and {told}"
                );
            }
        }
    }
}
