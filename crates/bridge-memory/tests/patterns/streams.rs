//! One stream a thread and device.

use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use bridge_core::{Device, Error};
use bridge_memory::patterns::ThreadStreams;
use bridge_testkit::{DropCounter, DropToken};

/// A stream that counts its end.
struct Stream {
    device: Device,
    number: usize,
    _token: DropToken,
}

fn counted() -> (ThreadStreams<Stream>, Arc<AtomicUsize>, DropCounter) {
    let (made, drops) = (Arc::new(AtomicUsize::new(0)), DropCounter::new());
    let (counter, tokens) = (Arc::clone(&made), drops.clone());
    let streams = ThreadStreams::new(move |device| {
        let number = counter.fetch_add(1, Ordering::SeqCst);
        Ok(Stream { device, number, _token: tokens.token() })
    });
    (streams, made, drops)
}

#[test]
fn a_thread_has_one_stream_a_device_until_it_ends() {
    let (streams, made, drops) = counted();
    let (first, second) = (Device::cuda(0), Device::cuda(1));
    let mine = streams.get(first).unwrap();
    thread::scope(|scope| {
        let ask = || {
            let numbers = [first, second, first, second].map(|device| {
                let stream = streams.get(device).unwrap();
                assert_eq!(stream.device, device);
                stream.number
            });
            assert_eq!((numbers[0], numbers[1]), (numbers[2], numbers[3]));
            assert_ne!(numbers[0], numbers[1]);
            numbers[0]
        };
        let threads: Vec<_> = (0..2).map(|_| scope.spawn(ask)).collect();
        let numbers: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert_ne!(numbers[0], numbers[1]);
        assert!(!numbers.contains(&mine.number));
    });
    // Joined threads have dropped what was theirs; this thread still has its own.
    assert_eq!((made.load(Ordering::SeqCst), drops.drops()), (5, 4));
    assert!(Rc::ptr_eq(&mine, &streams.get(first).unwrap()));
}

#[test]
fn backends_do_not_share_streams() {
    let (torch, ..) = counted();
    let (candle, ..) = counted();
    let device = Device::cuda(0);
    let (one, other) = (torch.get(device).unwrap(), candle.get(device).unwrap());
    assert!(!Rc::ptr_eq(&one, &other));
}

#[test]
fn streams_of_what_is_gone_are_dropped_when_the_next_is_made() {
    let (gone, _, drops) = counted();
    gone.get(Device::cuda(0)).unwrap();
    drop(gone);
    assert_eq!(drops.drops(), 0);
    let (next, ..) = counted();
    next.get(Device::cuda(0)).unwrap();
    assert_eq!(drops.drops(), 1);
}

#[test]
fn a_stream_that_could_not_be_made_is_tried_again() {
    let failures = Arc::new(AtomicUsize::new(1));
    let left = Arc::clone(&failures);
    let streams = ThreadStreams::new(move |device: Device| {
        if left.swap(0, Ordering::SeqCst) > 0 {
            let (what, remedy) = ("a stream".to_owned(), "try again".to_owned());
            return Err(Error::Unsupported { what, remedy });
        }
        Ok(device)
    });
    assert!(streams.get(Device::cuda(0)).unwrap_err().to_string().contains("try again"));
    assert_eq!(*streams.get(Device::cuda(0)).unwrap(), Device::cuda(0));
}

#[test]
fn making_a_stream_may_ask_for_one() {
    type Streams = ThreadStreams<u32>;
    static STREAMS: Mutex<Option<Arc<Streams>>> = Mutex::new(None);
    let streams = Arc::new(Streams::new(|device| {
        let streams = STREAMS.lock().unwrap().take();
        // The first asks for the same one, once.
        match streams {
            Some(streams) => streams.get(device).map(|inner| *inner + 1),
            None => Ok(7),
        }
    }));
    *STREAMS.lock().unwrap() = Some(Arc::clone(&streams));
    assert_eq!(*streams.get(Device::CPU).unwrap(), 7);
    assert_eq!(*streams.get(Device::CPU).unwrap(), 7);
}

#[test]
fn a_thread_that_is_ending_gets_a_stream_of_its_own() {
    thread_local! {
        static LATE: std::cell::RefCell<Option<Late>> = const { std::cell::RefCell::new(None) };
    }
    struct Late(Arc<ThreadStreams<Stream>>, Arc<Mutex<Option<usize>>>);
    impl Drop for Late {
        fn drop(&mut self) {
            *self.1.lock().unwrap() = self.0.get(Device::CPU).ok().map(|stream| stream.number);
        }
    }
    let (streams, made, drops) = counted();
    let (streams, asked) = (Arc::new(streams), Arc::new(Mutex::new(None)));
    let (theirs, told) = (Arc::clone(&streams), Arc::clone(&asked));
    let thread = thread::spawn(move || {
        // Whichever of the two thread-locals is dropped first, the other one is used after it.
        LATE.with_borrow_mut(|late| *late = Some(Late(Arc::clone(&theirs), told)));
        theirs.get(Device::CPU).unwrap();
    });
    thread.join().unwrap();
    assert!(asked.lock().unwrap().is_some());
    assert_eq!(made.load(Ordering::SeqCst), drops.drops());
}
