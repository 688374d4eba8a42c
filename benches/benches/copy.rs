//! Copying on one thread: contiguous, transposed, reversed, stepped. Both sides are warm and
//! allocated beforehand, but for the torch and NumPy peers, which allocate their result as they
//! always do.

use std::hint::black_box;

use arraybridge::{Access, DataType, HostMemory, Layout, ManagedTensor, TensorSpec};
use bridge_benches::PythonPeer;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use ndarray::{Array2, ArrayView2, s};

type Group<'a> = BenchmarkGroup<'a, criterion::measurement::WallTime>;

fn source(side: usize) -> Array2<f32> {
    Array2::from_shape_fn((side, side), |(row, column)| (row * side + column) as f32)
}

/// Copies `view` into a compact target with arraybridge, with ndarray, and as many bytes with
/// memcpy.
fn copies(group: &mut Group<'_>, view: &ArrayView2<'_, f32>) {
    let shape = [view.nrows(), view.ncols()];
    let bytes = view.len() * 4;
    group.throughput(Throughput::Bytes(bytes as u64));
    group.sample_size(20);

    let strides: Vec<isize> = view.strides().to_vec();
    let layout = Layout::new(&shape, &strides, 0).expect("a view's layout");
    let spec = TensorSpec { data_type: DataType::F32, layout };
    let first = view.as_ptr().cast_mut().cast();
    let owner = arraybridge::Owner::nothing();
    // SAFETY: the view's memory outlives the tensor, which is dropped before this function ends,
    // and is only read.
    let tensor = unsafe {
        ManagedTensor::from_parts(first, spec, arraybridge::Device::CPU, Access::ReadOnly, owner)
    }
    .expect("a valid tensor");

    let mut target = ManagedTensor::from_vec(vec![0_f32; view.len()], &shape).expect("fits");
    group.bench_function("ours", |b| {
        b.iter(|| bridge_host::copy(&tensor, &mut target).expect("copies"));
    });
    let from = vec![1_u8; bytes];
    let mut to = vec![0_u8; bytes];
    group.bench_function("memcpy", |b| b.iter(|| to.copy_from_slice(&from)));
    let mut assigned = Array2::<f32>::zeros((shape[0], shape[1]));
    group.bench_function("ndarray assign", |b| b.iter(|| assigned.assign(view)));
}

fn python(group: &mut Group<'_>, name: &str, setup: &str) {
    if let Some(mut peer) = PythonPeer::start(name, setup) {
        group.bench_function(name, |b| b.iter_custom(|times| peer.run(times)));
    }
}

fn contiguous(c: &mut Criterion) {
    let array = source(2048);
    let mut group = c.benchmark_group("contiguous 2048x2048 f32");
    copies(&mut group, &array.view());
    group.finish();
}

/// Blocks of one size often lie so: one allocation of whole pages behind the other, behind a few bytes
/// of bookkeeping. Some processors then move bytes slowly with `rep movsb`, which memcpy takes.
fn further_on_in_its_page(c: &mut Criterion) {
    const PAGE: usize = 4096;
    for kib in [4, 64, 256] {
        let bytes = kib << 10;
        let lines = |further: usize| {
            let memory = HostMemory::zeroed(bytes + PAGE, PAGE).expect("there is memory");
            let layout = Layout::row_major(&[bytes]).expect("fits").at_byte_offset(further);
            let spec = TensorSpec { data_type: DataType::U8, layout };
            // SAFETY: all bytes are zero, which are valid elements.
            unsafe { ManagedTensor::from_host_memory(memory, spec) }.expect("it lies within")
        };
        let (from, mut to) = (lines(0), lines(16));
        let mut group = c.benchmark_group(format!("{kib} KiB, 16 bytes further on in the page"));
        group.throughput(Throughput::Bytes(bytes as u64)).sample_size(20);
        group.bench_function("ours", |b| {
            b.iter(|| bridge_host::copy(black_box(&from), &mut to).expect("copies"));
        });
        group.bench_function("memcpy", |b| {
            let from = from.as_slice::<u8>().expect("bytes");
            let to = to.as_mut_slice::<u8>().expect("bytes");
            b.iter(|| to.copy_from_slice(black_box(from)));
        });
        group.finish();
    }
}

fn transposed(c: &mut Criterion) {
    for side in [2048, 4096, 4097] {
        let array = source(side);
        let mut group = c.benchmark_group(format!("transposed {side}x{side} f32"));
        copies(&mut group, &array.t());
        python(
            &mut group,
            "numpy",
            &format!(
                "import numpy\na = numpy.ones(({side}, {side}), 'f4')\nb = numpy.empty_like(a)\n\
                 def job(): numpy.copyto(b, a.T)"
            ),
        );
        python(
            &mut group,
            "torch",
            &format!(
                "import torch\ntorch.set_num_threads(1)\na = torch.ones(({side}, {side}))\n\
                 b = torch.empty_like(a)\ndef job(): b.copy_(a.t())"
            ),
        );
        group.finish();
    }
}

fn reversed(c: &mut Criterion) {
    let array = source(2048);
    let mut group = c.benchmark_group("reversed rows 2048x2048 f32");
    copies(&mut group, &array.slice(s![..;-1, ..]));
    python(
        &mut group,
        "numpy",
        "import numpy\na = numpy.ones((2048, 2048), 'f4')\nb = numpy.empty_like(a)\n\
         def job(): numpy.copyto(b, a[::-1])",
    );
    group.finish();
}

fn stepped(c: &mut Criterion) {
    let array = source(2048);
    let mut group = c.benchmark_group("every second column 2048x2048 f32");
    copies(&mut group, &array.slice(s![.., ..;2]));
    python(
        &mut group,
        "numpy",
        "import numpy\na = numpy.ones((2048, 2048), 'f4')\nb = numpy.empty((2048, 1024), 'f4')\n\
         def job(): numpy.copyto(b, a[:, ::2])",
    );
    group.finish();
}

/// New memory for every copy: its pages are touched for the first time.
fn into_new_memory(c: &mut Criterion) {
    for side in [2048, 4096] {
        let numbers = vec![1.5_f32; side * side];
        let tensor = ManagedTensor::from_vec(numbers.clone(), &[side, side]).expect("it fits");
        let mib = (side * side * 4) >> 20;
        let mut group = c.benchmark_group(format!("copy of {mib} MiB into new memory"));
        group.throughput(Throughput::Bytes((side * side * 4) as u64)).sample_size(20);
        group.bench_function("ours", |b| {
            b.iter(|| bridge_host::to_row_major(&tensor).expect("copies"));
        });
        group.bench_function("Vec::clone", |b| b.iter(|| numbers.clone()));
        let setup = format!("import numpy\na = numpy.ones(({side}, {side}), 'f4')\n");
        python(&mut group, "numpy", &format!("{setup}def job(): a.copy()"));
        let setup =
            format!("import torch\ntorch.set_num_threads(1)\na = torch.ones(({side}, {side}))\n");
        python(&mut group, "torch", &format!("{setup}def job(): a.clone()"));
        group.finish();
    }
}

fn one_thread(_: &mut Criterion) {
    bridge_host::set_max_threads(1);
}

criterion_group!(
    benches,
    one_thread,
    contiguous,
    further_on_in_its_page,
    transposed,
    reversed,
    stepped,
    into_new_memory
);
criterion_main!(benches);
