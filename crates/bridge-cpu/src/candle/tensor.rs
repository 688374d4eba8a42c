//! `candle_core::Tensor` in and out.

use bridge_core::{
    Accepts, Access, DataType, Description, Device, Element, Error, Layout, LayoutRule,
    ManagedTensor, NativeArray, Owner, Ownership, Refused, Result, Strides, TensorError,
    TensorSpec, alignment_of,
};
use candle_core::backend::BackendStorage;
use candle_core::op::BackpropOp;
use candle_core::{CpuStorage, Storage, Tensor};

use super::Candle;
use super::data_types::{DATA_TYPES, data_type_of};
use super::locked::Locked;

impl NativeArray<Candle> for Tensor {
    const ACCEPTS: Accepts = Accepts::host(DATA_TYPES).layout(LayoutRule::Dense).only_vectors();

    fn descriptor() -> &'static bridge_core::Descriptor {
        bridge_core::Backend::descriptor(&Candle)
    }

    fn describe(&self) -> Result<Description> {
        let (storage, _) = self.storage_and_layout();
        let (first, TensorSpec { data_type, layout }) = first_and_spec(self, &storage)?;
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
        let locked = Locked::new(self);
        let (first, spec) = match first_and_spec(locked.tensor(), locked.storage()) {
            Ok(parts) => parts,
            Err(error) => return Err(Refused::new(locked.into_tensor(), error)),
        };
        let owner = Owner::keep_for::<Tensor, _>(locked);
        // SAFETY:
        // - The elements lie within the vector of the storage, whose type and length were compared
        //   with the layout; its elements are initialized. The owner keeps the vector and the read
        //   lock, without which nobody can free or move it.
        // - The owner is `Send`.
        // - Access is read-only: whoever writes through candle needs the write lock.
        let tensor = unsafe {
            let data = first.cast_mut().cast();
            ManagedTensor::from_parts(data, spec, Device::CPU, Access::ReadOnly, owner)
        };
        tensor.map_err(|refused| {
            refused.map(|owner| match owner.into_kept::<Locked>() {
                Ok(locked) => locked.into_tensor(),
                Err(_) => unreachable!("the owner was made of this tensor"),
            })
        })
    }

    fn import(tensor: ManagedTensor) -> Result<Self, Refused<ManagedTensor>> {
        if tensor.is_kept_by::<Locked>() {
            return tensor.into_owner().map(Locked::into_tensor).or_else(from_vector);
        }
        from_vector(tensor)
    }
}

/// The address of the element whose indices are all zero, its type, and where the others lie: all
/// within the vector of `storage`, which is the tensor's.
fn first_and_spec(tensor: &Tensor, storage: &Storage) -> Result<(*const u8, TensorSpec)> {
    let Storage::Cpu(storage) = storage else {
        return Err(Error::Unsupported {
            what: format!("a candle tensor on {:?}", tensor.device().location()),
            remedy: "move it first, with to_device(&candle_core::Device::Cpu)".to_owned(),
        });
    };
    let data_type = data_type_of(tensor.dtype())?;
    let stored = data_type_of(storage.dtype())?;
    if stored != data_type {
        return Err(Error::Tensor(TensorError::InvalidTensor {
            reason: format!(
                "the candle tensor is of {data_type}, and its storage holds {stored}: an in-place \
                 operation must leave a storage of the same type"
            ),
        }));
    }
    let start = tensor.layout().start_offset();
    let strides: Strides = tensor.stride().iter().map(|stride| stride.cast_signed()).collect();
    let layout = Layout::new(tensor.dims(), &strides, 0)?;
    let span = layout.span(data_type)?;
    let bits = start.checked_mul(data_type.size_in_bits()).ok_or_else(|| {
        Error::Tensor(TensorError::InvalidLayout {
            reason: format!("the candle tensor starts at element {start}, which no memory reaches"),
        })
    })?;
    if !bits.is_multiple_of(8) {
        return Err(Error::Unsupported {
            what: format!("a candle tensor of {data_type} that starts within a byte"),
            remedy: "start the slice at an even number of elements".to_owned(),
        });
    }
    let (first, available) = vector_of(storage);
    let needed = (bits / 8).checked_add_signed(span.end).unwrap_or(usize::MAX);
    if !layout.is_empty() && (span.start < 0 || needed > available) {
        return Err(Error::Tensor(TensorError::InvalidTensor {
            reason: format!(
                "the candle tensor, {layout:?} of {data_type} from element {start} on, takes \
                 {needed} bytes, and its storage has {available}: make it of a storage that holds \
                 all its elements; an in-place operation must leave as many as it found"
            ),
        }));
    }
    Ok((first.wrapping_add(bits / 8), TensorSpec { data_type, layout }))
}

/// Where the vector of a storage begins, and how many bytes its elements take.
fn vector_of(storage: &CpuStorage) -> (*const u8, usize) {
    fn of<T>(elements: &[T]) -> (*const u8, usize) {
        (elements.as_ptr().cast(), size_of_val(elements))
    }
    match storage {
        CpuStorage::U8(v) => of(v),
        CpuStorage::U32(v) => of(v),
        CpuStorage::I16(v) => of(v),
        CpuStorage::I32(v) => of(v),
        CpuStorage::I64(v) => of(v),
        CpuStorage::BF16(v) => of(v),
        CpuStorage::F16(v) => of(v),
        CpuStorage::F32(v) => of(v),
        CpuStorage::F64(v) => of(v),
        CpuStorage::F8E4M3(v) => of(v),
        CpuStorage::F6E2M3(v)
        | CpuStorage::F6E3M2(v)
        | CpuStorage::F4(v)
        | CpuStorage::F8E8M0(v) => of(v),
    }
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
    let (vec, layout) = tensor.into_vec::<T>().map_err(Refused::widen)?;
    Ok(dense_tensor(storage(vec), &layout))
}

fn moved_bytes(
    tensor: ManagedTensor,
    storage: fn(Vec<u8>) -> CpuStorage,
) -> Result<Tensor, Refused<ManagedTensor>> {
    let (vec, layout) = tensor.into_byte_vec().map_err(Refused::widen)?;
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
