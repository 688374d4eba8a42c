//! Races between streams are found, whatever the order in which the work runs, and nothing else is.

mod support;

use cudarc::driver::result;
use simulated_cuda::{Config, SimulatedCuda, ViolationKind};
use support::{Module, PTX, add_one, address, kinds, register_add_one, simulated, two_streams};

/// Copies what one stream writes with another one, with and without the wait between them.
fn read_from_another_stream(cuda: &SimulatedCuda, wait: bool) -> Vec<ViolationKind> {
    let (context, producer, consumer) = two_streams();
    let array = producer.clone_htod(&[1_u8; 64]).expect("there is room");
    let target = consumer.alloc_zeros::<u8>(64).expect("there is room");
    if wait {
        consumer.join(&producer).expect("an event");
    }
    let (to, from) = (address(&target, &consumer), address(&array, &producer));
    // SAFETY: both arrays are there until the streams are done.
    unsafe { result::memcpy_dtod_async(to, from, 64, consumer.cu_stream()) }.expect("it is queued");
    context.synchronize().expect("it runs");
    drop((array, target));
    context.synchronize().expect("it runs");
    kinds(cuda)
}

#[test]
fn a_missing_wait_is_a_race_whatever_the_order() {
    for seed in 0..20 {
        let cuda = SimulatedCuda::start(&Config::default().seed(seed));
        assert_eq!(read_from_another_stream(&cuda, true), []);
        let found = read_from_another_stream(&cuda, false);
        assert!(
            !found.is_empty() && found.iter().all(|kind| *kind == ViolationKind::Race),
            "{found:?}"
        );
    }
}

#[test]
fn a_wait_for_an_event_that_was_recorded_too_early_is_a_race() {
    let cuda = simulated();
    let (context, producer, consumer) = two_streams();
    let early = producer.record_event(None).expect("an event");
    let array = producer.clone_htod(&[1_u8; 64]).expect("there is room");
    consumer.wait(&early).expect("an event");
    let found = consumer.clone_dtoh(&array).expect("it is there");
    drop((array, found));
    context.synchronize().expect("it runs");
    let found = kinds(&cuda);
    assert!(
        !found.is_empty() && found.iter().all(|kind| *kind == ViolationKind::Race),
        "{found:?}"
    );
}

#[test]
fn two_readers_are_no_race_but_a_writer_beside_a_reader_is() {
    let cuda = simulated();
    let (context, first, second) = two_streams();
    let array = first.clone_htod(&[1_u8; 64]).expect("there is room");
    let at = address(&array, &first);
    context.synchronize().expect("it runs");
    let copies = (first.clone_dtod(&array), second.clone_dtod(&array));
    context.synchronize().expect("it runs");
    assert_eq!(cuda.violations(), []);
    let more = first.clone_dtod(&array).expect("there is room");
    // SAFETY: the array is there.
    unsafe { result::memset_d8_async(at, 0, 64, second.cu_stream()) }.expect("it is queued");
    context.synchronize().expect("it runs");
    assert_eq!(kinds(&cuda), [ViolationKind::Race]);
    drop((copies, more, array));
}

#[test]
fn parts_of_an_array_that_do_not_overlap_are_no_race() {
    let cuda = simulated();
    let (context, first, second) = two_streams();
    let array = first.alloc_zeros::<u8>(64).expect("there is room");
    let at = address(&array, &first);
    context.synchronize().expect("it runs");
    // SAFETY: the array is there.
    unsafe {
        result::memset_d8_async(at, 1, 32, first.cu_stream()).expect("it is queued");
        result::memset_d8_async(at + 32, 2, 32, second.cu_stream()).expect("it is queued");
    }
    context.synchronize().expect("it runs");
    assert_eq!(cuda.violations(), []);
    drop(array);
}

#[test]
fn a_kernel_that_races_is_found() {
    let cuda = simulated();
    let (context, first, second) = two_streams();
    register_add_one(&cuda);
    let module = Module::load(&context, PTX).expect("it is PTX");
    let array = first.clone_htod(&[1.0_f32; 8]).expect("there is room");
    let target = second.alloc_zeros::<f32>(8).expect("there is room");
    let arguments = (address(&target, &second), address(&array, &first), 8);
    add_one(&module, &second, arguments).expect("it is queued");
    context.synchronize().expect("it runs");
    assert_eq!(kinds(&cuda), [ViolationKind::Race]);
    drop((array, target));
}

#[test]
fn a_read_in_between_does_not_hide_an_earlier_write_or_read() {
    let cuda = simulated();
    let (context, first, second) = two_streams();
    let third = context.new_stream().expect("a stream");
    let array = first.clone_htod(&[1_u8; 64]).expect("there is room");
    second.join(&first).expect("an event");
    let copies = [first.clone_dtod(&array), second.clone_dtod(&array)];
    cuda.flush(); // it all runs, and the host has not waited for it
    assert_eq!(cuda.violations(), []);
    let copy = third.clone_dtod(&array);
    cuda.flush();
    assert_eq!(
        kinds(&cuda),
        [ViolationKind::Race],
        "with the write, though others have read since"
    );
    third.join(&second).expect("an event");
    third.join(&first).expect("an event");
    let late = first.clone_dtod(&array);
    second.join(&third).expect("an event");
    let later = second.clone_dtod(&array);
    cuda.flush();
    third.join(&second).expect("an event");
    let at = address(&array, &third);
    // SAFETY: the array is there.
    unsafe { result::memset_d8_async(at, 0, 64, third.cu_stream()) }.expect("it is queued");
    cuda.flush();
    assert_eq!(
        kinds(&cuda),
        [ViolationKind::Race],
        "with a read, though a later one was waited for"
    );
    context.synchronize().expect("it runs");
    drop((copies, copy, late, later, array));
}

#[test]
fn memory_that_another_stream_frees_too_early_is_found() {
    for seed in 0..10 {
        let cuda = SimulatedCuda::start(&Config::default().seed(seed));
        let (context, first, second) = two_streams();
        let array = first.clone_htod(&[1_u8; 64]).expect("there is room");
        second.join(&first).expect("an event");
        let copy = second.clone_dtod(&array).expect("there is room");
        drop(array); // on the first stream, which does not wait for the second one
        let outcome = context.synchronize();
        let found = kinds(&cuda);
        let expected = [ViolationKind::Race, ViolationKind::UseAfterFree];
        assert!(!found.is_empty() && found.iter().all(|kind| expected.contains(kind)), "{found:?}");
        assert_eq!(outcome.is_err(), found.contains(&ViolationKind::UseAfterFree));
        drop(copy);
        cuda.reset(&Config::default());
    }
}

#[test]
fn an_event_can_be_destroyed_while_a_stream_waits_for_it() {
    let cuda = simulated();
    let (context, producer, consumer) = two_streams();
    let array = producer.clone_htod(&[3_u8; 4]).expect("there is room");
    consumer.join(&producer).expect("the event lives for this call only");
    assert_eq!(consumer.clone_dtoh(&array).expect("it is there"), [3; 4]);
    context.synchronize().expect("it runs");
    drop(array);
    assert_eq!(cuda.violations(), []);
}
