//! The order of work in several streams, on a driver that runs them late and in any order and
//! notices every access that nothing orders.

use std::sync::Arc;

use crate::support::{GPU, OTHER, alone, counted, foreign};
use bridge_core::{DataType, Device, ManagedTensor, Runtime, TensorSpec};
use bridge_cuda::{ConsumerStream, Cuda, CudaArray, new_stream, on_stream, pinned, thread_stream};
use simulated_cuda::{Config, Fault, SimulatedCuda};

const SHAPE: &[usize] = &[64, 48];

fn seeds(test: impl Fn(u64)) {
    (0..8).for_each(test);
}

fn floats(tensor: &ManagedTensor) -> &[f32] {
    tensor.as_slice().expect("row-major floats on the host")
}

#[test]
fn another_stream_waits_for_an_upload() {
    alone("another_stream_waits_for_an_upload", Config::default().seed(3), |_| {
        seeds(|_| {
            let other = new_stream(GPU).unwrap();
            let host = counted(SHAPE);
            let array = CudaArray::from_host(&host, GPU).unwrap();
            let copy = on_stream(&other, || array.to_device(GPU)).unwrap().unwrap();
            assert_eq!(floats(&copy.to_host().unwrap()), floats(&host));
        });
    });
}

#[test]
fn memory_is_freed_after_its_last_use_in_another_stream() {
    alone("memory_is_freed_after_its_last_use_in_another_stream", Config::default(), |cuda| {
        seeds(|_| {
            cuda.inject(Fault::SlowCopies { polls: 20 });
            let other = new_stream(GPU).unwrap();
            let host = counted(SHAPE);
            let array = CudaArray::from_host(&host, GPU).unwrap();
            let copy = on_stream(&other, || array.to_device(GPU)).unwrap().unwrap();
            // The block goes back to the pool, and the next allocation takes it.
            drop(array);
            let next = CudaArray::zeros(DataType::F32, SHAPE, GPU).unwrap();
            assert_eq!(floats(&copy.to_host().unwrap()), floats(&host));
            assert!(floats(&next.to_host().unwrap()).iter().all(|&number| number == 0.0));
            cuda.clear_faults();
        });
    });
}

#[test]
fn staging_buffers_are_reused_after_the_copy_that_reads_them() {
    alone("staging_buffers_are_reused_after_the_copy_that_reads_them", Config::default(), |cuda| {
        cuda.inject(Fault::SlowCopies { polls: 20 });
        let arrays: Vec<_> = (0..12)
            .map(|number| {
                let host = ManagedTensor::from_vec(vec![number as f32; 20_000], &[20_000]).unwrap();
                CudaArray::from_host(&host, GPU).unwrap()
            })
            .collect();
        for (number, array) in arrays.iter().enumerate() {
            let host = array.to_host().unwrap();
            assert!(floats(&host).iter().all(|&found| found == number as f32), "{number}");
        }
        let pinned = cuda.counters().pinnings;
        assert!(pinned <= 4, "{pinned} buffers were pinned for copies of one size");
    });
}

#[test]
fn uploads_return_while_the_device_copies() {
    alone("uploads_return_while_the_device_copies", Config::default(), |cuda| {
        cuda.inject(Fault::SlowCopies { polls: 50 });
        // Pageable, and with gaps: both are packed into pinned buffers, five pieces each.
        for host in [counted(&[1000, 1250]), counted(&[1250, 1000]).permuted(&[1, 0]).unwrap()] {
            let copies = cuda.counters().pinned_uploads;
            let array = CudaArray::from_host(&host, GPU).unwrap();
            assert!(cuda.pending() > 0, "the call waited for the device");
            array.wait().unwrap();
            assert_eq!(cuda.pending(), 0);
            assert!(cuda.counters().pinned_uploads >= copies + 4, "{:?}", cuda.counters());
        }
        assert_eq!(cuda.counters().pageable_uploads, 0, "the driver packed by itself");
    });
}

#[test]
fn threads_have_streams_of_their_own_and_hand_arrays_over() {
    alone("threads_have_streams_of_their_own_and_hand_arrays_over", Config::default(), |_| {
        let mine = thread_stream(GPU).unwrap();
        seeds(|seed| {
            let array = CudaArray::from_host(&counted(SHAPE), GPU).unwrap();
            let mine = Arc::clone(&mine);
            let halves = std::thread::spawn(move || {
                assert_ne!(thread_stream(GPU).unwrap().cu_stream(), mine.cu_stream());
                array.cast(DataType::F64, bridge_core::Overflow::Refuse).unwrap()
            });
            let halves = halves.join().unwrap();
            let host = halves.to_host().unwrap();
            assert_eq!(host.as_slice::<f64>().unwrap()[5], 5.0, "seed {seed}");
        });
    });
}

#[test]
fn a_foreign_owner_frees_after_our_last_use() {
    alone("a_foreign_owner_frees_after_our_last_use", Config::default(), |cuda| {
        seeds(|seed| {
            cuda.inject(Fault::SlowCopies { polls: 20 });
            let context = Arc::clone(thread_stream(GPU).unwrap().context());
            let theirs = match seed % 3 {
                0 => new_stream(GPU).unwrap(),
                1 => context.per_thread_stream(),
                _ => context.default_stream(),
            };
            let numbers: Vec<f32> = (0..3000).map(|number| number as f32).collect();
            let tensor = foreign(&theirs, &numbers);
            let array = CudaArray::from_tensor(tensor).unwrap();
            let copy = array.to_device(GPU).unwrap();
            // Their deleter runs now, and their allocator gives the block out again.
            drop(array);
            let _next = theirs.clone_htod(&vec![-1.0_f32; 3000]).unwrap();
            assert_eq!(floats(&copy.to_host().unwrap()), numbers);
            cuda.clear_faults();
        });
    });
}

#[test]
fn a_tensor_without_a_stream_is_used_before_the_call_returns() {
    alone("a_tensor_without_a_stream_is_used_before_the_call_returns", Config::default(), |_| {
        let theirs = new_stream(GPU).unwrap();
        let tensor = foreign(&theirs, &[1.0, 2.0, 3.0]);
        theirs.synchronize().unwrap();
        // SAFETY: the data is ready for everybody.
        let tensor = unsafe { tensor.ready_on(None) };
        let copy = Cuda.copy(&tensor).unwrap();
        drop(tensor);
        let copy = CudaArray::from_tensor(copy).unwrap();
        assert_eq!(floats(&copy.to_host().unwrap()), [1.0, 2.0, 3.0]);
    });
}

#[test]
fn a_consumers_stream_waits_for_what_is_handed_over() {
    alone("a_consumers_stream_waits_for_what_is_handed_over", Config::default(), |_| {
        for number in [None, Some(1), Some(2), Some(-1)] {
            let theirs = match number {
                None | Some(1) => thread_stream(GPU).unwrap().context().default_stream(),
                Some(2) => thread_stream(GPU).unwrap().context().per_thread_stream(),
                _ => new_stream(GPU).unwrap(),
            };
            let number = match number {
                Some(-1) => Some(theirs.cu_stream().addr() as i64),
                other => other,
            };
            let host = counted(SHAPE);
            let array = CudaArray::from_host(&host, GPU).unwrap();
            let consumer = ConsumerStream::from_dlpack(number).unwrap();
            // SAFETY: the stream is alive, of this device.
            unsafe { array.ready_for(consumer) }.unwrap();
            // The consumer reads in its own stream, and waits for nothing else.
            let mut read = vec![0_f32; 64 * 48];
            let source = array.tensor().first_element().addr() as u64;
            theirs.context().bind_to_thread().unwrap();
            // SAFETY: the vector has room, and lives until the stream has been waited for.
            unsafe {
                cudarc::driver::result::memcpy_dtoh_async(&mut read, source, theirs.cu_stream())
                    .unwrap();
            }
            theirs.synchronize().unwrap();
            assert_eq!(read, floats(&host));
        }
    });
}

fn between_devices(cuda: &SimulatedCuda) {
    seeds(|_| {
        cuda.inject(Fault::SlowCopies { polls: 10 });
        let host = counted(&[300, 70]);
        let array = CudaArray::from_host(&host, GPU).unwrap();
        let there = array.to_device(OTHER).unwrap();
        drop(array);
        let _next = CudaArray::zeros(DataType::F32, &[300, 70], GPU).unwrap();
        let back = there.to_device(GPU).unwrap();
        drop(there);
        let _next = CudaArray::zeros(DataType::F32, &[300, 70], OTHER).unwrap();
        assert_eq!(floats(&back.to_host().unwrap()), floats(&host));
        cuda.clear_faults();
    });
}

#[test]
fn peers_are_ordered_on_both_devices() {
    alone("peers_are_ordered_on_both_devices", Config::default(), |cuda| {
        between_devices(cuda);
        assert!(cuda.counters().peer_copies > 0, "{:?}", cuda.counters());
    });
}

#[test]
fn devices_that_are_no_peers_go_through_pinned_memory() {
    let name = "devices_that_are_no_peers_go_through_pinned_memory";
    alone(name, Config::default().peer_access(false), |cuda| {
        between_devices(cuda);
        assert_eq!(cuda.counters().peer_copies, 0);
        assert_eq!(cuda.counters().pageable_uploads, 0);
    });
}

#[test]
fn a_pending_copy_may_be_dropped() {
    alone("a_pending_copy_may_be_dropped", Config::default(), |cuda| {
        cuda.inject(Fault::SlowCopies { polls: 50 });
        let spec = TensorSpec::row_major(DataType::F32, &[4096]).unwrap();
        let mut source = pinned(&spec).unwrap();
        source.as_mut_slice::<f32>().unwrap().fill(7.0);
        drop(CudaArray::upload(source, GPU).unwrap());

        let mut source = pinned(&spec).unwrap();
        source.as_mut_slice::<f32>().unwrap().fill(8.0);
        let (array, source) = CudaArray::upload(source, GPU).unwrap().wait().unwrap();
        assert_eq!(source.as_slice::<f32>().unwrap()[0], 8.0);
        let pending = array.download().unwrap();
        let (host, array) = pending.wait().unwrap();
        assert_eq!(host.device(), Device::new(bridge_core::DeviceKind::CudaHost, 0));
        assert!(host.as_slice::<f32>().unwrap().iter().all(|&number| number == 8.0));
        drop(array.download().unwrap());
    });
}

#[test]
fn slices_of_cudarc_go_in_and_out_in_order() {
    alone("slices_of_cudarc_go_in_and_out_in_order", Config::default(), |_| {
        seeds(|_| {
            let theirs = new_stream(GPU).unwrap();
            let numbers: Vec<f32> = (0..600).map(|number| number as f32).collect();
            let slice = theirs.clone_htod(&numbers).unwrap();
            let array = CudaArray::from_slice(slice, &[20, 30]).unwrap();
            let turned = array.to_device(GPU).unwrap();
            let slice = array.into_slice::<f32>().unwrap();
            assert_eq!(theirs.clone_dtoh(&slice).unwrap(), numbers);
            drop(slice);
            // One of ours becomes a slice, and is read in a stream of theirs.
            let slice = turned.into_slice::<f32>().unwrap();
            assert_eq!(theirs.clone_dtoh(&slice).unwrap(), numbers);
        });
    });
}

#[test]
fn a_slice_that_was_written_in_another_stream_is_waited_for() {
    let name = "a_slice_that_was_written_in_another_stream_is_waited_for";
    alone(name, Config::default(), |cuda| {
        seeds(|_| {
            cuda.inject(Fault::SlowCopies { polls: 20 });
            let (theirs, second) = (new_stream(GPU).unwrap(), new_stream(GPU).unwrap());
            let mut slice = theirs.alloc_zeros::<f32>(500).unwrap();
            second.memcpy_htod(&[2.0_f32; 500], &mut slice).unwrap();
            let array = CudaArray::from_slice(slice, &[500]).unwrap();
            assert_eq!(floats(&array.to_host().unwrap()), [2.0; 500]);

            // The other way round: what is done here is waited for there.
            let copy = array.to_device(GPU).unwrap();
            drop(array.cast(DataType::F64, bridge_core::Overflow::Wrap).unwrap());
            let mut slice = array.into_slice::<f32>().unwrap();
            second.memcpy_htod(&[3.0_f32; 500], &mut slice).unwrap();
            assert_eq!(floats(&copy.to_host().unwrap()), [2.0; 500]);
            assert_eq!(second.clone_dtoh(&slice).unwrap(), [3.0; 500]);
            cuda.clear_faults();
        });
    });
}

#[test]
fn a_borrowed_source_is_not_read_any_more_when_the_call_returns() {
    let name = "a_borrowed_source_is_not_read_any_more_when_the_call_returns";
    alone(name, Config::default(), |cuda| {
        cuda.inject(Fault::SlowCopies { polls: 50 });
        let spec = TensorSpec::row_major(DataType::F32, &[4096]).unwrap();
        for mut source in [pinned(&spec).unwrap(), counted(&[4096])] {
            source.as_mut_slice::<f32>().unwrap().fill(5.0);
            let array = CudaArray::from_host(&source, GPU).unwrap();
            source.as_mut_slice::<f32>().unwrap().fill(6.0);
            assert_eq!(floats(&array.to_host().unwrap()), [5.0; 4096]);
        }
    });
}

#[test]
fn the_current_context_stays() {
    alone("the_current_context_stays", Config::default(), |_| {
        let theirs = cudarc::driver::CudaContext::new(1).unwrap();
        theirs.bind_to_thread().unwrap();
        let current = || cudarc::driver::result::ctx::get_current().unwrap();
        let before = current();
        let array = CudaArray::from_host(&counted(SHAPE), GPU).unwrap();
        let slice = array.into_slice::<f32>().unwrap();
        let array = CudaArray::from_slice(slice, SHAPE).unwrap();
        drop(array.to_host().unwrap());
        drop(array);
        assert_eq!(current(), before);
    });
}
