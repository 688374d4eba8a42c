//! Copies to, from and on the CUDA devices that libtorch reaches, done by libtorch.

use bridge_core::{
    Access, Backend, DataType, Device, DeviceKind, Error, Layout, ManagedTensor, NativeArray,
    Overflow, Owner, Rank, Result, Runtime, Strides, TensorSpec,
};
use tch::Tensor;

use crate::allocator::{allocated, over};
use crate::backend::Torch;
use crate::devices::{has_memory_of, ordinal, unavailable};
use crate::shim::{self, Work};
use crate::streams::synchronize;

// SAFETY: `synchronize` is libtorch's own, which waits for all streams of the device.
unsafe impl Runtime for Torch {
    fn backend(&self) -> &'static dyn Backend {
        &Torch
    }

    fn device_kinds(&self) -> &'static [DeviceKind] {
        &[DeviceKind::Cuda]
    }

    /// A guest on the GPUs that libtorch reaches: where bridge-cuda is linked, that is asked.
    fn serves(&self, device: Device) -> Option<Rank> {
        has_memory_of(device).then_some(Rank::Guest)
    }

    fn transfer(&self, tensor: &ManagedTensor, to: Device) -> Result<ManagedTensor> {
        copied(tensor, to)
    }

    fn copy(&self, tensor: &ManagedTensor) -> Result<ManagedTensor> {
        copied(tensor, tensor.device())
    }

    /// Always refused: a guest's casts are done on the host, by one set of rules.
    fn cast(
        &self,
        tensor: &ManagedTensor,
        to: DataType,
        _overflow: Overflow,
    ) -> Result<ManagedTensor> {
        let (from, device) = (tensor.data_type(), tensor.device());
        Err(Error::Unsupported {
            what: format!("casting {from} to {to} on {device} with torch"),
            remedy:
                "cast it on the CPU (Options::on(Device::CPU)), or link bridge-cuda, which casts \
                     on the device"
                    .to_owned(),
        })
    }

    /// torch keeps what it allocates.
    fn downloads_vectors(&self) -> bool {
        false
    }

    fn casts(&self, _from: DataType, _to: DataType, _overflow: Overflow) -> bool {
        false
    }

    fn synchronize(&self, device: Device) -> Result<()> {
        synchronize(device)
    }
}

/// The elements of a tensor, compact and row-major, on another device or the same one. They are
/// there when this returns.
fn copied(tensor: &ManagedTensor, to: Device) -> Result<ManagedTensor> {
    let index = match to.kind() {
        DeviceKind::Cuda => ordinal(to)?,
        _ if to == Device::CPU => shim::ON_THE_CPU,
        _ => return Err(unavailable(to)),
    };
    let spec = TensorSpec::row_major(tensor.data_type(), tensor.shape())?;
    if tensor.layout().is_empty() {
        return allocated(&spec, to);
    }
    let bytes = spec.layout.compact_bytes(spec.data_type)? as u64;
    let Forward { tensor: forward, backwards } = Forward::of(tensor)?;
    let source = Tensor::import(forward).map_err(Error::from)?;
    let mut made = std::ptr::null_mut();
    // SAFETY: the handle is alive as long as `source`; `backwards` has axes of it, which the shim
    // reads; it writes `made` where it succeeds.
    let status = unsafe {
        shim::bridge_torch_copied(
            shim::handle_of(&source),
            backwards.as_ptr(),
            backwards.len() as i64,
            index,
            &raw mut made,
        )
    };
    Work { operation: "copy between devices", device: to, bytes }.check(status)?;
    // SAFETY: the shim has made it just now.
    let copy = unsafe { shim::tensor_of(made) };
    // What is host memory to torch, pinned memory too, has been read or written already.
    for device in [tensor.device(), to].into_iter().filter(|device| has_memory_of(*device)) {
        synchronize(device)?;
    }
    // SAFETY: the copy has as many bytes as the elements, row-major, and is done.
    unsafe { over(copy, spec, to).map(|tensor| tensor.ready_on(None)) }
}

/// A tensor's memory as torch can read it: no axis runs backwards, and every element is of a type
/// that torch copies bit by bit.
struct Forward {
    /// Over memory that it does not keep.
    tensor: ManagedTensor,
    /// The axes that ran backwards.
    backwards: Vec<i64>,
}

impl Forward {
    fn of(tensor: &ManagedTensor) -> Result<Self> {
        let (layout, data_type) = (tensor.layout(), tensor.data_type());
        let low = layout.span(data_type)?.start;
        let first = tensor.first_element().wrapping_offset(low);
        let moves = |axis: usize| layout.shape()[axis] > 1;
        let backwards =
            (0..layout.rank()).filter(|&axis| moves(axis) && layout.strides()[axis] < 0);
        let backwards = backwards.map(|axis| axis as i64).collect();

        let mut shape = layout.shape().to_vec();
        let mut strides: Strides = layout.strides().iter().map(|stride| stride.abs()).collect();
        let bits = match data_type.size_in_bytes() {
            // Packed elements are row-major: their bytes are what is copied.
            None => {
                shape = vec![layout.compact_bytes(data_type)?];
                strides = [1].into_iter().collect();
                DataType::U8
            }
            Some(size) => bits_of(size, first).unwrap_or_else(|| {
                strides.iter_mut().for_each(|stride| *stride *= size as isize);
                shape.push(size);
                strides.push(1);
                DataType::U8
            }),
        };
        let layout = Layout::new(&shape, &strides, 0)?;
        let spec = TensorSpec { data_type: bits, layout };
        let (device, access) = (tensor.device(), Access::Shared);
        let nothing = Owner::nothing();
        // SAFETY:
        // - The elements lie in the tensor's memory, from the lowest address on, which is valid as
        //   long as `copied` borrows it: it lets go of this before it returns.
        // - Any bytes are valid integers and complex numbers.
        // - Nobody writes through this one, and the one who reads is ordered behind its stream.
        let forward =
            unsafe { ManagedTensor::from_parts(first.cast(), spec, device, access, nothing) }?;
        // SAFETY: it is the same memory.
        let forward = unsafe { forward.ready_on(tensor.stream()) };
        Ok(Self { tensor: forward, backwards })
    }
}

/// The type of torch's that copies elements of this size bit by bit, where they lie so.
fn bits_of(size: usize, first: *const u8) -> Option<DataType> {
    let bits = match size {
        1 => DataType::U8,
        2 => DataType::I16,
        4 => DataType::I32,
        8 => DataType::I64,
        16 => DataType::C128,
        _ => return None,
    };
    first.addr().is_multiple_of(bits.alignment()).then_some(bits)
}

#[cfg(test)]
mod tests {
    use bridge_core::{TensorError, TypeCode};
    use bridge_testkit::bytes_of;

    use super::*;

    /// Elements 0, 1, 2 … of a type, in bytes that differ from each other.
    fn numbered(data_type: DataType, layout: Layout, first: usize) -> ManagedTensor {
        let span = layout.span(data_type).unwrap();
        let bytes = first + layout.byte_offset() + span.end.unsigned_abs();
        let bytes: Vec<u8> = (0..bytes).map(|byte| byte as u8).collect();
        let data = bytes.as_ptr().wrapping_add(first).cast_mut().cast();
        let (spec, owner) = (TensorSpec { data_type, layout }, Owner::keep(bytes));
        // SAFETY: the vector has every byte of the layout's span from `first` on, is kept, and is
        // nobody else's; no byte is invalid for the types below.
        unsafe { ManagedTensor::from_parts(data, spec, Device::CPU, Access::Exclusive, owner) }
            .unwrap()
    }

    #[test]
    fn every_layout_and_element_type_is_copied_bit_by_bit() {
        let layouts = [
            Layout::row_major(&[2, 3]).unwrap(),
            Layout::column_major(&[2, 3]).unwrap(),
            Layout::new(&[2, 3], &[0, 1], 0).unwrap(),
            Layout::new(&[2, 3], &[-3, 1], 48).unwrap(),
            Layout::new(&[2, 3], &[3, -1], 48).unwrap(),
            Layout::new(&[1, 3], &[-7, -2], 64).unwrap(),
            Layout::row_major(&[]).unwrap(),
            Layout::row_major(&[0, 3]).unwrap(),
        ];
        let vector_of_three = DataType::new(TypeCode::Float, 32, 3).unwrap();
        let types = [DataType::U8, DataType::F16, DataType::U32, DataType::F64, DataType::C128];
        for data_type in types.into_iter().chain([vector_of_three]) {
            for (layout, first) in layouts.iter().flat_map(|layout| [(layout, 0), (layout, 1)]) {
                let tensor = numbered(data_type, layout.clone(), first);
                let copy = Torch.transfer(&tensor, Device::CPU).unwrap();
                let what = format!("{data_type} {layout:?} from byte {first}");
                assert_eq!(bytes_of(&copy), bytes_of(&tensor), "{what}");
                assert!(copy.layout().is_row_major(), "{what}");
                assert_eq!((copy.data_type(), copy.shape()), (data_type, layout.shape()), "{what}");
                assert_eq!(copy.access(), Access::Exclusive, "{what}");
            }
        }
    }

    #[test]
    fn pinned_and_managed_memory_is_host_memory() {
        for kind in [DeviceKind::CudaHost, DeviceKind::CudaManaged] {
            let mut elements = vec![1_u8, 2, 3];
            let data = elements.as_mut_ptr().cast();
            let spec = TensorSpec::row_major(DataType::U8, &[3]).unwrap();
            let (device, owner) = (Device::new(kind, 0), Owner::keep(elements));
            // SAFETY: the vector has the elements, is kept, and is nobody else's; the host reads it.
            let tensor =
                unsafe { ManagedTensor::from_parts(data, spec, device, Access::Exclusive, owner) };
            let copy = Torch.transfer(&tensor.unwrap(), Device::CPU).unwrap();
            assert_eq!(copy.as_slice::<u8>().unwrap(), [1, 2, 3], "{device}");
        }
    }

    #[test]
    fn host_memory_that_libtorch_cannot_get_is_out_of_memory_on_the_cpu() {
        let layout = Layout::new(&[1 << 50], &[0], 0).unwrap();
        let error = Torch.transfer(&numbered(DataType::F32, layout, 0), Device::CPU).unwrap_err();
        let Error::Tensor(TensorError::OutOfMemory { device, requested }) = error else {
            panic!("{error}");
        };
        assert_eq!((device, requested), (Device::CPU, 1 << 52));
    }

    #[test]
    fn casts_are_left_to_the_host() {
        let tensor = ManagedTensor::from_vec(vec![1_f32], &[1]).unwrap();
        assert!(!Torch.casts(DataType::F32, DataType::F64, Overflow::Refuse));
        let error = Torch.cast(&tensor, DataType::F64, Overflow::Refuse).unwrap_err();
        assert!(error.to_string().contains("bridge-cuda"), "{error}");
    }
}
