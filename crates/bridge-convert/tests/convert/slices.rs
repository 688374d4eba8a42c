//! Taking arrays apart and stacking them, where a backend fails or keeps what it was given.

#![forbid(unsafe_code)]

use std::sync::Mutex;

use crate::support::{Behaviour, Plain, numbers, refusal};
use bridge_convert::{Stacker, unstack};
use bridge_core::{Access, Array, ManagedTensor, Options, Refused, Registration, Registry, Result};

/// Keeps what it is given beyond its arrays, and refuses the slice that starts with 4.
struct Keeps;

static KEPT: Mutex<Vec<ManagedTensor>> = Mutex::new(Vec::new());

impl Behaviour for Keeps {
    const NAME: &'static str = "keeps";

    fn import(tensor: ManagedTensor) -> Result<ManagedTensor, Refused<ManagedTensor>> {
        if tensor.as_slice::<f32>().is_ok_and(|values| values.first() == Some(&4.0)) {
            return Err(refusal(tensor, "a slice from 4 on"));
        }
        KEPT.lock().unwrap().push(tensor);
        Ok(numbers(&[2]))
    }
}

#[test]
fn slices_that_a_backend_kept_are_not_given_back_a_second_time() {
    static BACKEND: Plain<Keeps> = Plain::new();
    let registry = Registry::new([
        Registration::backend(&BACKEND),
        Registration::host_tools(&bridge_host::HostKernels),
    ]);
    let whole = Array::new(numbers(&[4, 2]));
    let never = Options::default().copy(bridge_core::CopyPolicy::Never);
    let refused = unstack(&registry, whole, 0, "keeps", &never).unwrap_err();
    let back = refused.into_value().downcast::<ManagedTensor>().unwrap();
    let mut kept = std::mem::take(&mut *KEPT.lock().unwrap());
    assert_eq!(kept.len(), 2, "two slices were taken before the third was refused");
    // Both may be written at once, so they must not meet.
    assert_eq!(kept[0].access(), Access::Exclusive);
    kept[0].as_mut_slice::<f32>().unwrap().fill(-1.0);
    assert_eq!(back.shape(), [1, 2], "the slice that the backend was not given");
    assert_eq!(back.as_slice::<f32>().unwrap(), [6.0, 7.0]);
}

/// Takes nothing.
struct Refuses;

impl Behaviour for Refuses {
    const NAME: &'static str = "refuses";

    fn import(tensor: ManagedTensor) -> Result<ManagedTensor, Refused<ManagedTensor>> {
        Err(refusal(tensor, "a slice from 4 on"))
    }
}

#[test]
fn an_array_comes_back_whole_where_no_slice_was_kept() {
    static BACKEND: Plain<Refuses> = Plain::new();
    let registry = Registry::new([
        Registration::backend(&BACKEND),
        Registration::host_tools(&bridge_host::HostKernels),
    ]);
    let whole = numbers(&[4, 2]);
    let address = whole.data();
    let refused = unstack(&registry, Array::new(whole), 0, "refuses", &Options::default());
    let back = refused.unwrap_err().into_value().downcast::<ManagedTensor>().unwrap();
    assert_eq!((back.data(), back.access()), (address, Access::Exclusive));
}

#[test]
fn a_push_that_failed_leaves_the_stack_as_it_was() {
    let registry = Registry::new([Registration::host_tools(&bridge_host::HostKernels)]);
    let mut stacker = Stacker::new(&registry, 2, 0);
    // No host tools copy from a device that nobody serves.
    let impossible = Stacker::new(&Registry::new([]), 2, 0).push(Array::new(numbers(&[9])));
    assert!(impossible.is_err());
    let no_tools = Registry::new([]);
    let mut other = Stacker::new(&no_tools, 2, 0);
    assert!(other.push(Array::new(numbers(&[9]))).is_err());
    let again = other.push(Array::new(numbers(&[3, 2]))).unwrap_err().into_error();
    assert!(again.to_string().contains("bridge-host"), "the shape is not blamed: {again}");
    for _ in 0..2 {
        stacker.push(Array::new(numbers(&[3, 2]))).unwrap();
    }
    assert!(stacker.push(Array::new(numbers(&[3, 2]))).is_err(), "the stack is full");
}
