//! Host to OpenCL and back: beside the driver's own calls, and beside pyclesperanto.
//!
//! Needs an OpenCL device: `cargo bench --package bridge-benches --features opencl --bench opencl`.

use arraybridge::ConvertByName;
use std::hint::black_box;

use arraybridge::backends::opencl::{ClArray, ClDevice, ClQueue};
use arraybridge::{Array, Device, ManagedTensor, Options, Registry};
use bridge_benches::PythonPeer;
use bridge_benches::opencl_calls::RawBuffer;
use criterion::measurement::WallTime;
use criterion::{
    BatchSize, BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main,
};

type Group<'a> = BenchmarkGroup<'a, WallTime>;

/// Numbers of four bytes: 4 KiB to 64 MiB.
const COUNTS: [usize; 4] = [1 << 10, 1 << 16, 1 << 20, 1 << 24];

#[expect(clippy::print_stderr, reason = "a benchmark says what it could not measure")]
fn queue() -> Option<ClQueue> {
    let found = ClDevice::all().and_then(|devices| devices[0].queue());
    found.map_err(|error| eprintln!("opencl: not measured: {error}")).ok()
}

fn numbers(count: usize) -> ManagedTensor {
    ManagedTensor::from_vec(vec![1.5_f32; count], &[count]).expect("it fits")
}

fn group<'a>(c: &'a mut Criterion, name: &str, count: usize) -> Group<'a> {
    let mut group = c.benchmark_group(format!("{name} {} KiB", count >> 8));
    group.throughput(Throughput::Bytes(count as u64 * 4)).sample_size(20);
    group
}

fn python(group: &mut Group<'_>, count: usize, job: &str) {
    let setup = format!(
        "import numpy, pyclesperanto as cle\ncle.select_device()\n\
         host = numpy.full({count}, 1.5, 'f4')\nthere = cle.push(host)\n\
         def job(): {job}"
    );
    if let Some(mut peer) = PythonPeer::start("pyclesperanto", &setup) {
        group.bench_function("pyclesperanto", |b| b.iter_custom(|times| peer.run(times)));
    }
}

fn uploads(c: &mut Criterion) {
    let Some(queue) = queue() else { return };
    for count in COUNTS {
        let host = numbers(count);
        let slice = vec![1.5_f32; count];
        let mut group = group(c, "upload", count);
        group.bench_function("ours", |b| {
            b.iter(|| ClArray::upload(&queue, black_box(&host)).expect("uploads"));
        });
        group.bench_function("clEnqueueWriteBuffer", |b| {
            b.iter(|| drop(RawBuffer::upload(&queue, black_box(&slice))));
        });
        python(&mut group, count, "cle.push(host)");
        group.finish();
    }
}

fn downloads(c: &mut Criterion) {
    let Some(queue) = queue() else { return };
    for count in COUNTS {
        let there = ClArray::upload(&queue, &numbers(count)).expect("uploads");
        let raw = RawBuffer::upload(&queue, &vec![1.5_f32; count]);
        let mut group = group(c, "download", count);
        group.bench_function("ours", |b| {
            b.iter(|| there.to_vec::<f32>().expect("downloads"));
        });
        group.bench_function("clEnqueueReadBuffer", |b| {
            b.iter(|| raw.download(&queue));
        });
        python(&mut group, count, "cle.pull(there)");
        group.finish();
    }
}

fn round_trips(c: &mut Criterion) {
    let Some(queue) = queue() else { return };
    for count in COUNTS {
        let host = numbers(count);
        let slice = vec![1.5_f32; count];
        let mut group = group(c, "host to OpenCL to host", count);
        group.bench_function("ours", |b| {
            b.iter(|| {
                let there = ClArray::upload(&queue, black_box(&host)).expect("uploads");
                there.to_vec::<f32>().expect("downloads")
            });
        });
        group.bench_function("the driver's own calls", |b| {
            b.iter(|| {
                let there = RawBuffer::upload(&queue, black_box(&slice));
                there.download(&queue)
            });
        });
        python(&mut group, count, "cle.pull(cle.push(host))");
        group.finish();
    }
}

/// In place: the same time at every size.
fn in_place(c: &mut Criterion) {
    let Some(queue) = queue() else { return };
    if !queue.device().capabilities().shares_host_memory() {
        return;
    }
    for count in COUNTS {
        let mut group = group(c, "in place, there and back,", count);
        group.bench_function("ours", |b| {
            // The tensor goes round and round.
            let mut held = Some(numbers(count));
            b.iter(|| {
                let tensor = held.take().expect("it came back");
                let lent = ClArray::in_place(&queue, tensor).expect("in place");
                held = Some(lent.into_host().expect("comes back"));
            });
        });
        group.finish();
    }
    let registry = Registry::global().expect("no duplicates");
    let device: Device = queue.device().device();
    let mut group = c.benchmark_group("in place by name");
    for count in COUNTS {
        group.bench_function(format!("ours {} KiB", count >> 8), |b| {
            b.iter_batched(
                || Array::new(numbers(count)),
                |array| {
                    let options = Options::default().on(device);
                    registry.convert(array, "opencl", options).expect("in place")
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

fn strided_uploads(c: &mut Criterion) {
    let Some(queue) = queue() else { return };
    let side = 1024;
    let host = ManagedTensor::from_vec(vec![1.5_f32; side * side], &[side, side]).expect("fits");
    let view = host.permuted(&[1, 0]).expect("two axes");
    let mut group = group(c, "transposed upload", side * side);
    group.bench_function("ours", |b| {
        b.iter(|| {
            let there = ClArray::upload(&queue, black_box(&view)).expect("uploads");
            there.wait().expect("arrives");
            there
        });
    });
    group.bench_function("packed first, then clEnqueueWriteBuffer", |b| {
        b.iter(|| {
            let packed = bridge_host::to_row_major(black_box(&view)).expect("packs");
            drop(RawBuffer::upload(&queue, packed.as_slice().expect("numbers")));
        });
    });
    python(
        &mut group,
        side * side,
        "cle.push(numpy.ascontiguousarray(host.reshape(1024, 1024).T))",
    );
    group.finish();
}

criterion_group!(benches, uploads, downloads, round_trips, in_place, strided_uploads);
criterion_main!(benches);
