//! CUDA: hand-over, allocation, uploads, downloads, copies and casts on the device, each beside the
//! driver's own calls and torch. Without a GPU it measures nothing and says so.
//!
//! `gpu-runner` knows the jobs and the peers by their names: see its `targets.rs`.

use std::cell::RefCell;
use std::ffi::c_void;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use arraybridge::backends::cuda::cudarc::driver::result;
use arraybridge::backends::cuda::cudarc::driver::sys;
use arraybridge::backends::cuda::cudarc::driver::{CudaSlice, CudaStream, DevicePtr};
use arraybridge::backends::cuda::{Cuda, CudaArray, pinned, thread_stream};
use arraybridge::{
    Availability, Backend, DataType, Device, ManagedTensor, NativeArray, Overflow, TensorSpec,
    Unavailable,
};
use criterion::measurement::WallTime;
use criterion::{BatchSize, BenchmarkGroup, Criterion, criterion_group, criterion_main};
use python_peer::PythonPeer;

const GPU: Device = Device::cuda(0);
const MIB: usize = 1 << 20;
/// Rows of 4096 `f32` in a copy between host and device: 64 MiB.
const ROWS: usize = 4096;
/// The same on the device, where a copy is so much faster: 256 MiB.
const DEVICE_ROWS: usize = 16_384;
const COLUMNS: usize = 4096;

/// Whether there is a GPU; said on stderr where there is none.
#[expect(clippy::print_stderr, reason = "a benchmark says what it could not measure")]
fn has_gpu() -> bool {
    match Cuda.availability() {
        Availability::Ready { .. } => true,
        Availability::Unavailable(Unavailable { reason, remedy }) => {
            eprintln!("cuda: not measured: {reason}; {remedy}");
            false
        }
    }
}

/// A job: short, as all of them have to fit minutes that are lent.
fn job<'a>(c: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = c.benchmark_group(format!("cuda: {name}"));
    group.sample_size(20);
    group.warm_up_time(Duration::from_millis(300));
    group.measurement_time(Duration::from_millis(1200));
    group
}

fn host(rows: usize) -> ManagedTensor {
    ManagedTensor::from_vec(vec![1.5_f32; rows * COLUMNS], &[rows, COLUMNS]).expect("it fits")
}

fn turned(tensor: ManagedTensor) -> ManagedTensor {
    tensor.permuted(&[1, 0]).expect("two axes")
}

fn on_gpu(data_type: DataType) -> CudaArray {
    let array = CudaArray::zeros(data_type, &[DEVICE_ROWS, COLUMNS], GPU).expect("there is room");
    array.wait().expect("it is set");
    array
}

fn turned_on_gpu(data_type: DataType) -> CudaArray {
    CudaArray::from_tensor(turned(on_gpu(data_type).into_tensor())).expect("it is ours")
}

/// The stream that ours work in, its context current, and device memory of so many bytes.
fn raw(bytes: usize) -> (Arc<CudaStream>, CudaSlice<u8>) {
    let stream = thread_stream(GPU).expect("there is a device");
    stream.context().bind_to_thread().expect("its context works");
    let slice = stream.alloc_zeros(bytes).expect("there is room");
    (stream, slice)
}

fn address(slice: &CudaSlice<u8>, stream: &CudaStream) -> u64 {
    slice.device_ptr(stream).0
}

/// torch's jobs, in one Python: it takes seconds to start.
const TORCH: &str = r#"
import ctypes, torch
assert torch.cuda.is_available()
pageable, larger = torch.ones(4096, 4096), torch.ones(16384, 4096)
there, tall = pageable.cuda(), larger.cuda()
halves = tall.half()
def waited(run):
    def job():
        run()
        torch.cuda.synchronize()
    return job
upload = waited(lambda: pageable.to('cuda'))
upload_larger = waited(lambda: larger.to('cuda'))
upload_turned = waited(lambda: pageable.t().contiguous().to('cuda'))
download = waited(lambda: there.to('cpu'))
download_turned = waited(lambda: there.t().to('cpu').contiguous())
turn = waited(lambda: tall.t().contiguous())
turn_halves = waited(lambda: halves.t().contiguous())
cut = waited(lambda: tall[:, 1:].contiguous())
to_float16 = waited(lambda: tall.half())
to_bfloat16 = waited(lambda: tall.bfloat16())
to_float32 = waited(lambda: halves.float())
turn_to_bfloat16 = waited(lambda: tall.t().to(torch.bfloat16, memory_format=torch.contiguous_format))
def job():
    torch.cuda.synchronize()
"#;

/// The library of this package, for Python.
const HAND_OVER: &str = r#"
library = ctypes.PyDLL('LIBRARY')
library.hand_over.restype = ctypes.c_int64
library.hand_over.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_uint64, ctypes.c_bool]
pointer = ctypes.pythonapi.PyCapsule_GetPointer
pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
table = getattr(torch.Tensor, '__dlpack_c_exchange_api__', None)
table = table or torch.Tensor.__c_dlpack_exchange_api__  # before DLPack 1.3 was out
api = table if isinstance(table, int) else pointer(table, b'dlpack_exchange_api')
release = ctypes.cast(ctypes.pythonapi.Py_DecRef, ctypes.c_void_p)
tensor = torch.zeros(3, 4, device='cuda' if torch.cuda.is_available() else 'cpu')
def timed(times, through):
    passed = library.hand_over(api, id(tensor), release, times, through)
    assert passed >= 0, passed
    return passed
def timed_ours(times):
    return timed(times, True)
def timed_alone(times):
    return timed(times, False)
def job():
    timed_ours(1)
    timed_alone(1)
"#;

thread_local! {
    static PEER: RefCell<Option<PythonPeer>> = RefCell::new(PythonPeer::start("torch", TORCH));
}

/// torch's time of one of its jobs, where there is a torch.
fn torch(group: &mut BenchmarkGroup<'_, WallTime>, function: &str) {
    PEER.with_borrow_mut(|peer| {
        let Some(peer) = peer else { return };
        group.bench_function("torch", |b| {
            b.iter_custom(|times| peer.run_named(function, times));
        });
    });
}

/// The library that Python loads: it lies beside this program.
fn library() -> Option<String> {
    let program = std::env::current_exe().ok()?;
    let library = program.parent()?.join("libtorch_hand_over.so");
    library.is_file().then(|| library.display().to_string())
}

fn hand_over(c: &mut Criterion) {
    if !has_gpu() {
        return;
    }
    let mut group = job(c, "hand a tensor over and take it back");
    let mut array = Some(CudaArray::zeros(DataType::F32, &[3, 4], GPU).expect("there is room"));
    group.bench_function("ours", |b| {
        b.iter(|| {
            let tensor = array.take().and_then(|array| array.export().ok()).expect("it is ours");
            array = CudaArray::from_tensor(black_box(tensor)).ok();
        });
    });
    let (stream, _slice) = raw(1);
    let event = stream.context().new_event(None).expect("events can be made");
    group.bench_function("recording an event", |b| b.iter(|| event.record(&stream)));
    group.finish();

    let Some(library) = library() else { return };
    let program = format!("import ctypes, torch\n{}", HAND_OVER.replace("LIBRARY", &library));
    if let Some(mut python) = PythonPeer::start("torch's hand-over", &program) {
        let mut group = job(c, "a tensor of torch to a CudaArray and back");
        for (by, function) in [("ours", "timed_ours"), ("torch alone", "timed_alone")] {
            group.bench_function(by, |b| b.iter_custom(|times| python.run_named(function, times)));
        }
        group.bench_function("recording an event", |b| b.iter(|| event.record(&stream)));
        group.finish();
    }
}

fn allocate(c: &mut Criterion) {
    if !has_gpu() {
        return;
    }
    let mut group = job(c, "allocate 1 MiB and free it");
    let (stream, _slice) = raw(1);
    group.bench_function("ours", |b| {
        // SAFETY: nobody reads the elements.
        b.iter(|| unsafe { CudaArray::uninitialized(DataType::U8, &[MIB], GPU) });
    });
    stream.context().bind_to_thread().expect("its context works");
    group.bench_function("cudaMalloc", |b| {
        b.iter(|| {
            // SAFETY: the context is current; the memory is freed once.
            unsafe {
                let address = result::malloc_sync(MIB).expect("there is room");
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
    let (stream, slice) = raw(4 * DEVICE_ROWS * COLUMNS);
    let target = address(&slice, &stream);
    let driver = |source: *const c_void, rows: usize| {
        let bytes = 4 * rows * COLUMNS;
        // SAFETY: there are at least as many bytes on both sides.
        unsafe { sys::cuMemcpyHtoDAsync_v2(target, source, bytes, stream.cu_stream()) }
            .result()
            .expect("copies");
        stream.synchronize().expect("copied");
    };
    let waited = |source: &ManagedTensor| {
        let array = CudaArray::from_host(source, GPU).expect("copies");
        array.wait().expect("copied");
        array
    };

    let mut group = job(c, "upload 64 MiB, pinned");
    let spec = TensorSpec::row_major(DataType::F32, &[ROWS, COLUMNS]).expect("it fits");
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
    group.bench_function("driver", |b| b.iter(|| driver(place, ROWS)));
    group.finish();

    for (rows, name, theirs) in [
        (ROWS, "upload 64 MiB, pageable", "upload"),
        (DEVICE_ROWS, "upload 256 MiB, pageable", "upload_larger"),
    ] {
        let mut group = job(c, name);
        let pageable = host(rows);
        group.bench_function("ours", |b| b.iter(|| waited(&pageable)));
        group.bench_function("driver", |b| b.iter(|| driver(pageable.data(), rows)));
        torch(&mut group, theirs);
        group.finish();
    }

    let mut group = job(c, "upload 64 MiB, transposed");
    let strided = turned(host(ROWS));
    group.bench_function("ours", |b| b.iter(|| waited(&strided)));
    group.bench_function("make contiguous, then the driver", |b| {
        b.iter(|| driver(bridge_host::to_row_major(&strided).expect("copies").data(), ROWS));
    });
    torch(&mut group, "upload_turned");
    group.finish();
}

fn download(c: &mut Criterion) {
    if !has_gpu() {
        return;
    }
    let bytes = 4 * ROWS * COLUMNS;
    let (stream, slice) = raw(bytes);
    let source = address(&slice, &stream);
    let driver = |target: *mut c_void| {
        // SAFETY: there are as many bytes on both sides.
        unsafe { sys::cuMemcpyDtoHAsync_v2(target, source, bytes, stream.cu_stream()) }
            .result()
            .expect("copies");
        stream.synchronize().expect("copied");
    };
    let array = CudaArray::from_host(&host(ROWS), GPU).expect("there is room");

    let spec = TensorSpec::row_major(DataType::F32, &[ROWS, COLUMNS]).expect("it fits");
    let mut both = Some((pinned(&spec).expect("there is room"), array));
    let place = both.as_ref().map_or(std::ptr::null_mut(), |(target, _)| target.data());
    let mut group = job(c, "download 64 MiB, pinned");
    group.bench_function("ours", |b| {
        b.iter(|| {
            let (target, array) = both.take().expect("they came back");
            both = Some(array.download_to(target).expect("starts").wait().expect("copies"));
        });
    });
    group.bench_function("driver", |b| b.iter(|| driver(place)));
    group.finish();

    let array = both.map(|both| both.1).expect("it came back");
    let mut group = job(c, "download 64 MiB, pageable");
    group.bench_function("ours", |b| b.iter(|| array.to_host().expect("copies")));
    group.bench_function("driver", |b| {
        b.iter_batched(
            || host(ROWS),
            |target| {
                driver(target.data());
                target
            },
            BatchSize::PerIteration,
        );
    });
    torch(&mut group, "download");
    group.finish();

    let mut group = job(c, "download 64 MiB, transposed");
    let array = CudaArray::from_tensor(turned(array.into_tensor())).expect("it is ours");
    group.bench_function("ours", |b| b.iter(|| array.to_host().expect("copies")));
    torch(&mut group, "download_turned");
    group.finish();
}

fn copy_on_device(c: &mut Criterion) {
    let jobs = |c: &mut Criterion, name: &str, array: CudaArray, theirs: &str| {
        let mut group = job(c, name);
        group.bench_function("ours", |b| {
            b.iter(|| {
                let copy = array.to_device(GPU).expect("copies");
                copy.wait().expect("copied");
                copy
            });
        });
        let elements = array.layout().element_count();
        driver_copies(&mut group, elements * array.data_type().size_in_bytes().unwrap_or(1));
        torch(&mut group, theirs);
        group.finish();
    };
    if !has_gpu() {
        return;
    }
    jobs(c, "copy 256 MiB on the device, transposed", turned_on_gpu(DataType::F32), "turn");
    let halves = turned_on_gpu(DataType::F16);
    jobs(c, "copy 128 MiB float16 on the device, transposed", halves, "turn_halves");
    // All columns but the first: rows with gaps, and accesses of no more than an element.
    let rows = on_gpu(DataType::F32).into_tensor();
    let rows = rows.sliced(1, 1, COLUMNS - 1, 1).expect("it is within");
    let rows = CudaArray::from_tensor(rows).expect("it is ours");
    jobs(c, "copy 256 MiB on the device, rows with gaps", rows, "cut");
}

fn cast_on_device(c: &mut Criterion) {
    if !has_gpu() {
        return;
    }
    for (from, to, is_turned, theirs) in [
        (DataType::F32, DataType::F16, false, "to_float16"),
        (DataType::F32, DataType::BF16, false, "to_bfloat16"),
        (DataType::F16, DataType::F32, false, "to_float32"),
        (DataType::F32, DataType::BF16, true, "turn_to_bfloat16"),
    ] {
        let how = if is_turned { ", transposed" } else { "" };
        let mut group = job(c, &format!("cast 64 Mi {from} to {to}{how}"));
        let array = if is_turned { turned_on_gpu(from) } else { on_gpu(from) };
        group.bench_function("ours", |b| {
            b.iter(|| {
                let cast = array.cast(to, Overflow::Saturate).expect("casts");
                cast.wait().expect("cast");
                cast
            });
        });
        // A copy reads and writes as many bytes together.
        let bytes = |data_type: DataType| data_type.size_in_bytes().unwrap_or(1);
        driver_copies(&mut group, DEVICE_ROWS * COLUMNS * (bytes(from) + bytes(to)) / 2);
        torch(&mut group, theirs);
        group.finish();
    }
}

/// The driver's time to copy so many bytes within the device.
fn driver_copies(group: &mut BenchmarkGroup<'_, WallTime>, bytes: usize) {
    let (stream, source) = raw(bytes);
    let target = stream.alloc_zeros::<u8>(bytes).expect("there is room");
    let (from, to) = (address(&source, &stream), address(&target, &stream));
    group.bench_function("device to device", |b| {
        b.iter(|| {
            // SAFETY: there are as many bytes on both sides.
            unsafe { result::memcpy_dtod_async(to, from, bytes, stream.cu_stream()) }
                .expect("copies");
            stream.synchronize().expect("copied");
        });
    });
}

criterion_group!(benches, hand_over, allocate, upload, download, copy_on_device, cast_on_device);
criterion_main!(benches);
