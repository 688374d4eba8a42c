//! Where memory is short, a call fails: the program does not end.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use bridge_convert::unstack;
use bridge_core::{Array, ManagedTensor, Options, Registry};

/// An allocator that has no more than this.
const LIMIT: usize = 256 << 20;

struct Limited;

static USED: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is the system allocator's own, or a failed allocation.
unsafe impl GlobalAlloc for Limited {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if USED.fetch_add(layout.size(), Ordering::Relaxed) + layout.size() > LIMIT {
            USED.fetch_sub(layout.size(), Ordering::Relaxed);
            return std::ptr::null_mut();
        }
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        USED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Limited = Limited;

/// Ten million slices of nothing: each has parts of its own, and there is no memory for them.
fn nothing_ten_million_times() -> ManagedTensor {
    ManagedTensor::from_vec(Vec::<f32>::new(), &[10_000_000, 0]).unwrap()
}

#[test]
fn more_slices_than_there_is_memory_for_are_an_error() {
    let refused = nothing_ten_million_times().unstack(0).unwrap_err();
    assert!(matches!(refused.error(), bridge_core::TensorError::OutOfMemory { .. }), "{refused}");
    assert_eq!(refused.into_value().shape(), [10_000_000, 0]);

    let registry = Registry::new([]);
    let array = Array::new(nothing_ten_million_times());
    let refused = unstack(&registry, array, 0, "dlpack", &Options::default()).unwrap_err();
    assert!(refused.error().out_of_memory().is_some(), "{refused}");
    assert!(refused.into_value().downcast::<ManagedTensor>().is_ok());
}
