//! Forged DLPack tensors on the way to a device: class D of the bug bank, and its strides.

use crate::support::{array, on_every_device};
use bridge_core::dlpack::DLPackVersion;
use bridge_core::{Error, NativeArray};
use bridge_opencl::{ClArray, ClQueue};
use bridge_testkit::DropCounter;
use bridge_testkit::forged::{Forge, RULE_BREAKERS, forged};

/// Two rows of three numbers on the device, changed by `forge` before an array is made of them; and how
/// often the producer was told that they are not needed any more.
fn imported(queue: &ClQueue, forge: Forge) -> (Result<ClArray, Error>, DropCounter) {
    let drops = DropCounter::new();
    let base = array(queue, &[0_i32, 1, 2, 3, 4, 5]).reshaped(&[2, 3]).unwrap();
    base.wait().unwrap();
    // SAFETY: the array has two axes, and what is forged points to nothing else than before.
    let tensor = unsafe { forged(base.export().unwrap(), &drops, forge) };
    (tensor.and_then(|tensor| ClArray::import(tensor).map_err(Error::from)), drops)
}

#[test]
fn what_breaks_the_rules_never_becomes_an_array_and_is_freed_once() {
    // Legal for DLPack, which does not know the buffer's size: an offset outside of it.
    let outside: (&str, Forge) =
        ("outside its buffer of 24 bytes", |header| header.dl_tensor.byte_offset = 4);
    on_every_device(|queue| {
        for (says, forge) in RULE_BREAKERS.into_iter().chain([outside]) {
            let (made, drops) = imported(queue, forge);
            let error = made.unwrap_err().to_string();
            assert!(error.contains(says), "{error} does not say {says}");
            assert_eq!(drops.drops(), 1, "{says}");
        }
    });
}

#[test]
fn missing_strides_mean_row_major_ones_as_long_as_the_version_allows_them() {
    // cupy#2095, cccl#7045: legal before 1.2, illegal since.
    on_every_device(|queue| {
        let (made, drops) = imported(queue, |header| {
            header.version = DLPackVersion { major: 1, minor: 1 };
            header.dl_tensor.strides = std::ptr::null_mut();
        });
        assert_eq!(made.unwrap().to_vec::<i32>().unwrap(), [0, 1, 2, 3, 4, 5]);
        assert_eq!(drops.drops(), 1);
    });
}

#[test]
fn another_major_version_is_let_go_of_unread() {
    on_every_device(|queue| {
        let (made, drops) = imported(queue, |header| header.version.major = 2);
        assert!(made.unwrap_err().to_string().contains('2'));
        assert_eq!(drops.drops(), 1);
    });
}
