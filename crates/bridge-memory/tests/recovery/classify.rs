use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;

use bridge_core::{Array, Device, Error, ManagedTensor, Refused, TensorError};
use bridge_memory::budget::{Budget, Shortage};
use bridge_memory::recovery::{is_out_of_memory, out_of_memory};

use crate::support::{COUNTING, ILLEGAL_ACCESS, NO_MEMORY, SHARED, no_memory_on, registry};

/// An error around another, or around itself.
#[derive(Debug)]
enum Around {
    Another(Box<dyn StdError + Send + Sync>),
    Itself,
}

impl fmt::Display for Around {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("while loading")
    }
}

impl StdError for Around {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(match self {
            Self::Another(error) => &**error,
            Self::Itself => self,
        })
    }
}

fn around(error: impl StdError + Send + Sync + 'static) -> Around {
    Around::Another(Box::new(error))
}

fn in_batch(error: Error) -> Error {
    Error::InBatch { index: 1, error: Box::new(error) }
}

fn refused(error: Error) -> Refused<Array> {
    Refused::new(Array::new(ManagedTensor::from_vec(vec![1_u8], &[1]).unwrap()), error)
}

fn tensor_refused(error: TensorError) -> Refused<ManagedTensor, TensorError> {
    Refused::new(ManagedTensor::from_vec(vec![1_u8], &[1]).unwrap(), error)
}

/// What a budget of 10 bytes says that has 2 left.
fn shortage(bytes: u64) -> Shortage {
    let budget = Budget::new("small", 10).unwrap();
    let _held = budget.reserve(8).unwrap();
    budget.reserve(bytes).unwrap_err()
}

#[test]
fn lack_of_memory_is_told_by_type_and_code_and_near_misses_are_not() {
    let registry = registry();
    let lack = || no_memory_on(SHARED);
    let tensors = || TensorError::OutOfMemory { device: SHARED, requested: 64 };
    let reserve = || Vec::<u64>::new().try_reserve(usize::MAX).unwrap_err();
    let too_large = || TensorError::TooLarge { what: "out of memory".to_owned() };
    let framework = |message: &str| Error::Framework {
        backend: "counting",
        operation: "allocate",
        message: message.to_owned(),
    };
    let table: Vec<(Box<dyn StdError>, bool)> = vec![
        (Box::new(lack()), true),
        (Box::new(tensors()), true),
        (Box::new(in_batch(lack())), true),
        (Box::new(in_batch(in_batch(lack()))), true),
        (Box::new(refused(lack())), true),
        (Box::new(tensor_refused(tensors())), true),
        (Box::new(around(lack())), true),
        (Box::new(around(around(tensors()))), true),
        (Box::new(reserve()), true),
        (Box::new(io::Error::from(io::ErrorKind::OutOfMemory)), true),
        (Box::new(io::Error::new(io::ErrorKind::OutOfMemory, "no pages")), true),
        (Box::new(io::Error::other(tensors())), true),
        (Box::new(Error::NotAdmitted(Arc::new(tensors()))), true),
        (Box::new(shortage(3)), true),
        (Box::new(Error::from(shortage(3))), true),
        (Box::new(in_batch(shortage(3).into())), true),
        (Box::new(shortage(11)), false),
        (Box::new(Error::from(shortage(11))), false),
        (Box::new(NO_MEMORY), true),
        (Box::new(around(NO_MEMORY)), true),
        (Box::new(ILLEGAL_ACCESS), false),
        (Box::new(around(ILLEGAL_ACCESS)), false),
        (Box::new(framework("CUDA_ERROR_OUT_OF_MEMORY")), false),
        (Box::new(in_batch(framework("out of memory"))), false),
        (Box::new(refused(framework("out of memory"))), false),
        (Box::new(too_large()), false),
        (Box::new(tensor_refused(too_large())), false),
        (Box::new(Error::NotAdmitted(Arc::new(too_large()))), false),
        (Box::new(io::Error::from(io::ErrorKind::NotFound)), false),
        (Box::new(io::Error::other("out of memory")), false),
        (Box::new(Around::Itself), false),
    ];
    for (error, expected) in table {
        assert_eq!(is_out_of_memory(&registry, &*error), expected, "{error:?}");
    }
}

#[test]
fn it_is_told_whose_memory_and_how_much() {
    let registry = registry();
    let told = out_of_memory(Some(&registry), &in_batch(no_memory_on(SHARED))).unwrap();
    assert_eq!((told.device, told.bytes, told.backend.is_none()), (Some(SHARED), Some(64), true));

    let reserve = Vec::<u64>::new().try_reserve(usize::MAX).unwrap_err();
    assert_eq!(out_of_memory(None, &reserve).unwrap().device, Some(Device::CPU));

    // A framework's error names no device: the backend that knows it is told.
    let told = out_of_memory(Some(&registry), &NO_MEMORY).unwrap();
    let names = told.backend.map(|backend| backend.descriptor().name);
    assert_eq!(
        (told.device, names),
        (None, Some(bridge_core::Backend::descriptor(&COUNTING).name))
    );
    assert!(out_of_memory(None, &NO_MEMORY).is_none(), "nobody is asked");
}
