//! Handing a small array to torch and back, which costs the same for a large one: beside libtorch's
//! own DLPack functions, a copy, and Python.

use std::hint::black_box;

use arraybridge::backends::ndarray::SharedArray;
use arraybridge::{Convert, ManagedTensor};
use bridge_benches::PythonPeer;
use bridge_benches::libtorch_dlpack::{from_dlpack, to_dlpack};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use dlpark::TryFromDlpack;
use ndarray::{ArrayD, ArrayViewD, IxDyn};
use tch::Tensor;

fn small() -> ArrayD<f32> {
    ArrayD::zeros(IxDyn(&[3, 4]))
}

/// What libtorch gives out, viewed by dlpark: the raw calls up to an ndarray that can be read.
fn viewed(tensor: &Tensor) -> dlpark::versioned::Dlpack {
    let header = to_dlpack(tensor).into_raw();
    // SAFETY: the header was made just now and is handed over.
    let tensor =
        unsafe { dlpark::versioned::Dlpack::from_raw(header.as_ptr().cast()) }.expect("a header");
    // SAFETY: nobody writes the tensor meanwhile.
    let view = unsafe { ArrayViewD::<f32>::try_from_dlpack(&tensor, ()) }.expect("views");
    black_box(view.len());
    drop(view);
    tensor
}

fn ndarray_to_torch(c: &mut Criterion) {
    let mut group = c.benchmark_group("ndarray to torch");
    group.bench_function("ours", |b| {
        b.iter_batched(
            small,
            |array| -> Tensor { array.convert().expect("shares") },
            BatchSize::SmallInput,
        );
    });
    group.bench_function("at::fromDLPackVersioned", |b| {
        b.iter_batched(
            || small().convert::<ManagedTensor>().expect("exports").into_dlpack(),
            // SAFETY: the header was made just now and is handed over.
            |header| unsafe { from_dlpack(header) },
            BatchSize::SmallInput,
        );
    });
    group.bench_function("a header, and at::fromDLPackVersioned", |b| {
        b.iter_batched(
            small,
            |array| {
                let header = array.convert::<ManagedTensor>().expect("exports").into_dlpack();
                // SAFETY: the header was made just now and is handed over.
                unsafe { from_dlpack(header) }
            },
            BatchSize::SmallInput,
        );
    });
    group.bench_function("Tensor::from_slice, a copy", |b| {
        b.iter_batched(
            small,
            |array| {
                let elements = array.as_slice().expect("row-major");
                (Tensor::from_slice(elements).view([3, 4]), array)
            },
            BatchSize::SmallInput,
        );
    });
    let setup = "import numpy, torch\narray = numpy.zeros((3, 4), numpy.float32)\n\
                 def job(): return torch.from_numpy(array)";
    if let Some(mut python) = PythonPeer::start("torch.from_numpy", setup) {
        group.bench_function("torch.from_numpy in Python", |b| {
            b.iter_custom(|times| python.run(times));
        });
    }
    group.finish();
}

fn torch_to_ndarray(c: &mut Criterion) {
    let mut group = c.benchmark_group("torch to ndarray");
    let tensor = Tensor::zeros([3, 4], (tch::Kind::Float, tch::Device::Cpu));
    group.bench_function("ours", |b| {
        b.iter_batched(
            || Tensor::zeros([3, 4], (tch::Kind::Float, tch::Device::Cpu)),
            |tensor| {
                let shared: SharedArray<f32> = tensor.convert().expect("shares");
                black_box(shared.view().len());
                shared
            },
            BatchSize::SmallInput,
        );
    });
    group.bench_function("at::toDLPackVersioned, viewed by dlpark", |b| {
        b.iter_batched(
            || tensor.shallow_clone(),
            |tensor| (viewed(&tensor), drop(tensor)),
            BatchSize::SmallInput,
        );
    });
    group.bench_function("at::toDLPackVersioned", |b| {
        b.iter_batched(
            || tensor.shallow_clone(),
            |tensor| to_dlpack(&tensor),
            BatchSize::SmallInput,
        );
    });
    group.bench_function("copy_data, a copy", |b| {
        b.iter_batched(
            || tensor.shallow_clone(),
            |tensor| {
                let mut array = small();
                let elements = array.as_slice_mut().expect("row-major");
                tensor.copy_data(elements, elements.len());
                array
            },
            BatchSize::SmallInput,
        );
    });
    let setup = "import torch\ntensor = torch.zeros(3, 4)\ndef job(): return tensor.numpy()";
    if let Some(mut python) = PythonPeer::start("tensor.numpy", setup) {
        group.bench_function("tensor.numpy in Python", |b| {
            b.iter_custom(|times| python.run(times));
        });
    }
    group.finish();
}

fn there_and_back(c: &mut Criterion) {
    let mut group = c.benchmark_group("ndarray to torch and back");
    group.bench_function("ours", |b| {
        b.iter_batched(
            small,
            |array| -> SharedArray<f32> {
                let tensor: Tensor = array.convert().expect("shares");
                let shared: SharedArray<f32> = tensor.convert().expect("takes the vector back");
                black_box(shared.view().len());
                shared
            },
            BatchSize::SmallInput,
        );
    });
    group.bench_function("a header, both calls, viewed by dlpark", |b| {
        b.iter_batched(
            small,
            |array| {
                let header = array.convert::<ManagedTensor>().expect("exports").into_dlpack();
                // SAFETY: the header was made just now and is handed over.
                viewed(&unsafe { from_dlpack(header) })
            },
            BatchSize::SmallInput,
        );
    });
    group.bench_function("at::fromDLPackVersioned, at::toDLPackVersioned", |b| {
        b.iter_batched(
            || small().convert::<ManagedTensor>().expect("exports").into_dlpack(),
            |header| {
                // SAFETY: the header was made just now and is handed over.
                let tensor = unsafe { from_dlpack(header) };
                black_box(to_dlpack(&tensor))
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

criterion_group!(benches, ndarray_to_torch, torch_to_ndarray, there_and_back);
criterion_main!(benches);
