//! `tch::Tensor` in and out.

/// The value, or the tensor given back with the error.
macro_rules! or_given_back {
    ($tensor:expr, $result:expr) => {
        match $result {
            Ok(value) => value,
            Err(error) => return Err(Refused::new($tensor, error)),
        }
    };
}

mod adopted;
mod exported;
#[cfg(test)]
mod tests;
mod viewed;

use bridge_core::{
    Accepts, Description, DeviceKind, LayoutRule, ManagedTensor, NativeArray, Ownership, Refused,
    Result, TensorSpec, alignment_of,
};
use tch::Tensor;

use self::adopted::adopted;
use self::exported::{Pinned, exported, pinned, reclaimed};
use self::viewed::{
    access_beside_others, access_of, device_of, lender_of, shows_all_of, spec_of, view_of,
};
use crate::backend::Torch;
use crate::cuda;
use crate::data_types::DATA_TYPES;

#[cfg(not(target_pointer_width = "64"))]
compile_error!("libtorch's 64-bit extents are read as Rust's own: this needs a 64-bit target");

/// Where torch's tensors can be. Pinned and managed memory is host memory to it.
const DEVICE_KINDS: &[DeviceKind] = &[
    DeviceKind::Cpu,
    DeviceKind::CudaHost,
    DeviceKind::RocmHost,
    DeviceKind::CudaManaged,
    DeviceKind::Cuda,
];

impl NativeArray<Torch> for Tensor {
    const ACCEPTS: Accepts =
        Accepts::on(DEVICE_KINDS, DATA_TYPES).layout(LayoutRule::Forward).ignores_read_only();

    fn descriptor() -> &'static bridge_core::Descriptor {
        bridge_core::Backend::descriptor(&Torch)
    }

    fn describe(&self) -> Result<Description> {
        let view = view_of(self, false)?;
        let TensorSpec { data_type, layout } = spec_of(&view)?;
        let (device, access, ownership) = match lender_of(&view) {
            Some(lender) if view.is_alone() => {
                let ownership = match shows_all_of(&view, &lender) {
                    true => lender.describe().ownership,
                    false => Ownership::Kept,
                };
                (lender.device(), access_of(&lender), ownership)
            }
            lender => (device_of(&view)?, access_beside_others(&view, lender), Ownership::Kept),
        };
        let alignment = alignment_of(view.data);
        Ok(Description { data_type, device, layout, access, ownership, alignment, owner: None })
    }

    fn export(self) -> Result<ManagedTensor, Refused<Self>> {
        let view = or_given_back!(self, view_of(&self, true));
        let device = or_given_back!(self, device_of(&view));
        let stream = or_given_back!(self, cuda::current_stream(device));
        let lender = match lender_of(&view) {
            Some(lender) if view.is_alone() => return reclaimed(self, &view, lender, stream),
            lender => lender,
        };
        let spec = or_given_back!(self, spec_of(&view));
        if lender.is_none() && view.is_lazily_copied() {
            return pinned(self, view.data, spec, device, stream);
        }
        let access = access_beside_others(&view, lender);
        exported(self, view.data, spec, device, access, stream)
    }

    #[inline]
    fn import(tensor: ManagedTensor) -> Result<Self, Refused<ManagedTensor>> {
        if tensor.is_kept_by::<Self>() {
            return tensor.into_owner().or_else(adopted);
        }
        if tensor.is_kept_by::<Pinned>() {
            return tensor.into_owner().map(|Pinned { tensor, .. }| tensor).or_else(adopted);
        }
        adopted(tensor)
    }
}

/// Compiles as long as torch's tensors move between threads and are not shared by them: `docs/torch.md`
/// and the SAFETY arguments here say both.
const _: () = {
    const fn is_send<T: Send>() {}
    is_send::<Tensor>();

    trait AmbiguousIfSync<A> {
        const IS_NOT: () = ();
    }
    impl<T> AmbiguousIfSync<()> for T {}
    struct Sharing;
    impl<T: Sync> AmbiguousIfSync<Sharing> for T {}
    let () = <Tensor as AmbiguousIfSync<_>>::IS_NOT;
};
