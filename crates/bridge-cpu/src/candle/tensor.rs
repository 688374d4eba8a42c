//! `candle_core::Tensor` in and out.

use bridge_core::{
    Accepts, Access, DataType, Description, Device, Element, Error, Layout, LayoutRule,
    ManagedTensor, NativeArray, Owner, Ownership, Refused, Result, Strides, TensorSpec,
    alignment_of,
};
use candle_core::op::BackpropOp;
use candle_core::{CpuStorage, Storage, Tensor};

use super::Candle;
use super::data_types::{DATA_TYPES, data_type_of};

impl NativeArray<Candle> for Tensor {
    const ACCEPTS: Accepts = Accepts::host(DATA_TYPES).layout(LayoutRule::Dense).only_vectors();

    fn descriptor() -> &'static bridge_core::Descriptor {
        bridge_core::Backend::descriptor(&Candle)
    }

    fn describe(&self) -> Result<Description> {
        let (first, TensorSpec { data_type, layout }) = first_and_spec(self)?;
        // A layout that the storage's type cannot express (packed and not row-major) fails here.
        layout.span(data_type)?;
        Ok(Description {
            data_type,
            device: Device::CPU,
            alignment: alignment_of(first),
            layout,
            access: Access::ReadOnly,
            ownership: Ownership::Kept,
            owner: None,
        })
    }

    fn export(self) -> Result<ManagedTensor, Refused<Self>> {
        let (first, spec) = match first_and_spec(&self) {
            Ok(parts) => parts,
            Err(error) => return Err(Refused::new(self, error)),
        };
        let owner = Owner::keep(self);
        // SAFETY:
        // - The layout is the tensor's own: its elements are initialized and live in the vector of
        //   its storage, which the tensor keeps alive and candle never reallocates.
        // - candle's tensors are `Send` and `Sync`.
        // - Access is read-only. candle's in-place operations, which safe code could run on another
        //   handle of the storage while a view is read, are excluded by the contract that
        //   `bridge_core`'s front page states for all frameworks.
        let tensor = unsafe {
            ManagedTensor::from_parts(first.cast(), spec, Device::CPU, Access::ReadOnly, owner)
        };
        tensor.map_err(|refused| {
            refused.map(|owner| match owner.into_kept::<Self>() {
                Ok(tensor) => tensor,
                Err(_) => unreachable!("the owner was made of this tensor"),
            })
        })
    }

    fn import(tensor: ManagedTensor) -> Result<Self, Refused<ManagedTensor>> {
        if tensor.is_kept_by::<Self>() {
            return tensor.into_owner().or_else(from_vector);
        }
        from_vector(tensor)
    }
}

/// The address of the element whose indices are all zero, its type, and where the others lie.
fn first_and_spec(tensor: &Tensor) -> Result<(*mut u8, TensorSpec)> {
    let (storage, layout) = tensor.storage_and_layout();
    let Storage::Cpu(storage) = &*storage else {
        return Err(Error::Unsupported {
            what: format!("a candle tensor on {:?}", tensor.device().location()),
            remedy: "move it first, with to_device(&candle_core::Device::Cpu)".to_owned(),
        });
    };
    let data_type = data_type_of(tensor.dtype())?;
    let strides: Strides = layout.stride().iter().map(|stride| stride.cast_signed()).collect();
    let strided = Layout::new(layout.dims(), &strides, 0)?;
    let bits = layout.start_offset() * data_type.size_in_bits();
    if !bits.is_multiple_of(8) {
        return Err(Error::Unsupported {
            what: format!("a candle tensor of {data_type} that starts within a byte"),
            remedy: "start the slice at an even number of elements".to_owned(),
        });
    }
    Ok((start_of(storage).wrapping_add(bits / 8), TensorSpec { data_type, layout: strided }))
}

fn start_of(storage: &CpuStorage) -> *mut u8 {
    let start: *const u8 = match storage {
        CpuStorage::U8(v) => v.as_ptr().cast(),
        CpuStorage::U32(v) => v.as_ptr().cast(),
        CpuStorage::I16(v) => v.as_ptr().cast(),
        CpuStorage::I32(v) => v.as_ptr().cast(),
        CpuStorage::I64(v) => v.as_ptr().cast(),
        CpuStorage::BF16(v) => v.as_ptr().cast(),
        CpuStorage::F16(v) => v.as_ptr().cast(),
        CpuStorage::F32(v) => v.as_ptr().cast(),
        CpuStorage::F64(v) => v.as_ptr().cast(),
        CpuStorage::F8E4M3(v) => v.as_ptr().cast(),
        CpuStorage::F6E2M3(v)
        | CpuStorage::F6E3M2(v)
        | CpuStorage::F4(v)
        | CpuStorage::F8E8M0(v) => v.as_ptr(),
    };
    start.cast_mut()
}

/// Moves the vector that the tensor lies in into a candle tensor.
fn from_vector(tensor: ManagedTensor) -> Result<Tensor, Refused<ManagedTensor>> {
    use DataType as D;
    match tensor.data_type() {
        D::U8 => moved(tensor, CpuStorage::U8),
        D::U32 => moved(tensor, CpuStorage::U32),
        D::I16 => moved(tensor, CpuStorage::I16),
        D::I32 => moved(tensor, CpuStorage::I32),
        D::I64 => moved(tensor, CpuStorage::I64),
        D::BF16 => moved(tensor, CpuStorage::BF16),
        D::F16 => moved(tensor, CpuStorage::F16),
        D::F32 => moved(tensor, CpuStorage::F32),
        D::F64 => moved(tensor, CpuStorage::F64),
        D::F8E4M3FN => moved(tensor, CpuStorage::F8E4M3),
        D::F8E8M0FNU => moved_bytes(tensor, CpuStorage::F8E8M0),
        D::F6E2M3FN => moved_bytes(tensor, CpuStorage::F6E2M3),
        D::F6E3M2FN => moved_bytes(tensor, CpuStorage::F6E3M2),
        D::F4E2M1FN => moved_bytes(tensor, CpuStorage::F4),
        data_type => {
            let error = Error::UnsupportedDataType {
                target: "candle",
                data_type,
                supported: DATA_TYPES.to_vec(),
                remedy: data_type.narrowest_holding(DATA_TYPES),
            };
            Err(Refused::new(tensor, error))
        }
    }
}

fn moved<T: Element>(
    tensor: ManagedTensor,
    storage: fn(Vec<T>) -> CpuStorage,
) -> Result<Tensor, Refused<ManagedTensor>> {
    let (vec, layout) = tensor.into_vec::<T>()?;
    Ok(dense_tensor(storage(vec), &layout))
}

fn moved_bytes(
    tensor: ManagedTensor,
    storage: fn(Vec<u8>) -> CpuStorage,
) -> Result<Tensor, Refused<ManagedTensor>> {
    let (vec, layout) = tensor.into_byte_vec()?;
    Ok(dense_tensor(storage(vec), &layout))
}

/// The tensor whose elements lie in `storage` without gaps, as `layout` says.
fn dense_tensor(storage: CpuStorage, layout: &Layout) -> Tensor {
    let whole = |storage, shape: &[usize]| {
        Tensor::from_storage(Storage::Cpu(storage), shape, BackpropOp::none(), false)
    };
    if layout.is_row_major() {
        return whole(storage, layout.shape());
    }
    let order = layout.dense_order().expect("vectors are given out with dense layouts only");
    let in_memory: Vec<usize> = order.iter().map(|&axis| layout.shape()[axis]).collect();
    let mut axes = vec![0; order.len()];
    for (place, &axis) in order.iter().enumerate() {
        axes[axis] = place;
    }
    whole(storage, &in_memory).permute(axes).expect("the axes are a permutation")
}
