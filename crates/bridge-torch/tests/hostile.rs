//! Forged DLPack tensors on the way into torch: class D of the bug bank.

use bridge_core::dlpack::{DLManagedTensorVersioned, DLPackVersion};
use bridge_core::{Convert, Error, ManagedTensor};
use bridge_testkit::DropCounter;
use bridge_testkit::foreign::ForeignTensor;
use bridge_torch as _;
use tch::Tensor;

/// Two rows of three floats in a foreign tensor, changed by `forge` before torch is to have it.
fn into_torch(forge: fn(&mut DLManagedTensorVersioned)) -> (Result<Tensor, Error>, usize) {
    let drops = DropCounter::new();
    let elements: Vec<f32> = (0..6_u8).map(f32::from).collect();
    let base = ManagedTensor::from_vec(elements, &[2, 3]).unwrap();
    let raw = ForeignTensor::of(base, &drops).into_raw();
    // SAFETY: the tensor is owned here; what is forged points to nothing else than before.
    let tensor = unsafe {
        forge(&mut *raw);
        ManagedTensor::from_dlpack(raw)
    };
    let torch = tensor.and_then(|tensor| tensor.convert::<Tensor>().map_err(Error::from));
    let freed = drops.drops();
    (torch, freed)
}

fn first_extent(header: &mut DLManagedTensorVersioned) -> &mut i64 {
    // SAFETY: the forged tensors here have shapes of two extents.
    unsafe { &mut *header.dl_tensor.shape }
}

#[test]
fn what_breaks_the_rules_never_reaches_torch_and_is_freed_once() {
    // tensorflow#116201, mohu#328: negative extents; mlx#3476: no shape; MatX#1204: no data.
    type Forge = fn(&mut DLManagedTensorVersioned);
    let forged: [(&str, Forge); 8] = [
        ("extent of axis 0 is -1", |header| *first_extent(header) = -1),
        ("extent of axis 0 is -9", |header| *first_extent(header) = i64::MIN),
        ("shape is null", |header| header.dl_tensor.shape = std::ptr::null_mut()),
        ("data pointer is null", |header| header.dl_tensor.data = std::ptr::null_mut()),
        ("strides are null", |header| header.dl_tensor.strides = std::ptr::null_mut()),
        ("rank is -2", |header| header.dl_tensor.ndim = -2),
        ("address space", |header| *first_extent(header) = i64::MAX / 2),
        ("byte offset", |header| header.dl_tensor.byte_offset = u64::MAX),
    ];
    for (says, forge) in forged {
        let (torch, freed) = into_torch(forge);
        let error = torch.unwrap_err().to_string();
        assert!(error.contains(says), "{error} does not say {says}");
        assert_eq!(freed, 1, "{says}");
    }
}

#[test]
fn missing_strides_mean_row_major_ones_as_long_as_the_version_allows_them() {
    // cccl#7045, DALI#6013: legal before 1.2, illegal since.
    let (torch, freed) = into_torch(|header| {
        header.version = DLPackVersion { major: 1, minor: 1 };
        header.dl_tensor.strides = std::ptr::null_mut();
    });
    let torch = torch.unwrap();
    assert_eq!((torch.stride(), torch.double_value(&[1, 0]), freed), (vec![3, 1], 3.0, 0));
}
