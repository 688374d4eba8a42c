//! Two streams and one array, on hardware too: what is known to go wrong between a device's streams.
//! The stream that should be waited for is kept busy, so that a missing wait shows.

use std::sync::Arc;

use crate::support::{GPU, counted, cuda, foreign, wants_real_driver};
use bridge_core::{DataType, ManagedTensor, Overflow};
use bridge_cuda::{ConsumerStream, CudaArray, new_stream, on_stream, thread_stream};
use bridge_testkit::bytes_of;
use cudarc::driver::{CudaSlice, CudaStream};

const SHAPE: &[usize] = &[512, 768];
const COUNT: usize = 512 * 768;

/// How often each order is tried: that of the simulated driver's streams is chosen to be bad.
fn times() -> usize {
    if wants_real_driver() { 20 } else { 6 }
}

/// Gives a stream work for some milliseconds of a fast GPU.
fn keep_busy(stream: &Arc<CudaStream>, scratch: &mut CudaSlice<u8>) {
    for _ in 0..60 {
        stream.memset_zeros(scratch).unwrap();
    }
}

fn scratch(stream: &Arc<CudaStream>) -> CudaSlice<u8> {
    // The simulated driver is late anyway.
    stream.alloc_zeros(if wants_real_driver() { 64 << 20 } else { 64 }).unwrap()
}

fn filled(value: f32) -> ManagedTensor {
    ManagedTensor::from_vec(vec![value; COUNT], SHAPE).unwrap()
}

#[test]
fn another_stream_sees_what_the_first_has_yet_to_write() {
    cuda();
    let (first, second) = (new_stream(GPU).unwrap(), new_stream(GPU).unwrap());
    let mut scratch = scratch(&first);
    let host = counted(SHAPE);
    for _ in 0..times() {
        keep_busy(&first, &mut scratch);
        let array = on_stream(&first, || CudaArray::from_host(&host, GPU)).unwrap().unwrap();
        let doubles = on_stream(&second, || array.cast(DataType::F64, Overflow::Refuse));
        let copy = doubles.unwrap().unwrap();
        let expected = bridge_host::to_data_type(&host, DataType::F64, Overflow::Refuse).unwrap();
        assert!(bytes_of(&copy.to_host().unwrap()) == bytes_of(&expected));
    }
}

#[test]
fn memory_freed_in_one_stream_is_not_reused_while_another_reads_it() {
    cuda();
    let (first, second) = (new_stream(GPU).unwrap(), new_stream(GPU).unwrap());
    let mut scratch = scratch(&second);
    let host = counted(SHAPE);
    for _ in 0..times() {
        let array = on_stream(&first, || CudaArray::from_host(&host, GPU)).unwrap().unwrap();
        keep_busy(&second, &mut scratch);
        let copy = on_stream(&second, || array.to_device(GPU)).unwrap().unwrap();
        drop(array);
        // Takes the block that has just been freed, and writes to it.
        let next = on_stream(&first, || CudaArray::from_host(&filled(-1.0), GPU)).unwrap().unwrap();
        assert!(bytes_of(&copy.to_host().unwrap()) == bytes_of(&host));
        drop(next);
    }
}

#[test]
fn staging_buffers_are_not_refilled_before_the_device_has_read_them() {
    cuda();
    let stream = new_stream(GPU).unwrap();
    let mut scratch = scratch(&stream);
    on_stream(&stream, || {
        keep_busy(&stream, &mut scratch);
        let values = (0..times()).map(|value| value as f32);
        let arrays: Vec<_> =
            values.map(|value| CudaArray::from_host(&filled(value), GPU).unwrap()).collect();
        for (value, array) in arrays.iter().enumerate() {
            let host = array.to_host().unwrap();
            assert!(host.as_slice::<f32>().unwrap().iter().all(|&one| one == value as f32));
        }
    })
    .unwrap();
}

#[test]
fn a_producers_stream_is_waited_for_and_its_block_comes_back_late_enough() {
    cuda();
    let theirs = new_stream(GPU).unwrap();
    let mut scratch = scratch(&theirs);
    let numbers: Vec<f32> = (0..COUNT).map(|number| number as f32).collect();
    for _ in 0..times() {
        keep_busy(&theirs, &mut scratch);
        let array = CudaArray::from_tensor(foreign(&theirs, &numbers)).unwrap();
        let copy = array.to_device(GPU).unwrap();
        drop(array);
        let next = theirs.clone_htod(&vec![-1.0_f32; COUNT]).unwrap();
        assert!(copy.to_host().unwrap().as_slice::<f32>().unwrap() == numbers);
        drop(next);
    }
}

#[test]
fn every_number_that_a_consumer_may_ask_for_is_its_stream() {
    cuda();
    let ours = new_stream(GPU).unwrap();
    let mut scratch = scratch(&ours);
    let context = Arc::clone(thread_stream(GPU).unwrap().context());
    let streams = [
        (None, context.default_stream()),
        (Some(1), context.default_stream()),
        (Some(2), context.per_thread_stream()),
    ];
    let other = new_stream(GPU).unwrap();
    let number = Some(other.cu_stream().addr() as i64);
    for (number, theirs) in streams.into_iter().chain([(number, other)]) {
        let host = counted(SHAPE);
        keep_busy(&ours, &mut scratch);
        let array = on_stream(&ours, || CudaArray::from_host(&host, GPU)).unwrap().unwrap();
        let consumer = ConsumerStream::from_dlpack(number).unwrap();
        // SAFETY: the stream is alive, of this device.
        unsafe { array.ready_for(consumer) }.unwrap();
        let mut read = vec![0_f32; COUNT];
        let source = array.tensor().first_element().addr() as u64;
        context.bind_to_thread().unwrap();
        // SAFETY: the vector has room, and lives until the stream has been waited for.
        let copied = unsafe {
            cudarc::driver::result::memcpy_dtoh_async(&mut read, source, theirs.cu_stream())
        };
        copied.unwrap();
        theirs.synchronize().unwrap();
        assert!(read == host.as_slice::<f32>().unwrap(), "{number:?}");
    }
    assert!(ConsumerStream::from_dlpack(Some(0)).is_err());
}
