//! Upload and download by the driver's own calls, which ours are measured beside.

use std::ffi::c_void;

use arraybridge::backends::opencl::ClQueue;
use opencl3::command_queue::{enqueue_read_buffer, enqueue_write_buffer};
use opencl3::event::release_event;
use opencl3::memory::{CL_MEM_READ_WRITE, create_buffer, release_mem_object};
use opencl3::types::{CL_TRUE, cl_mem};

/// A buffer of numbers that the driver made; released when it is dropped.
pub struct RawBuffer {
    mem: cl_mem,
    count: usize,
}

impl RawBuffer {
    /// A new buffer with a copy of the numbers.
    ///
    /// # Panics
    ///
    /// Where the driver refuses, as in all calls here.
    pub fn upload(queue: &ClQueue, from: &[f32]) -> Self {
        let context = queue.device().context().expect("a context").get();
        let (bytes, first) = (size_of_val(from), from.as_ptr().cast_mut().cast::<c_void>());
        let (nowhere, none) = (std::ptr::null_mut(), std::ptr::null());
        // SAFETY: the buffer has as many bytes as the slice, and the call blocks until it is read.
        unsafe {
            let mem = create_buffer(context, CL_MEM_READ_WRITE, bytes, nowhere).expect("memory");
            let event = enqueue_write_buffer(queue.raw(), mem, CL_TRUE, 0, bytes, first, 0, none);
            release_event(event.expect("writes")).expect("an event");
            Self { mem, count: from.len() }
        }
    }

    /// A new vector with a copy of the numbers.
    ///
    /// # Panics
    ///
    /// Where the driver refuses.
    pub fn download(&self, queue: &ClQueue) -> Vec<f32> {
        let mut to = Vec::<f32>::with_capacity(self.count);
        let (first, none) = (to.as_mut_ptr().cast::<c_void>(), std::ptr::null());
        let bytes = self.count * size_of::<f32>();
        // SAFETY: the buffer has as many bytes as the vector has room for, and the call blocks until
        // all are written.
        unsafe {
            let event =
                enqueue_read_buffer(queue.raw(), self.mem, CL_TRUE, 0, bytes, first, 0, none);
            release_event(event.expect("reads")).expect("an event");
            to.set_len(self.count);
        }
        to
    }
}

impl Drop for RawBuffer {
    fn drop(&mut self) {
        // SAFETY: the buffer was made by `upload` and is given up once.
        unsafe { release_mem_object(self.mem) }.expect("a buffer");
    }
}
