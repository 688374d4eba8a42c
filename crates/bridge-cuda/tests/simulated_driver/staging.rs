//! Many threads share few staging buffers: everybody is served in the end, every value is right, and
//! no more is pinned than there may be.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::Duration;

use crate::support::{GPU, OTHER, alone_with, counted};
use bridge_core::{DataType, Device, Error, ManagedTensor, Overflow, TensorError};
use bridge_cuda::{CudaArray, release_staging};
use bridge_testkit::bytes_of;
use simulated_cuda::{Config, Fault, SimulatedCuda};

/// Three buffers of the pieces that these tests copy: more threads than that want two each.
const LIMIT: u64 = 3 << 20;
const THREADS: usize = 8;
/// Longer than any of these tests takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs `work` in a process with few buffers; fails where it does not end.
fn with_few_buffers(name: &str, config: &Config, work: fn(&SimulatedCuda)) {
    let limit = LIMIT.to_string();
    let variables = [("ARRAYBRIDGE_CUDA_STAGING", limit.as_str())];
    alone_with(name, config, &variables, |_| {
        let (done, ended) = mpsc::channel();
        let worker = thread::spawn(move || {
            // What is loaded is one driver, whoever controls it.
            work(&SimulatedCuda::load());
            let _ = done.send(());
        });
        match ended.recv_timeout(PATIENCE) {
            // A panic of the worker hangs up, too, and `join` tells it.
            Ok(()) | Err(mpsc::RecvTimeoutError::Disconnected) => worker.join().unwrap(),
            Err(mpsc::RecvTimeoutError::Timeout) => {
                panic!("threads wait for staging buffers for ever")
            }
        }
    });
}

/// Several pieces of a mebibyte, different in each thread.
fn source(thread: usize) -> ManagedTensor {
    let mut tensor = counted(&[600 + 40 * thread, 1024]);
    tensor.as_mut_slice::<f32>().unwrap().iter_mut().for_each(|one| *one += thread as f32);
    tensor
}

/// Each thread starts with the others; what it does must end well.
fn all_at_once(work: impl Fn(usize) + Send + Sync) {
    let (start, work) = (&Barrier::new(THREADS), &work);
    thread::scope(|scope| {
        for number in 0..THREADS {
            scope.spawn(move || {
                start.wait();
                work(number);
            });
        }
    });
}

/// Watches the pinned memory while `work` goes on, and gives the most that there was.
fn most_pinned(work: impl FnOnce()) -> u64 {
    let going_on = Arc::new(AtomicBool::new(true));
    let watcher = {
        let going_on = Arc::clone(&going_on);
        thread::spawn(move || {
            let (cuda, mut most) = (SimulatedCuda::load(), 0);
            while going_on.load(Ordering::Relaxed) {
                most = most.max(cuda.counters().pinned_bytes_alive);
                thread::yield_now();
            }
            most
        })
    };
    work();
    going_on.store(false, Ordering::Relaxed);
    watcher.join().unwrap()
}

#[test]
fn more_threads_than_buffers_are_served_all() {
    let name = "more_threads_than_buffers_are_served_all";
    with_few_buffers(name, &Config::default().memory(1 << 30), |_| {
        let most = most_pinned(|| {
            all_at_once(|thread| {
                let host = source(thread);
                let expected = bytes_of(&host);
                for device in [GPU, OTHER] {
                    // Up in pieces, down in pieces; both ways want two buffers.
                    let array = CudaArray::from_host(&host, device).unwrap();
                    assert!(bytes_of(&array.to_host().unwrap()) == expected, "thread {thread}");
                }
            });
        });
        assert!(most > 1 << 20, "nothing was staged: {most}");
        assert!(most <= LIMIT, "{most} bytes are pinned");
    });
}

#[test]
fn small_and_large_buffers_do_not_keep_each_other_out() {
    let name = "small_and_large_buffers_do_not_keep_each_other_out";
    with_few_buffers(name, &Config::default().memory(1 << 30), |_| {
        let most = most_pinned(|| {
            all_at_once(|thread| {
                // Pieces of 4, 2 or 1 MiB, more than there may be or nearly so, and a checked cast,
                // which takes a small buffer for its answer.
                let rows = [600, 8 << 10, 700, 40, 650, 4 << 10, 50, 60][thread];
                let host = counted(&[rows, 1024]).permuted(&[1, 0]).unwrap();
                let array = CudaArray::from_host(&host, GPU).unwrap();
                assert!(bytes_of(&array.to_host().unwrap()) == bytes_of(&host), "thread {thread}");
                let small = CudaArray::from_host(&counted(&[30, 50]), GPU).unwrap();
                let whole = small.cast(DataType::I32, Overflow::Refuse).unwrap();
                let back = whole.cast(DataType::F32, Overflow::Saturate).unwrap();
                assert!(bytes_of(&back.to_host().unwrap()) == bytes_of(&counted(&[30, 50])));
                if thread == 3 {
                    release_staging();
                }
            });
        });
        // A buffer that is larger than all there may be is had alone.
        assert!(most <= 4 << 20, "{most} bytes are pinned");
    });
}

#[test]
fn copies_between_devices_share_the_buffers_too() {
    let name = "copies_between_devices_share_the_buffers_too";
    let config = Config::default().memory(1 << 30).peer_access(false);
    with_few_buffers(name, &config, |_| {
        let most = most_pinned(|| {
            all_at_once(|thread| {
                let (host, to) = (source(thread), [OTHER, GPU][thread % 2]);
                let from: Device = [GPU, OTHER][thread % 2];
                let array = CudaArray::from_host(&host, from).unwrap().to_device(to).unwrap();
                assert!(bytes_of(&array.to_host().unwrap()) == bytes_of(&host), "thread {thread}");
            });
        });
        assert!(most <= LIMIT, "{most} bytes are pinned");
    });
}

#[test]
fn a_buffer_that_cannot_be_pinned_keeps_nobody_waiting() {
    let name = "a_buffer_that_cannot_be_pinned_keeps_nobody_waiting";
    with_few_buffers(name, &Config::default().memory(1 << 30), |cuda| {
        // The first buffers of some threads are refused; whoever is told so tries once more.
        for nth in [0, 1, 2] {
            cuda.inject(Fault::PinnedOutOfMemory { nth });
        }
        let refused = AtomicBool::new(false);
        let most = most_pinned(|| {
            all_at_once(|thread| {
                let host = source(thread);
                let array = loop {
                    match CudaArray::from_host(&host, GPU) {
                        Ok(array) => break array,
                        Err(Error::Tensor(TensorError::OutOfMemory { device, .. })) => {
                            assert_eq!(device.to_string(), "cuda_host:0");
                            refused.store(true, Ordering::Relaxed);
                        }
                        Err(error) => panic!("{error}"),
                    }
                };
                assert!(bytes_of(&array.to_host().unwrap()) == bytes_of(&host), "thread {thread}");
            });
        });
        assert!(refused.into_inner(), "no allocation was refused");
        assert!(most <= LIMIT, "{most} bytes are pinned");
        // What was refused is not counted as pinned: the whole limit can still be had.
        release_staging();
        assert_eq!(cuda.counters().pinned_bytes_alive, 0);
        let array = CudaArray::from_host(&source(0), GPU).unwrap();
        assert!(bytes_of(&array.to_host().unwrap()) == bytes_of(&source(0)));
        assert!(cuda.counters().pinned_bytes_alive >= 2 << 20);
    });
}
