//! Calls slice by slice.

use std::thread;

use bridge_core::{Array, Device, Error, ManagedTensor, TensorError};
use bridge_memory::call::{
    CallOptions, DtypeConversion, OomRecovery, Rescale, call_async, call_by_slice,
    call_by_slice_async,
};

use crate::support::{NextTime, array, elements, ready, registry};

#[test]
fn slices_come_with_the_other_arrays_and_are_stacked_and_stretched_together() {
    let registry = registry();
    let given = vec![array(&[1.0_f32, 2.0, 3.0, 4.0], &[2, 2]), array(&[10.0_f32], &[1])];
    let options = CallOptions::new("scaled").on("dlpack");
    let scaled = |arrays: &[Array]| {
        let [slice, factor] = arrays else { panic!("{arrays:?}") };
        let values = |array: &Array| {
            let tensor = array.downcast_ref::<ManagedTensor>().unwrap();
            tensor.as_slice::<f32>().unwrap().to_vec()
        };
        let factor = values(factor)[0];
        let scaled: Vec<_> = values(slice).iter().map(|one| one * factor).collect();
        Ok(array(&scaled, &[scaled.len()]))
    };
    let made = call_by_slice(&registry, options, given, scaled).unwrap();
    assert_eq!(made.describe().unwrap().layout.shape(), [2, 2]);
    assert_eq!(elements::<f32>(made), [10.0, 20.0, 30.0, 40.0]);

    let options = options.dtype(DtypeConversion::Uint8).rescale(Rescale::MinMax);
    let given = vec![array(&[0.0_f32, 1.0, 2.0, 4.0], &[2, 2]), array(&[1.0_f32], &[1])];
    let made = call_by_slice(&registry, options, given, scaled).unwrap();
    assert_eq!(elements::<u8>(made), [0, 63, 127, 255]);
}

#[test]
fn the_functions_own_error_ends_it() {
    let registry = registry();
    let mut calls = 0;
    let error = call_by_slice(
        &registry,
        CallOptions::new("f"),
        vec![array(&[1_u8, 2, 3], &[3, 1])],
        |_| {
            calls += 1;
            Err(Error::Unsupported { what: "that slice".to_owned(), remedy: "none".to_owned() })
        },
    );
    let (arrays, error) = error.unwrap_err().into_parts();
    assert!(error.to_string().contains("that slice"));
    assert_eq!(calls, 1);
    let back = arrays.into_iter().next().unwrap();
    assert_eq!(elements::<u8>(back), [1, 2, 3], "the array comes back");
    let none =
        call_by_slice(&registry, CallOptions::new("f"), vec![], |_| Ok(array(&[1_u8], &[1])));
    assert!(none.unwrap_err().to_string().contains("one is needed"));
}

#[test]
fn slices_are_awaited_on_any_thread() {
    let registry = registry();
    let given = vec![array(&[1.0_f32, 2.0, 3.0, 4.0], &[2, 2]), array(&[10.0_f32], &[1])];
    let options = CallOptions::new("scaled").on("dlpack").dtype(DtypeConversion::Float64);
    let scaled = call_by_slice_async(&registry, options, given, async |arrays| {
        let [slice, factor] = arrays else { panic!("{arrays:?}") };
        NextTime::default().await;
        let values = |array: &Array| {
            let tensor = array.downcast_ref::<ManagedTensor>().unwrap();
            tensor.as_slice::<f32>().unwrap().to_vec()
        };
        let factor = values(factor)[0];
        let scaled: Vec<_> = values(slice).iter().map(|one| one * factor).collect();
        Ok(array(&scaled, &[2]))
    });
    let made = thread::scope(|scope| scope.spawn(|| ready(scaled)).join().unwrap()).unwrap();
    assert_eq!(made.describe().unwrap().layout.shape(), [2, 2]);
    assert_eq!(elements::<f64>(made), [10.0, 20.0, 30.0, 40.0]);
}

/// Out of memory in the try of this number.
fn full(run: u64) -> Error {
    Error::from(TensorError::OutOfMemory { device: Device::CPU, requested: run })
}

#[test]
fn what_is_awaited_and_runs_out_of_memory_is_awaited_again() {
    let registry = registry();
    let recovery = OomRecovery { retries: 1, clear_cache: false };
    let options = CallOptions::new("f").oom_recovery(recovery);
    for (failures, runs_made, done) in [(0, 2, true), (1, 3, true), (2, 2, false)] {
        let mut runs = 0;
        let rows = vec![array(&[5_u8, 6], &[2, 1])];
        let made = ready(call_by_slice_async(&registry, options, rows, async |arrays| {
            runs += 1;
            NextTime::default().await;
            let slice = arrays[0].downcast_ref::<ManagedTensor>().unwrap();
            if runs <= failures {
                return Err(full(runs));
            }
            Ok(array(slice.as_slice::<u8>()?, &[1]))
        }));
        assert_eq!(runs, runs_made);
        match made {
            Ok(made) => assert_eq!((elements::<u8>(made), done), (vec![5, 6], true)),
            Err(refused) => {
                let first = refused.error().out_of_memory().map(|(_, run)| run);
                assert_eq!((done, first), (false, Some(1)));
                assert_eq!(elements::<u8>(refused.into_value().remove(0)), [5, 6]);
            }
        }

        let mut runs = 0;
        let made =
            ready(call_async(&registry, options, vec![array(&[5_u8], &[1])], async |given| {
                runs += 1;
                NextTime::default().await;
                if runs <= failures { Err(full(runs)) } else { Ok(given.len()) }
            }));
        let (length, back) = match made {
            Ok(length) => (Some(length), 0),
            Err(refused) => (None, refused.into_value().len()),
        };
        assert_eq!((length, back), if done { (Some(1), 0) } else { (None, 1) });
    }
}
