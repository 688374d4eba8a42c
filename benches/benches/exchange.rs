//! Handing a small array over, which costs the same for a large one.

use arraybridge::ConvertByName;
use std::hint::black_box;

use arraybridge::backends::ndarray::SharedArray;
use arraybridge::{Array, Convert, DataType, Options, Registry};
use candle_core::Tensor;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use dlpark::TryFromDlpack;
use dlpark::allocation::dynamic::Initialized;
use dlpark::ffi::DLManagedTensorVersioned;
use ndarray::{ArrayD, ArrayViewD, IxDyn};

fn small() -> ArrayD<f32> {
    ArrayD::zeros(IxDyn(&[3, 4]))
}

fn dlpark_export(array: ArrayD<f32>) -> dlpark::versioned::Dlpack {
    let header: Initialized<DLManagedTensorVersioned> = Box::new(array).try_into().expect("fits");
    // SAFETY: dlpark's own producer filled the header from an owned array.
    unsafe { header.finish() }
}

fn ndarray_to_ndarray(c: &mut Criterion) {
    let mut group = c.benchmark_group("ndarray to a shared view");
    group.bench_function("ours", |b| {
        b.iter_batched(
            small,
            |array| {
                let shared: SharedArray<f32> = array.convert().expect("shares");
                black_box(shared.view().len());
                shared
            },
            BatchSize::SmallInput,
        );
    });
    group.bench_function("dlpark", |b| {
        b.iter_batched(
            small,
            |array| {
                let tensor = dlpark_export(array);
                // SAFETY: the tensor is an owned array that nobody writes.
                let view =
                    unsafe { ArrayViewD::<f32>::try_from_dlpack(&tensor, ()) }.expect("views");
                black_box(view.len());
                drop(view);
                tensor
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

fn ndarray_to_candle(c: &mut Criterion) {
    let mut group = c.benchmark_group("ndarray to candle");
    group.bench_function("ours", |b| {
        b.iter_batched(
            small,
            |array| -> Tensor { array.convert().expect("moves") },
            BatchSize::SmallInput,
        );
    });
    group.bench_function("by hand", |b| {
        b.iter_batched(
            small,
            |array| {
                let shape = array.shape().to_vec();
                let (vec, _) = array.into_raw_vec_and_offset();
                Tensor::from_vec(vec, shape, &candle_core::Device::Cpu).expect("fits")
            },
            BatchSize::SmallInput,
        );
    });
    group.bench_function("dlpark", |b| {
        b.iter_batched(
            small,
            |array| {
                let tensor = dlpark_export(array);
                // SAFETY: the tensor is an owned array that nobody writes.
                unsafe { Tensor::try_from_dlpack(&tensor, ()) }.expect("copies")
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

fn candle_to_ndarray(c: &mut Criterion) {
    let mut group = c.benchmark_group("candle to ndarray");
    let tensor: Tensor = small().convert().expect("moves");
    group.bench_function("ours", |b| {
        b.iter(|| {
            let shared: SharedArray<f32> = tensor.clone().convert().expect("shares");
            black_box(shared.view().len());
        });
    });
    group.bench_function("dlpark", |b| {
        b.iter(|| {
            let header: Initialized<DLManagedTensorVersioned> =
                Box::new(tensor.clone()).try_into().expect("exports");
            // SAFETY: dlpark's own producer filled the header from a live tensor.
            let shared = unsafe { header.finish() };
            // SAFETY: nobody writes the tensor.
            let view = unsafe { ArrayViewD::<f32>::try_from_dlpack(&shared, ()) }.expect("views");
            black_box(view.len());
        });
    });
    group.finish();
}

/// What planning and dispatch by name add to the same conversion by type.
fn by_name(c: &mut Criterion) {
    let registry = Registry::global().expect("no duplicates");
    let mut group = c.benchmark_group("ndarray to candle by name");
    group.bench_function("ours", |b| {
        b.iter_batched(
            || Array::new(small()),
            |array| registry.convert(array, "candle", Options::default()).expect("moves"),
            BatchSize::SmallInput,
        );
    });
    group.bench_function("by type, erased", |b| {
        b.iter_batched(
            small,
            |array| {
                let tensor: Tensor = array.convert().expect("moves");
                Array::new(tensor)
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

/// What it takes to say what a conversion would do: one that shares, and one that casts.
fn plans(c: &mut Criterion) {
    let registry = Registry::global().expect("no duplicates");
    let (array, options) = (small(), Options::default());
    let mut group = c.benchmark_group("plan ndarray to candle");
    group.bench_function("by type", |b| {
        b.iter(|| black_box(&array).plan_to::<Tensor>(&options).expect("shares"));
    });
    let erased = Array::new(small());
    group.bench_function("by name", |b| {
        b.iter(|| registry.plan(black_box(&erased), "candle", &options).expect("shares"));
    });
    let cast = Options::default().cast(DataType::F64);
    group.bench_function("by name, a cast", |b| {
        b.iter(|| registry.plan(black_box(&erased), "candle", &cast).expect("casts"));
    });
    group.finish();
}

criterion_group!(benches, ndarray_to_ndarray, ndarray_to_candle, candle_to_ndarray, by_name, plans);
criterion_main!(benches);
