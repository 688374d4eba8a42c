//! Tests of what catches mistakes: exceptions by type, at every place where one can be thrown, and
//! those of memory by `cargo xtask sanitize`.

use bridge_core::{Access, Device, Error, ManagedTensor, NativeArray, Refused, TensorError};
use bridge_testkit::DropCounter;
use bridge_testkit::foreign::ForeignTensor;
use tch::Tensor;

use super::{Handle, Work, tensor_of};
use crate::Torch;

unsafe extern "C" {
    fn bridge_torch_fault_throw(what: i32) -> i32;
    fn bridge_torch_fault_plan(passed: i32, what: i32) -> bool;
    fn bridge_torch_fault_meta(made: *mut *mut Handle) -> i32;
    fn bridge_torch_fault_memory(what: i32) -> i32;
}

/// What `bridge_torch_fault_throw` throws: each kind of exception that the shim tells apart.
const KINDS: std::ops::Range<i32> = 0..5;

fn thrown(what: i32) -> Error {
    let work = Work { operation: "fail", device: Device::cuda(1), bytes: 64 };
    // SAFETY: the shim throws and catches.
    work.check(unsafe { bridge_torch_fault_throw(what) }).unwrap_err()
}

#[test]
fn out_of_memory_is_known_by_its_type() {
    for (what, wanted) in [Device::cuda(1), Device::CPU].into_iter().enumerate() {
        let error = thrown(what as i32);
        let Error::Tensor(TensorError::OutOfMemory { device, requested }) = error else {
            panic!("{error}");
        };
        assert_eq!(device, wanted);
        assert!(requested > 0 && (wanted == Device::CPU || requested == 64), "{requested}");
    }
}

#[test]
fn every_other_exception_brings_its_message() {
    let says = ["a check of libtorch's", "an exception of the library's", "unknown type"];
    for (what, says) in (2..).zip(says) {
        let text = thrown(what).to_string();
        assert!(text.contains("\"torch\" failed to fail") && text.contains(says), "{text}");
        assert!(!text.contains("frame #0"), "a stack of C++ helps nobody: {text}");
    }
}

/// Does `work` with a fault at its first fault point, then anew at its second, and so on until it
/// passes them all. Each failure must give the value back; says how many there were.
fn at_every_fault_point<T, U>(
    what: i32,
    mut value: T,
    work: impl Fn(T) -> Result<U, Refused<T>>,
    unharmed: impl Fn(&T, &Error),
) -> (U, i32) {
    for passed in 0.. {
        // SAFETY: the shim sets two variables of this thread.
        unsafe { bridge_torch_fault_plan(passed, what) };
        let worked = work(value);
        // SAFETY: as above.
        let to_come = unsafe { bridge_torch_fault_plan(-1, what) };
        match worked {
            Ok(made) => {
                assert!(to_come, "a fault was passed over");
                return (made, passed);
            }
            Err(refused) => {
                assert!(!to_come, "{refused}");
                let (given_back, error) = refused.into_parts();
                unharmed(&given_back, &error);
                value = given_back;
            }
        }
    }
    unreachable!("the range has no end");
}

fn counted(access: Access, drops: &DropCounter) -> ManagedTensor {
    let base = ManagedTensor::from_vec(vec![1_f32, 2.0, 3.0, 4.0], &[2, 2]).unwrap();
    let base = if access == Access::ReadOnly { base.into_read_only() } else { base };
    ForeignTensor::of(base, drops).into_managed()
}

#[test]
fn a_failed_import_gives_the_tensor_back_and_leaves_nothing() {
    // pytorch#56789: the owner freed by both sides when a step between failed.
    for what in KINDS {
        let drops = DropCounter::new();
        let tensor = counted(Access::Exclusive, &drops);
        let (torch, failures) =
            at_every_fault_point(what, tensor, Tensor::import, |tensor, error| {
                assert_eq!(tensor.as_slice::<f32>().unwrap(), [1.0, 2.0, 3.0, 4.0], "{error}");
                assert_eq!(drops.drops(), 0, "{error}");
            });
        assert_eq!(failures, 4);
        assert_eq!((torch.double_value(&[1, 1]), drops.drops()), (4.0, 0));
        drop(torch);
        assert_eq!(drops.drops(), 1);
    }
}

#[test]
fn a_failed_export_gives_the_torch_tensor_back_and_leaves_nothing() {
    // pytorch#171820: what the export had made leaked when it raised half way.
    for what in KINDS {
        let drops = DropCounter::new();
        let torch = Tensor::import(counted(Access::Exclusive, &drops)).unwrap();
        let (back, failures) = at_every_fault_point(what, torch, Tensor::export, |torch, error| {
            assert_eq!((torch.double_value(&[1, 0]), drops.drops()), (3.0, 0), "{error}");
        });
        assert_eq!(failures, 3);
        drop(back);
        assert_eq!(drops.drops(), 1);

        let second = Tensor::from_slice(&[1_f32, 2.0]).internal_lazy_clone();
        let (lazy, failures) = at_every_fault_point(what, second, Tensor::export, |_, _| ());
        assert_eq!((lazy.as_slice::<f32>().unwrap(), failures), (&[1.0, 2.0][..], 4));

        let torch = Tensor::from_slice(&[1_f32, 2.0]);
        let other = torch.shallow_clone();
        let (held, failures) = at_every_fault_point(what, torch, Tensor::export, |_, _| ());
        assert_eq!((bridge_testkit::bytes_of(&held).len(), failures), (8, 5));
        drop((held, other));
    }
}

#[test]
fn what_fails_says_on_which_device() {
    let drops = DropCounter::new();
    let tensor = counted(Access::Exclusive, &drops);
    let (_, failures) = at_every_fault_point(0, tensor, Tensor::import, |tensor, error| {
        let Error::Tensor(TensorError::OutOfMemory { device, requested }) = *error else {
            panic!("{error}");
        };
        assert_eq!((device, requested), (tensor.device(), 16));
    });
    assert_eq!(failures, 4);
}

#[test]
fn meta_tensors_are_refused_with_the_call_that_helps() {
    let mut made = std::ptr::null_mut();
    // SAFETY: the shim writes the handle, and says so.
    let meta = unsafe {
        assert_eq!(bridge_torch_fault_meta(&raw mut made), super::OK);
        tensor_of(made)
    };
    let refused = meta.export().unwrap_err();
    let says = "Tensor::zeros(size(), (kind(), Device::Cpu))";
    let text = refused.to_string();
    assert!(text.contains("meta device") && text.contains(says), "{text}");
    let meta = refused.into_value();
    let plain = Tensor::zeros(meta.size().as_slice(), (meta.kind(), tch::Device::Cpu));
    assert_eq!(NativeArray::<Torch>::export(plain).unwrap().shape(), [2, 2]);
}

/// `cargo xtask sanitize` runs these, each of which must end its program.
#[test]
#[ignore = "a mistake on purpose"]
fn planted_use_after_free() {
    // SAFETY: none: it reads what has been freed.
    std::hint::black_box(unsafe { bridge_torch_fault_memory(0) });
}

#[test]
#[ignore = "a mistake on purpose"]
fn planted_leak() {
    // SAFETY: the shim only loses the memory.
    std::hint::black_box(unsafe { bridge_torch_fault_memory(1) });
}
