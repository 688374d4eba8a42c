//! What the tests share.

#![allow(dead_code, reason = "each test file uses some of it")]

use std::io::Write;

use bridge_core::Element;
use bridge_opencl::{ClArray, ClDevice, ClEvent, ClQueue};
use opencl3::command_queue::{enqueue_barrier_with_wait_list, enqueue_write_buffer};
use opencl3::event::{CL_COMPLETE, create_user_event, release_event, set_user_event_status};
use opencl3::memory::{Buffer, CL_MEM_ALLOC_HOST_PTR, CL_MEM_READ_WRITE, ClMem};
use opencl3::types::CL_TRUE;

/// The devices, or none where there is no OpenCL: then a test says so and passes.
pub(crate) fn devices() -> &'static [ClDevice] {
    match ClDevice::all() {
        Ok(devices) => devices,
        Err(error) => {
            assert!(!bridge_testkit::is_required("opencl"), "{error}");
            // A test must not fail for want of a terminal.
            let _ = writeln!(std::io::stderr(), "nothing is tested: {error}");
            &[]
        }
    }
}

/// Runs a test on the default queue of every device.
pub(crate) fn on_every_device(test: impl Fn(&ClQueue)) {
    for device in devices() {
        test(&device.queue().expect("a device has a queue"));
    }
}

/// A gate that commands wait for: a user event, opened or failed by the test.
pub(crate) struct Gate(ClEvent);

impl Gate {
    pub(crate) fn new(queue: &ClQueue) -> Self {
        let context = queue.device().context().expect("a device has a context").get();
        let raw = create_user_event(context).expect("the driver makes user events");
        // SAFETY: the event was just created; the one reference is taken over by a second one and
        // the first released.
        unsafe {
            let event = ClEvent::retain(raw).expect("the event is live");
            release_event(raw).expect("the event is live");
            Self(event)
        }
    }

    pub(crate) fn event(&self) -> ClEvent {
        self.0.clone()
    }

    /// Holds up everything enqueued on a queue from now on, until the gate opens.
    pub(crate) fn block(&self, queue: &ClQueue) {
        let gate = self.0.raw();
        // SAFETY: the queue and the event are live.
        unsafe {
            let event = enqueue_barrier_with_wait_list(queue.raw(), 1, &raw const gate);
            release_event(event.expect("a barrier")).expect("the event is live");
        }
    }

    pub(crate) fn open(&self) {
        set_user_event_status(self.0.raw(), CL_COMPLETE).expect("opened once");
    }

    pub(crate) fn fail(&self, status: i32) {
        set_user_event_status(self.0.raw(), status).expect("failed once");
    }
}

/// Gives commands that wait for nothing time to run, and checks that this array's do wait.
pub(crate) fn is_held_up(array: &ClArray) -> bool {
    std::thread::sleep(std::time::Duration::from_millis(50));
    array.ready().is_some_and(|event| !event.is_done())
}

/// How many references the driver counts on an array's buffer.
pub(crate) fn references(array: &ClArray) -> u32 {
    struct Handle(opencl3::types::cl_mem);
    impl ClMem for Handle {
        fn get(&self) -> opencl3::types::cl_mem {
            self.0
        }
        fn get_mut(&mut self) -> opencl3::types::cl_mem {
            self.0
        }
    }
    Handle(array.raw()).reference_count().expect("the buffer is live")
}

/// Whether the references settle at `count`: a driver's thread may hold one for a moment.
pub(crate) fn settles_at(array: &ClArray, count: u32) -> bool {
    (0..1000).any(|_| {
        let settled = references(array) == count;
        if !settled {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        settled
    })
}

/// An array of these elements, of one axis.
pub(crate) fn array<T: Element>(queue: &ClQueue, elements: &[T]) -> ClArray {
    ClArray::from_slice(queue, elements, &[elements.len()]).expect("it fits")
}

/// An array over a buffer of opencl3's with these elements: memory of the driver, which an array made
/// of host memory is not on every device.
pub(crate) fn drivers_array<T: Element>(queue: &ClQueue, elements: &[T]) -> ClArray {
    let context = queue.device().context().expect("a device has a context");
    // SAFETY: there is no host pointer; the buffer has room for the elements, which are written
    // before the call returns and valid for their type.
    unsafe {
        let (flags, nowhere) = (CL_MEM_READ_WRITE | CL_MEM_ALLOC_HOST_PTR, std::ptr::null_mut());
        let buffer = Buffer::<T>::create(context, flags, elements.len(), nowhere).expect("memory");
        let (first, bytes) = (elements.as_ptr().cast_mut().cast(), size_of_val(elements));
        let written = enqueue_write_buffer(
            queue.raw(),
            buffer.get(),
            CL_TRUE,
            0,
            bytes,
            first,
            0,
            std::ptr::null(),
        );
        release_event(written.expect("written")).expect("the event is live");
        ClArray::from_buffer(queue, buffer, &[elements.len()]).expect("it fits")
    }
}
