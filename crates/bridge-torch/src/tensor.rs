//! `tch::Tensor` in and out.

/// The value; where there is an error, the function returns it with the tensor.
macro_rules! or_refuse {
    ($tensor:expr, $result:expr) => {
        match $result {
            Ok(value) => value,
            Err(error) => return Err(Refused::new($tensor, error)),
        }
    };
}

mod export;
mod import;
#[cfg(test)]
mod tests;
mod view;

use bridge_core::{
    Accepts, Access, Description, DeviceKind, LayoutRule, ManagedTensor, NativeArray, Ownership,
    Refused, Result, TensorSpec, alignment_of,
};
use tch::Tensor;

use self::export::{
    Held, Memory, export_alone, export_held, export_imported, export_lazily_copied, released,
};
use self::import::import_memory;
use self::view::{
    access_beside_others, access_of, device_of, imported_of, shows_all_of, spec_of, view_of,
};
use crate::backend::Torch;
use crate::data_types::DATA_TYPES;
use crate::streams::current_stream;

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
        let view = view_of(self)?;
        let TensorSpec { data_type, layout } = spec_of(&view)?;
        let (device, access, ownership) = match imported_of(&view) {
            Some(imported) if view.is_alone() => {
                let ownership = match shows_all_of(&view, &imported) {
                    true => imported.describe().ownership,
                    false => Ownership::Kept,
                };
                (imported.device(), access_of(&imported), ownership)
            }
            None if view.is_alone() && view.is_torchs_own() => {
                (device_of(&view)?, Access::Exclusive, Ownership::Kept)
            }
            imported => (device_of(&view)?, access_beside_others(&view, imported), Ownership::Kept),
        };
        let alignment = alignment_of(view.data);
        Ok(Description { data_type, device, layout, access, ownership, alignment, owner: None })
    }

    fn export(self) -> Result<ManagedTensor, Refused<Self>> {
        let view = or_refuse!(self, view_of(&self));
        let device = or_refuse!(self, device_of(&view));
        let stream = or_refuse!(self, current_stream(device));
        let imported = match imported_of(&view) {
            Some(imported) if view.is_alone() => {
                return export_imported(self, &view, imported, stream);
            }
            imported => imported,
        };
        let spec = or_refuse!(self, spec_of(&view));
        let memory = Memory { data: view.data, spec, device, stream };
        if imported.is_none() && view.is_lazily_copied() {
            return export_lazily_copied(self, memory);
        }
        match (view.is_alone(), view.is_torchs_own()) {
            (true, true) => export_alone(self, memory, Access::Exclusive),
            // Somebody else has lent the memory to torch.
            (true, false) => export_alone(self, memory, Access::Shared),
            (false, _) => export_held(self, memory, access_beside_others(&view, imported)),
        }
    }

    #[inline]
    fn import(tensor: ManagedTensor) -> Result<Self, Refused<ManagedTensor>> {
        if tensor.is_kept_by::<Self>() {
            return tensor.into_owner().or_else(import_memory);
        }
        if tensor.is_kept_by::<Held>() {
            return released(tensor).or_else(import_memory);
        }
        import_memory(tensor)
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
