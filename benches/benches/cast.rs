//! Casting on one thread, both sides allocated beforehand: 4 Mi elements in a row, a picture to its
//! channels, and a matrix to its transpose.

use arraybridge::{DataType, HostMemory, ManagedTensor, Overflow, TensorSpec};
use bridge_benches::PythonPeer;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use half::slice::HalfFloatSliceExt;

const COUNT: usize = 4 << 20;

type Group<'a> = BenchmarkGroup<'a, criterion::measurement::WallTime>;

fn zeros(data_type: DataType) -> ManagedTensor {
    let spec = TensorSpec::row_major(data_type, &[COUNT]).expect("fits");
    let bytes = spec.layout.compact_bytes(data_type).expect("fits");
    let memory = HostMemory::zeroed(bytes, 64).expect("enough memory");
    // SAFETY: the memory is initialized with zeros, which are valid numbers.
    unsafe { ManagedTensor::from_host_memory(memory, spec) }.expect("fits")
}

fn numbers() -> Vec<f32> {
    (0..COUNT).map(|index| (index % 2000) as f32 * 0.25 - 250.0).collect()
}

/// Casts numbers from one type to the other, and as torch does.
fn casts(group: &mut Group<'_>, from: DataType, to: DataType) {
    group.throughput(Throughput::Bytes((COUNT * 4) as u64));
    group.sample_size(20);
    let floats = ManagedTensor::from_vec(numbers(), &[COUNT]).expect("fits");
    let mut source = zeros(from);
    bridge_host::cast(&floats, &mut source, Overflow::Refuse).expect("the numbers fit");
    let mut target = zeros(to);
    group.bench_function("ours", |b| {
        b.iter(|| bridge_host::cast(&source, &mut target, Overflow::Saturate).expect("casts"));
    });
    let name = |data_type: DataType| data_type.to_string();
    let setup = format!(
        "import torch\ntorch.set_num_threads(1)\n\
         a = (torch.arange({COUNT}) % 2000 * 0.25 - 250).to(torch.{})\n\
         b = torch.empty({COUNT}, dtype=torch.{})\ndef job(): b.copy_(a)",
        name(from),
        name(to)
    );
    if let Some(mut peer) = PythonPeer::start("torch", &setup) {
        group.bench_function("torch", |b| b.iter_custom(|times| peer.run(times)));
    }
}

fn halves(c: &mut Criterion) {
    let mut group = c.benchmark_group("cast f32 to f16");
    casts(&mut group, DataType::F32, DataType::F16);
    let (floats, mut out) = (numbers(), vec![half::f16::ZERO; COUNT]);
    group.bench_function("half", |b| b.iter(|| out.convert_from_f32_slice(&floats)));
    group.finish();

    let mut group = c.benchmark_group("cast f16 to f32");
    casts(&mut group, DataType::F16, DataType::F32);
    let mut floats = numbers();
    group.bench_function("half", |b| b.iter(|| out.convert_to_f32_slice(&mut floats)));
    group.finish();
}

fn brains(c: &mut Criterion) {
    let mut group = c.benchmark_group("cast f32 to bf16");
    casts(&mut group, DataType::F32, DataType::BF16);
    let (floats, mut out) = (numbers(), vec![half::bf16::ZERO; COUNT]);
    group.bench_function("half", |b| b.iter(|| out.convert_from_f32_slice(&floats)));
    group.finish();

    let mut group = c.benchmark_group("cast bf16 to f32");
    casts(&mut group, DataType::BF16, DataType::F32);
    let mut floats = numbers();
    group.bench_function("half", |b| b.iter(|| out.convert_to_f32_slice(&mut floats)));
    group.finish();
}

fn others(c: &mut Criterion) {
    for (from, to) in [
        (DataType::F64, DataType::F32),
        (DataType::F32, DataType::I32),
        (DataType::F32, DataType::U8),
        (DataType::I64, DataType::F32),
        (DataType::F32, DataType::F8E4M3FN),
    ] {
        let names = (from.short_name(), to.short_name());
        let mut group = c.benchmark_group(format!("cast {} to {}", names.0, names.1));
        casts(&mut group, from, to);
        group.finish();
    }
}

/// Casts zeros of `shape`, axes in the order `axes`, to compact ones, and as torch does.
fn permuted(
    c: &mut Criterion,
    name: &str,
    [from, to]: [DataType; 2],
    shape: &[usize],
    axes: &[usize],
) {
    let zeros = |data_type, shape: &[usize]| {
        let spec = TensorSpec::row_major(data_type, shape).expect("fits");
        bridge_host::zeroed(&spec, 64).expect("there is memory")
    };
    let source = zeros(from, shape).permuted(axes).expect("all axes once");
    let mut target = zeros(to, source.shape());
    let mut group = c.benchmark_group(name);
    group.throughput(Throughput::Elements(source.layout().element_count() as u64));
    group.sample_size(20);
    group.bench_function("ours", |b| {
        b.iter(|| bridge_host::cast(&source, &mut target, Overflow::Saturate).expect("casts"));
    });
    let setup = format!(
        "import torch\ntorch.set_num_threads(1)\n\
         a = torch.zeros({shape:?}, dtype=torch.{from}).permute({axes:?})\n\
         b = torch.zeros(a.shape, dtype=torch.{to})\ndef job(): b.copy_(a)"
    );
    if let Some(mut peer) = PythonPeer::start("torch", &setup) {
        group.bench_function("torch", |b| b.iter_custom(|times| peer.run(times)));
    }
    group.finish();
}

fn turned(c: &mut Criterion) {
    let (u8, f32, f16) = (DataType::U8, DataType::F32, DataType::F16);
    let picture = [1080, 1920, 3];
    permuted(c, "picture u8 to channels f32", [u8, f32], &picture, &[2, 0, 1]);
    let channels = [3, 1080, 1920];
    permuted(c, "channels f32 to picture u8", [f32, u8], &channels, &[1, 2, 0]);
    permuted(c, "transposed 2048x2048 f32 to f16", [f32, f16], &[2048, 2048], &[1, 0]);
}

fn one_thread(_: &mut Criterion) {
    bridge_host::set_max_threads(1);
}

criterion_group!(benches, one_thread, halves, brains, others, turned);
criterion_main!(benches);
