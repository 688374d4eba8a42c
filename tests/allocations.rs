//! How often a conversion allocates. This file is a program of its own: it counts every allocation.

use arraybridge::ConvertByName;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use arraybridge::backends::ndarray::SharedArray;
use arraybridge::{Array, Convert, Options, Registry};
use candle_core::Tensor;
use ndarray::{ArrayD, IxDyn};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, first: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(first, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations<T>(job: impl FnOnce() -> T) -> (T, usize) {
    let before = ALLOCATIONS.get();
    let done = job();
    (done, ALLOCATIONS.get() - before)
}

fn array() -> ArrayD<f32> {
    ArrayD::zeros(IxDyn(&[3, 4]))
}

#[test]
fn sharing_by_type_allocates_the_reference_count_alone() {
    // The first conversion of a thread makes room for its observers.
    drop(array().convert::<SharedArray<f32>>());
    let array = array();
    let (shared, count) = allocations(|| array.convert::<SharedArray<f32>>().unwrap());
    assert_eq!(count, 1);
    let (_, count) = allocations(|| shared.try_into_owned().unwrap());
    // ndarray takes two short vectors to arrange the axes.
    assert!(count <= 2, "{count}");
}

#[test]
fn a_name_adds_one_allocation_for_the_erased_result() {
    let registry = Registry::global().unwrap();
    for backend in ["candle", "ndarray"] {
        let (by_type, typed) = allocations(|| match backend {
            "candle" => drop(array().convert::<Tensor>().unwrap()),
            _ => drop(array().convert::<SharedArray<f32>>().unwrap()),
        });
        let () = by_type;
        let erased = Array::new(array());
        let (converted, named) = allocations(|| match backend {
            "candle" => registry.convert(erased, "candle", Options::default()).unwrap(),
            _ => {
                // The same backend is no conversion at all.
                registry.convert(erased, "ndarray", Options::default()).unwrap()
            }
        });
        drop(converted);
        // `typed` includes the array's own vector, `named` the box of the erased result.
        assert!(named <= typed, "{backend}: {named} by name, {typed} by type and for the array");
    }
}
