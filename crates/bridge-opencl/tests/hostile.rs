//! Forged DLPack tensors on the way to a device: class D of the bug bank, and its strides.

mod support;

use bridge_core::dlpack::{DLManagedTensorVersioned, DLPackVersion};
use bridge_core::{Error, ManagedTensor, NativeArray};
use bridge_opencl::{ClArray, ClQueue};
use bridge_testkit::DropCounter;
use bridge_testkit::foreign::ForeignTensor;
use support::{array, on_every_device};

type Forge = fn(&mut DLManagedTensorVersioned);

/// Two rows of three numbers on the device, changed by `forge` before an array is made of them; and how
/// often the producer was told that they are not needed any more.
fn imported(queue: &ClQueue, forge: Forge) -> (Result<ClArray, Error>, DropCounter) {
    let drops = DropCounter::new();
    let base = array(queue, &[0_i32, 1, 2, 3, 4, 5]).reshaped(&[2, 3]).unwrap();
    base.wait().unwrap();
    let raw = ForeignTensor::of(base.export().unwrap(), &drops).into_raw();
    // SAFETY: the tensor is owned here; what is forged points to nothing else than before.
    let tensor = unsafe {
        forge(&mut *raw);
        ManagedTensor::from_dlpack(raw)
    };
    (tensor.and_then(|tensor| ClArray::import(tensor).map_err(Error::from)), drops)
}

fn first_extent(header: &mut DLManagedTensorVersioned) -> &mut i64 {
    // SAFETY: the forged tensors here have shapes of two extents.
    unsafe { &mut *header.dl_tensor.shape }
}

#[test]
fn what_breaks_the_rules_never_becomes_an_array_and_is_freed_once() {
    // tensorflow#116201, mohu#328: negative extents; mlx#3476: no shape; MatX#1204: no data, and an
    // offset outside of the buffer.
    let forged: [(&str, Forge); 9] = [
        ("extent of axis 0 is -1", |header| *first_extent(header) = -1),
        ("extent of axis 0 is -9", |header| *first_extent(header) = i64::MIN),
        ("shape is null", |header| header.dl_tensor.shape = std::ptr::null_mut()),
        ("data pointer is null", |header| header.dl_tensor.data = std::ptr::null_mut()),
        ("strides are null", |header| header.dl_tensor.strides = std::ptr::null_mut()),
        ("rank is -2", |header| header.dl_tensor.ndim = -2),
        ("address space", |header| *first_extent(header) = i64::MAX / 2),
        ("byte offset", |header| header.dl_tensor.byte_offset = u64::MAX),
        ("outside its buffer of 24 bytes", |header| header.dl_tensor.byte_offset = 4),
    ];
    on_every_device(|queue| {
        for (says, forge) in forged {
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
