//! Calls that run out of memory.

use bridge_core::{Device, Error, Refused, Result, TensorError};
use bridge_memory::call::{CallOptions, OomRecovery, call};
use bridge_testkit::fake_accelerator::{DEVICES, Faults};

use crate::support::{array, elements, registry};

fn full() -> Error {
    Error::from(TensorError::OutOfMemory { device: Device::CPU, requested: 8 })
}

const RECOVERY: OomRecovery = OomRecovery { retries: 1, clear_cache: false };

#[test]
fn the_function_runs_again_on_the_same_arrays() {
    let registry = registry();
    let options = CallOptions::new("f").oom_recovery(RECOVERY);
    let mut runs = Vec::new();
    let made = call(&registry, options, vec![array(&[5_u8], &[1])], |arrays| {
        runs.push(arrays.len());
        if runs.len() == 1 { Err(full()) } else { Ok(array(&[6_u8], &[1])) }
    });
    assert_eq!((elements::<u8>(made.unwrap()), &*runs), (vec![6], &[1, 1][..]));
}

#[test]
fn it_runs_once_without_recovery_and_for_other_errors() {
    let registry = registry();
    let mut runs = 0;
    let mut run = |options: CallOptions<'_>, error: &dyn Fn() -> Error| {
        runs = 0;
        let failed: Result<(), Refused<_>> =
            call(&registry, options, vec![array(&[5_u8], &[1])], |_| {
                runs += 1;
                Err(error())
            });
        failed.unwrap_err();
        runs
    };
    let other = || Error::Unsupported { what: "that".to_owned(), remedy: "none".to_owned() };
    assert_eq!(run(CallOptions::new("f"), &full), 1);
    assert_eq!(run(CallOptions::new("f").oom_recovery(RECOVERY), &other), 1);
    assert_eq!(run(CallOptions::new("f").oom_recovery(RECOVERY), &full), 2);
}

#[test]
fn a_conversion_that_runs_out_of_memory_is_tried_again() {
    let registry = registry();
    let options = CallOptions::new("f").on("fake").device(DEVICES[0]);
    let run = |options| {
        let failing = Faults::out_of_memory_at(0).install();
        let made = call(&registry, options, vec![array(&[5_u8], &[1])], |arrays| {
            Ok(arrays[0].describe()?.device.to_string() == "extension:0")
        });
        drop(failing);
        made
    };
    assert!(run(options).unwrap_err().error().out_of_memory().is_some());
    assert!(run(options.oom_recovery(RECOVERY)).unwrap());
}
