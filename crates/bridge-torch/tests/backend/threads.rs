//! Letting go on other threads: class B of the bug bank.

use std::sync::Mutex;
use std::thread;

use bridge_convert::Convert;
use bridge_core::ManagedTensor;
use bridge_testkit::foreign::ForeignTensor;
use bridge_testkit::{DropCounter, samples::Arrangement, samples::Backing};
use bridge_torch as _;
use tch::{Kind, Tensor};

#[test]
fn the_last_alias_may_die_on_another_thread() {
    // dlpack#129, numpy#22507: deleters that were called on a thread they did not expect.
    let arrangement = Arrangement::row_major(&[100]);
    let sample = arrangement.sample(bridge_core::DataType::F64, Backing::ForeignDeleter).unwrap();
    let drops = sample.drops.unwrap();
    let torch: Tensor = sample.tensor.convert().unwrap();
    let alias = torch.shallow_clone();
    let first = thread::spawn(move || drop(torch));
    first.join().unwrap();
    assert_eq!(drops.drops(), 0);
    thread::spawn(move || drop(alias)).join().unwrap();
    assert_eq!(drops.drops(), 1);
}

#[test]
fn eight_threads_import_and_export_what_others_made() {
    let threads: Vec<_> = (0..8)
        .map(|index| {
            thread::spawn(move || -> Vec<Tensor> {
                let make = |_| ManagedTensor::from_vec(vec![f64::from(index); 1000], &[10, 100]);
                (0..100).map(|turn| make(turn).unwrap().convert().unwrap()).collect()
            })
        })
        .collect();
    for (index, thread) in threads.into_iter().enumerate() {
        let tensors = thread.join().unwrap();
        let totals: Vec<f64> = thread::spawn(move || {
            tensors.iter().map(|tensor| tensor.sum(Kind::Double).double_value(&[])).collect()
        })
        .join()
        .unwrap();
        assert!(totals.iter().all(|&total| total == index as f64 * 1000.0));
    }
}

#[test]
fn backward_on_other_threads_frees_what_it_saved() {
    let drops = DropCounter::new();
    thread::scope(|scope| {
        for _ in 0..4 {
            let drops = &drops;
            scope.spawn(move || {
                let base = ManagedTensor::from_vec(vec![1_f32; 64], &[64]).unwrap();
                let foreign = ForeignTensor::of(base, drops).into_managed();
                let inputs: Tensor = foreign.convert().unwrap();
                let weight = Tensor::from(3_f32).set_requires_grad(true);
                (inputs * &weight).sum(Kind::Float).backward();
                assert_eq!(weight.grad().double_value(&[]), 64.0);
            });
        }
    });
    assert_eq!(drops.drops(), 4);
}

#[test]
fn a_tensor_that_is_never_dropped_does_not_disturb_the_end_of_the_process() {
    static KEPT: Mutex<Vec<Tensor>> = Mutex::new(Vec::new());
    let tensor = ManagedTensor::from_vec(vec![1_i32, 2, 3], &[3]).unwrap();
    KEPT.lock().unwrap().push(tensor.convert().unwrap());
}
