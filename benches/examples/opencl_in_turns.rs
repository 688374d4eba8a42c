//! Upload and download beside the driver's own calls, in turns: what one leaves in the caches and
//! the allocator, the other finds too. Prints the median of each in microseconds.

#![allow(clippy::print_stdout, reason = "a program for people")]

use std::ffi::c_void;
use std::hint::black_box;
use std::time::Instant;

use arraybridge::ManagedTensor;
use arraybridge::opencl::{ClArray, ClDevice, ClQueue};
use opencl3::command_queue::{enqueue_read_buffer, enqueue_write_buffer};
use opencl3::event::release_event;
use opencl3::memory::{CL_MEM_READ_WRITE, create_buffer, release_mem_object};
use opencl3::types::{CL_TRUE, cl_mem};

const TURNS: usize = 1500;

fn raw_upload(queue: &ClQueue, from: &[f32]) -> cl_mem {
    let context = queue.device().context().expect("a context").get();
    let (bytes, first) = (size_of_val(from), from.as_ptr().cast_mut().cast::<c_void>());
    let (nowhere, none) = (std::ptr::null_mut(), std::ptr::null());
    // SAFETY: the buffer has as many bytes as the slice, and the call blocks until it is read.
    unsafe {
        let mem = create_buffer(context, CL_MEM_READ_WRITE, bytes, nowhere).expect("memory");
        let event = enqueue_write_buffer(queue.raw(), mem, CL_TRUE, 0, bytes, first, 0, none);
        release_event(event.expect("writes")).expect("an event");
        mem
    }
}

fn raw_download(queue: &ClQueue, mem: cl_mem, count: usize) -> Vec<f32> {
    let mut to = Vec::<f32>::with_capacity(count);
    let (first, none) = (to.as_mut_ptr().cast::<c_void>(), std::ptr::null());
    // SAFETY: the buffer has as many bytes as the vector has room for, and the call blocks until
    // all are written.
    unsafe {
        let event = enqueue_read_buffer(queue.raw(), mem, CL_TRUE, 0, count * 4, first, 0, none);
        release_event(event.expect("reads")).expect("an event");
        to.set_len(count);
    }
    to
}

fn release(mem: cl_mem) {
    // SAFETY: the one reference to it is given up.
    unsafe { release_mem_object(mem) }.expect("a live buffer");
}

fn median(mut microseconds: Vec<f64>) -> f64 {
    microseconds.sort_by(f64::total_cmp);
    microseconds[microseconds.len() / 2]
}

fn main() {
    let queue = match ClDevice::all() {
        Ok([device, ..]) => device.queue().expect("a queue"),
        _ => return println!("there is no OpenCL device here"),
    };
    for count in [1 << 10, 1 << 16, 1 << 20] {
        let slice = vec![1.5_f32; count];
        let host = ManagedTensor::from_vec(slice.clone(), &[count]).expect("a row");
        let there = ClArray::upload(&queue, &host).expect("uploads");
        let raw = raw_upload(&queue, &slice);
        let mut times = [const { Vec::new() }; 4];
        for _ in 0..TURNS {
            let jobs: [&dyn Fn(); 4] = [
                &|| drop(black_box(ClArray::upload(&queue, black_box(&host)).expect("uploads"))),
                &|| release(raw_upload(&queue, black_box(&slice))),
                &|| drop(black_box(there.to_vec::<f32>().expect("downloads"))),
                &|| drop(black_box(raw_download(&queue, raw, count))),
            ];
            for (job, times) in jobs.iter().zip(&mut times) {
                let start = Instant::now();
                job();
                times.push(start.elapsed().as_secs_f64() * 1e6);
            }
        }
        release(raw);
        let [up, raw_up, down, raw_down] = times.map(median);
        println!(
            "{:>5} KiB  upload {up:.1} µs, clEnqueueWriteBuffer {raw_up:.1} µs ({:.2})  \
             download {down:.1} µs, clEnqueueReadBuffer {raw_down:.1} µs ({:.2})",
            count >> 8,
            raw_up / up,
            raw_down / down
        );
    }
}
