//! Upload, download and both beside the driver's own calls, in turns: what one leaves in the caches and
//! the allocator, the other finds too. Prints the median of each in microseconds. Then uploads and copies on the
//! device with a pool beside those to new memory.

#![allow(clippy::print_stdout, reason = "a program for people")]

use std::hint::black_box;
use std::time::Instant;

use arraybridge::backends::opencl::{ClArray, ClDevice, ClQueue};
use arraybridge::{
    Convert, CopyPolicy, ManagedTensor, NativeArray, Options, Registry, SharedTensor,
};
use bridge_benches::opencl_calls::RawBuffer;
use bridge_memory::pool::DevicePool;
use in_turns::{Job, job};

const TURNS: usize = 500;

fn median(mut microseconds: Vec<f64>) -> f64 {
    microseconds.sort_by(f64::total_cmp);
    microseconds[microseconds.len() / 2]
}

/// The six jobs in another order each turn, so that each comes behind each other one equally often: the
/// multiples of a number modulo a prime.
fn order(turn: usize) -> impl Iterator<Item = usize> {
    (1..=6).map(move |job| job * (1 + turn % 6) % 7 - 1)
}

fn main() {
    let queue = match ClDevice::all() {
        Ok([device, ..]) => device.queue().expect("a queue"),
        _ => return println!("there is no OpenCL device here"),
    };
    for count in [1 << 10, 1 << 16, 1 << 18, 1 << 20, 1 << 22] {
        let slice = vec![1.5_f32; count];
        let host = ManagedTensor::from_vec(slice.clone(), &[count]).expect("a row");
        let there = ClArray::upload(&queue, &host).expect("uploads");
        let raw = RawBuffer::upload(&queue, &slice);
        let mut times = [const { Vec::new() }; 6];
        for turn in 0..TURNS {
            let jobs: [&dyn Fn(); 6] = [
                &|| drop(black_box(ClArray::upload(&queue, black_box(&host)).expect("uploads"))),
                &|| drop(RawBuffer::upload(&queue, black_box(&slice))),
                &|| drop(black_box(there.to_vec::<f32>().expect("downloads"))),
                &|| drop(black_box(raw.download(&queue))),
                &|| {
                    let there = ClArray::upload(&queue, black_box(&host)).expect("uploads");
                    drop(black_box(there.to_vec::<f32>().expect("downloads")));
                },
                &|| {
                    let there = RawBuffer::upload(&queue, black_box(&slice));
                    drop(black_box(there.download(&queue)));
                },
            ];
            let mut run = |place: usize| {
                let start = Instant::now();
                jobs[place]();
                times[place].push(start.elapsed().as_secs_f64() * 1e6);
            };
            order(turn).for_each(&mut run);
        }
        let [up, raw_up, down, raw_down, both, raw_both] = times.map(median);
        println!(
            "{:>5} KiB  upload {up:.1} µs, clEnqueueWriteBuffer {raw_up:.1} µs ({:.2})  \
             download {down:.1} µs, clEnqueueReadBuffer {raw_down:.1} µs ({:.2})  \
             both {both:.1} µs, the driver's own calls {raw_both:.1} µs ({:.2})",
            count >> 8,
            raw_up / up,
            raw_down / down,
            raw_both / both
        );
    }
    pools(&queue);
}

/// Copies of a tensor to the device, under these options.
fn copies<'a>(source: &'a SharedTensor, options: Options<'a>) -> Job<'a> {
    job(move || {
        let copy = ManagedTensor::alias(source).convert_to::<ClArray>(options);
        black_box(copy.expect("the device has room")).wait().expect("copies");
    })
}

fn pools(queue: &ClQueue) {
    const SIZES: [(&str, usize); 4] =
        [("4 KiB", 1 << 10), ("1 MiB", 1 << 18), ("16 MiB", 1 << 22), ("64 MiB", 1 << 24)];
    let device = queue.device().device();
    let registry = Registry::global().expect("no two backends have one name");
    let pool = DevicePool::new(registry, device).expect("the device has memory");
    let new = Options::default().on(device).copy(CopyPolicy::Always);
    for (size, count) in SIZES {
        let host = ManagedTensor::from_vec(vec![1.5_f32; count], &[count]).expect("a row");
        let there = ClArray::upload(queue, &host).expect("uploads").export().expect("a tensor");
        let sources = [("upload", host.into_shared()), ("copy on the device", there.into_shared())];
        for (what, source) in &sources {
            let jobs = vec![
                ("with a pool", copies(source, new.pool(&pool))),
                ("new memory", copies(source, new)),
            ];
            in_turns::compare(&format!("{what} of {size}"), jobs, in_turns::turns(51));
        }
    }
}
