//! Forged DLPack tensors on the way into torch: class D of the bug bank.

use bridge_convert::Convert;
use bridge_core::dlpack::DLPackVersion;
use bridge_core::{Error, ManagedTensor};
use bridge_testkit::DropCounter;
use bridge_testkit::forged::{Forge, RULE_BREAKERS, forged};
use bridge_torch as _;
use tch::Tensor;

/// Two rows of three floats in a foreign tensor, changed by `forge` before torch is to have it.
fn into_torch(forge: Forge) -> (Result<Tensor, Error>, usize) {
    let drops = DropCounter::new();
    let elements: Vec<f32> = (0..6_u8).map(f32::from).collect();
    let base = ManagedTensor::from_vec(elements, &[2, 3]).unwrap();
    // SAFETY: the tensor has two axes, and what is forged points to nothing else than before.
    let tensor = unsafe { forged(base, &drops, forge) };
    let torch = tensor.and_then(|tensor| tensor.convert::<Tensor>().map_err(Error::from));
    let freed = drops.drops();
    (torch, freed)
}

#[test]
fn what_breaks_the_rules_never_reaches_torch_and_is_freed_once() {
    for (says, forge) in RULE_BREAKERS {
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
