//! What copies on the host take beside their targets, where a stack or a chunk map makes them.

use bridge_convert::Stacker;
use bridge_core::{Array, DataType, ManagedTensor, Options, Registration, Registry};
use bridge_memory::budget::Budget;
use bridge_memory::chunk::{ChunkMap, ChunkPlan};

fn registry() -> Registry {
    Registry::new([
        Registration::backend(&bridge_core::Dlpack),
        Registration::host_tools(&bridge_host::HostKernels),
    ])
}

const SIDE: usize = 100;
const BYTES: u64 = (SIDE * SIDE) as u64;

/// Bytes whose axes are in another order.
fn turned() -> ManagedTensor {
    let square = ManagedTensor::from_vec(vec![1_u8; SIDE * SIDE], &[SIDE, SIDE]).unwrap();
    square.permuted(&[1, 0]).unwrap()
}

/// What bringing them into row-major order takes.
fn buffer() -> u64 {
    let (tensor, rows) = (turned(), bridge_core::Layout::row_major(&[SIDE, SIDE]).unwrap());
    let bytes = bridge_host::working_memory((DataType::U8, tensor.layout()), (DataType::U8, &rows));
    assert!(bytes > 10_000, "{bytes}");
    bytes
}

#[test]
fn a_stack_has_room_for_the_buffer_of_each_array() {
    let registry = registry();
    for (capacity, fits) in [(2 * BYTES + buffer() - 1, false), (2 * BYTES + buffer(), true)] {
        let budget = Budget::new("test", capacity).unwrap();
        let mut stack = Stacker::new(&registry, 2, 0).within(&budget);
        let pushed = stack.push(Array::new(turned()));
        assert_eq!(pushed.is_ok(), fits);
        if fits {
            stack.push(Array::new(turned())).unwrap();
            drop(stack.finish("dlpack", Options::default()).unwrap());
            assert_eq!(budget.status().peak, capacity);
        }
        drop(stack);
        assert_eq!(budget.reserved(), 0);
    }
}

#[test]
fn the_result_of_chunks_has_room_for_the_buffer_of_each() {
    let (registry, plan) = (registry(), ChunkPlan::of_size(2 * SIDE, SIDE).unwrap());
    for (capacity, fits) in [(2 * BYTES + buffer() - 1, false), (2 * BYTES + buffer(), true)] {
        let budget = Budget::new("test", capacity).unwrap();
        let consumer = budget.consumer("chunks");
        let whole = ManagedTensor::from_vec(vec![1_u8; 2 * SIDE], &[2 * SIDE]).unwrap();
        let mapped = ChunkMap::new(&registry, &plan)
            .within(&consumer)
            .run(Array::new(whole), |_| Ok(Array::new(turned())));
        assert_eq!(mapped.is_ok(), fits);
        assert_eq!(budget.status().peak, if fits { capacity } else { 2 * BYTES });
        drop(mapped);
        assert_eq!(budget.reserved(), 0);
    }
}
