//! CUDA: hand-over, allocation, uploads, downloads, copies and casts on the device, each beside the
//! driver's own calls and torch. Without a GPU it measures nothing and says so.

use std::ffi::c_void;
use std::hint::black_box;
use std::sync::Arc;

use arraybridge::cuda::cudarc::driver::result;
use arraybridge::cuda::cudarc::driver::sys;
use arraybridge::cuda::cudarc::driver::{CudaSlice, CudaStream, DevicePtr};
use arraybridge::cuda::{Cuda, CudaArray, pinned, thread_stream};
use arraybridge::{
    Availability, Backend, DataType, Device, ManagedTensor, NativeArray, Overflow, TensorSpec,
};
use bridge_benches::PythonPeer;
use criterion::measurement::WallTime;
use criterion::{BatchSize, BenchmarkGroup, Criterion, criterion_group, criterion_main};

const GPU: Device = Device::cuda(0);
/// Elements of a large array along each side: 64 MiB of `f32`.
const SIDE: usize = 4096;
const COUNT: usize = SIDE * SIDE;
const BYTES: usize = 4 * COUNT;

/// Whether there is a GPU; said on stderr where there is none.
#[expect(clippy::print_stderr, reason = "a benchmark says what it could not measure")]
fn has_gpu() -> bool {
    match Cuda.availability() {
        Availability::Ready { .. } => true,
        Availability::Unavailable { reason, .. } => {
            eprintln!("cuda: not measured: {reason}");
            false
        }
    }
}

fn host() -> ManagedTensor {
    ManagedTensor::from_vec(vec![1.5_f32; COUNT], &[SIDE, SIDE]).expect("as many as the shape has")
}

fn turned(tensor: ManagedTensor) -> ManagedTensor {
    tensor.permuted(&[1, 0]).expect("two axes")
}

fn on_gpu() -> CudaArray {
    let array = CudaArray::from_host(&host(), GPU).expect("there is room");
    array.wait().expect("it is copied");
    array
}

/// The stream that ours work in, its context current, and device memory of a large array.
fn raw() -> (Arc<CudaStream>, CudaSlice<f32>) {
    let stream = thread_stream(GPU).expect("there is a device");
    stream.context().bind_to_thread().expect("its context works");
    let slice = stream.alloc_zeros::<f32>(COUNT).expect("there is room");
    (stream, slice)
}

fn address(slice: &CudaSlice<f32>, stream: &CudaStream) -> u64 {
    slice.device_ptr(stream).0
}

/// torch's time of a statement, after which it waits for the device.
fn torch(group: &mut BenchmarkGroup<'_, WallTime>, setup: &str, statement: &str) {
    let program = format!(
        "import torch\nassert torch.cuda.is_available()\n{setup}\ndef job():\n    {statement}\n    \
         torch.cuda.synchronize()\n"
    );
    if let Some(mut torch) = PythonPeer::start("torch", &program) {
        group.bench_function("torch", |b| b.iter_custom(|times| torch.run(times)));
    }
}

fn hand_over(c: &mut Criterion) {
    if !has_gpu() {
        return;
    }
    let mut group = c.benchmark_group("cuda: hand a tensor over and take it back");
    let mut array = Some(CudaArray::zeros(DataType::F32, &[3, 4], GPU).expect("there is room"));
    group.bench_function("ours", |b| {
        b.iter(|| {
            let tensor = array.take().and_then(|array| array.export().ok()).expect("it is ours");
            array = CudaArray::from_tensor(black_box(tensor)).ok();
        });
    });
    let (stream, _slice) = raw();
    let event = stream.context().new_event(None).expect("events can be made");
    group.bench_function("recording an event", |b| b.iter(|| event.record(&stream)));
    let setup = "x = torch.zeros(3, 4, device='cuda')";
    if let Some(mut torch) = PythonPeer::start(
        "torch",
        &format!("import torch\n{setup}\ndef job():\n    torch.from_dlpack(x)\n"),
    ) {
        group.bench_function("torch", |b| b.iter_custom(|times| torch.run(times)));
    }
    group.finish();
}

fn allocate(c: &mut Criterion) {
    if !has_gpu() {
        return;
    }
    let mut group = c.benchmark_group("cuda: allocate 1 MiB of zeros and free it");
    let (stream, _slice) = raw();
    group.bench_function("ours", |b| {
        b.iter(|| CudaArray::zeros(DataType::U8, &[1 << 20], GPU).expect("there is room"));
    });
    group.bench_function("cuMemAlloc", |b| {
        b.iter(|| {
            // SAFETY: the context is current; the memory is freed once.
            unsafe {
                let address = result::malloc_sync(1 << 20).expect("there is room");
                result::memset_d8_async(address, 0, 1 << 20, stream.cu_stream()).expect("sets");
                result::free_sync(address).expect("frees");
            }
        });
    });
    group.finish();
}

fn upload(c: &mut Criterion) {
    if !has_gpu() {
        return;
    }
    let spec = TensorSpec::row_major(DataType::F32, &[SIDE, SIDE]).expect("it fits");
    let (stream, slice) = raw();
    let target = address(&slice, &stream);
    let driver = |source: *const c_void| {
        // SAFETY: there are as many bytes on both sides.
        unsafe { sys::cuMemcpyHtoDAsync_v2(target, source, BYTES, stream.cu_stream()) }
            .result()
            .expect("copies");
        stream.synchronize().expect("copied");
    };

    let mut group = c.benchmark_group("cuda: upload 64 MiB, pinned");
    let mut source = Some(pinned(&spec).expect("there is room"));
    let place = source.as_ref().map_or(std::ptr::null_mut(), ManagedTensor::data);
    group.bench_function("ours", |b| {
        b.iter(|| {
            let pinned = source.take().expect("it came back");
            let (array, pinned) =
                CudaArray::upload(pinned, GPU).expect("starts").wait().expect("copies");
            source = Some(pinned);
            array
        });
    });
    group.bench_function("driver", |b| b.iter(|| driver(place)));
    group.finish();

    let mut group = c.benchmark_group("cuda: upload 64 MiB, pageable");
    let pageable = host();
    group.bench_function("ours", |b| {
        b.iter(|| {
            let array = CudaArray::from_host(&pageable, GPU).expect("copies");
            array.wait().expect("copied");
            array
        });
    });
    group.bench_function("driver", |b| b.iter(|| driver(pageable.data())));
    torch(&mut group, "x = torch.ones(4096, 4096)", "x.to('cuda')");
    group.finish();

    let mut group = c.benchmark_group("cuda: upload 64 MiB, transposed");
    let strided = turned(host());
    group.bench_function("ours", |b| {
        b.iter(|| {
            let array = CudaArray::from_host(&strided, GPU).expect("copies");
            array.wait().expect("copied");
            array
        });
    });
    group.bench_function("make contiguous, then the driver", |b| {
        b.iter(|| driver(bridge_host::to_row_major(&strided).expect("copies").data()));
    });
    torch(&mut group, "x = torch.ones(4096, 4096).t()", "x.contiguous().to('cuda')");
    group.finish();
}

fn download(c: &mut Criterion) {
    if !has_gpu() {
        return;
    }
    let (stream, slice) = raw();
    let source = address(&slice, &stream);
    let driver = |target: *mut c_void| {
        // SAFETY: there are as many bytes on both sides.
        unsafe { sys::cuMemcpyDtoHAsync_v2(target, source, BYTES, stream.cu_stream()) }
            .result()
            .expect("copies");
        stream.synchronize().expect("copied");
    };
    let array = on_gpu();

    let mut group = c.benchmark_group("cuda: download 64 MiB, pageable");
    group.bench_function("ours", |b| b.iter(|| array.to_host().expect("copies")));
    group.bench_function("driver", |b| {
        b.iter_batched(
            host,
            |target| {
                driver(target.data());
                target
            },
            BatchSize::PerIteration,
        );
    });
    torch(&mut group, "x = torch.ones(4096, 4096, device='cuda')", "x.to('cpu')");
    group.finish();

    let mut group = c.benchmark_group("cuda: download 64 MiB, transposed");
    let array = CudaArray::from_tensor(turned(array.into_tensor())).expect("it is ours");
    group.bench_function("ours", |b| b.iter(|| array.to_host().expect("copies")));
    torch(&mut group, "x = torch.ones(4096, 4096, device='cuda').t()", "x.to('cpu').contiguous()");
    group.finish();
}

fn on_device(c: &mut Criterion) {
    if !has_gpu() {
        return;
    }
    let (stream, slice) = raw();
    let target = stream.alloc_zeros::<f32>(COUNT).expect("there is room");
    let (from, to) = (address(&slice, &stream), address(&target, &stream));
    let driver = |bytes: usize| {
        // SAFETY: there are at least as many bytes on both sides.
        unsafe { result::memcpy_dtod_async(to, from, bytes, stream.cu_stream()) }.expect("copies");
        stream.synchronize().expect("copied");
    };

    let mut group = c.benchmark_group("cuda: copy 64 MiB on the device, transposed");
    let array = CudaArray::from_tensor(turned(on_gpu().into_tensor())).expect("it is ours");
    group.bench_function("ours", |b| {
        b.iter(|| {
            let copy = array.to_device(GPU).expect("copies");
            copy.wait().expect("copied");
            copy
        });
    });
    group.bench_function("device to device", |b| b.iter(|| driver(BYTES)));
    torch(&mut group, "x = torch.ones(4096, 4096, device='cuda').t()", "x.contiguous()");
    group.finish();

    let array = on_gpu();
    for (to, statement) in [(DataType::F16, "x.half()"), (DataType::BF16, "x.bfloat16()")] {
        let name = format!("cuda: cast 16 Mi float32 to {to}");
        let mut group = c.benchmark_group(name);
        group.bench_function("ours", |b| {
            b.iter(|| {
                let cast = array.cast(to, Overflow::Saturate).expect("casts");
                cast.wait().expect("cast");
                cast
            });
        });
        // A copy that reads and writes as many bytes: four and two for each element.
        group.bench_function("device to device", |b| b.iter(|| driver(BYTES / 4 * 3)));
        torch(&mut group, "x = torch.ones(4096, 4096, device='cuda')", statement);
        group.finish();
    }
}

criterion_group!(benches, hand_over, allocate, upload, download, on_device);
criterion_main!(benches);
