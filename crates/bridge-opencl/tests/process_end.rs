//! Class B of the bug bank: the end of a process that still has arrays. The runner sees a crash or a
//! hang after the last test as this one's.

mod support;

use std::sync::Mutex;

use bridge_core::ManagedTensor;
use bridge_opencl::ClArray;
use support::array;

fn numbers() -> ManagedTensor {
    ManagedTensor::from_vec(vec![1_i32; 1 << 16], &[1 << 16]).unwrap()
}

#[test]
fn arrays_and_host_memory_that_are_never_dropped_do_not_disturb_it() {
    static ARRAYS: Mutex<Vec<ClArray>> = Mutex::new(Vec::new());
    static TENSORS: Mutex<Vec<ManagedTensor>> = Mutex::new(Vec::new());
    support::on_every_device(|queue| {
        let mut arrays = ARRAYS.lock().unwrap();
        arrays.push(array(queue, &[1_i32, 2, 3]));
        arrays.extend(ClArray::in_place(queue, numbers()));
        let lent = array(queue, &[1_i32, 2, 3]).into_host();
        TENSORS.lock().unwrap().extend(lent);
    });
}

#[test]
fn commands_that_still_run_do_not_disturb_it() {
    static LAST: Mutex<Vec<ClArray>> = Mutex::new(Vec::new());
    support::on_every_device(|queue| {
        let mut made = ClArray::upload(queue, &numbers()).unwrap();
        for round in 0..200 {
            made.fill(round).unwrap();
            made = made.copy().unwrap();
        }
        LAST.lock().unwrap().push(made);
    });
}
