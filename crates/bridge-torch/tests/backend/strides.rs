//! Strides, offsets and shapes, as torch's own kernels read them: classes C and D of the bug bank.

use std::convert::Infallible;

use bridge_convert::Convert;
use bridge_core::{
    Access, Allocator, CopyPolicy, DataType, Error, Layout, ManagedTensor, NativeArray, Options,
    Owner, TensorError, TensorSpec,
};
use bridge_host as _;
use bridge_testkit::foreign::ForeignTensor;
use bridge_testkit::samples::{Arrangement, Backing};
use bridge_testkit::{DropCounter, bytes_of};
use bridge_torch::Torch;
use tch::{Kind, Tensor};

/// What torch itself reads, element after element: a copy that its kernel makes.
fn read_by_torch(tensor: &Tensor) -> Vec<u8> {
    let compact = Tensor::empty(tensor.size().as_slice(), (tensor.kind(), tch::Device::Cpu));
    let mut compact = compact.contiguous();
    compact.copy_(tensor);
    bytes_of(&compact.convert::<ManagedTensor>().unwrap())
}

#[test]
fn torch_reads_every_arrangement_as_it_was_written() {
    // jax#4196, #17784: strides ignored, wrong data silently; nanobind#1259: extents of 0;
    // cupy#10172: a negative stride handed over as a huge one; cuda-python#2576: the offset ignored.
    let types = [DataType::U8, DataType::I16, DataType::F32, DataType::I64, DataType::C128];
    for arrangement in (0..=4).flat_map(Arrangement::of_rank) {
        for data_type in types {
            for copy in [CopyPolicy::IfNeeded, CopyPolicy::Always] {
                let Some(sample) = arrangement.sample(data_type, Backing::RustOwner) else {
                    continue;
                };
                let options = Options::default().copy(copy);
                let torch: Tensor = sample.tensor.convert_to(options).unwrap();
                assert_eq!(
                    read_by_torch(&torch),
                    sample.expected,
                    "{data_type}, {arrangement}, {copy:?}"
                );
            }
        }
    }
}

#[test]
fn forward_strides_are_shared_and_backward_ones_copied() {
    // pytorch#188023, tensorflow#51598: negative strides ended the process.
    for arrangement in (0..=4).flat_map(Arrangement::of_rank) {
        let sample = arrangement
            .sample_with(DataType::F32, Backing::RustOwner, Access::Exclusive, Ok::<_, Infallible>)
            .unwrap()
            .unwrap();
        let (place, empty) = (sample.tensor.first_element(), sample.tensor.layout().is_empty());
        let takes = sample.tensor.layout().has_no_negative_strides()
            && !arrangement.is_misaligned_for(DataType::F32);
        let result = sample.tensor.convert_to::<Tensor>(Options::default().copy(CopyPolicy::Never));
        match result {
            Ok(torch) => {
                assert!(takes, "{arrangement}");
                assert!(empty || torch.data_ptr().cast() == place, "{arrangement}");
            }
            Err(refused) => {
                assert!(!takes, "{arrangement}: {refused}");
                assert!(matches!(refused.error(), Error::WouldCopy { .. }), "{refused}");
                assert_eq!(refused.into_value().first_element(), place);
            }
        }
    }
}

#[test]
fn torchs_own_views_come_out_with_their_strides() {
    let whole = Tensor::arange(24, (Kind::Int, tch::Device::Cpu)).view([2, 3, 4]);
    let base = whole.data_ptr();
    let cases: [(Tensor, &[usize], &[isize], usize); 6] = [
        (whole.permute([2, 0, 1]), &[4, 2, 3], &[1, 12, 4], 0),
        (whole.slice(2, 1, 4, 2), &[2, 3, 2], &[12, 4, 2], 1),
        (whole.get(1), &[3, 4], &[4, 1], 12),
        (whole.get(1).get(2).get(3), &[], &[], 23),
        (whole.select(2, 0).unsqueeze(1).expand([2, 5, 3], false), &[2, 5, 3], &[12, 0, 4], 0),
        (whole.narrow(0, 1, 0), &[0, 3, 4], &[12, 4, 1], 12),
    ];
    for (view, shape, strides, start) in cases {
        let exported: ManagedTensor = view.convert().unwrap();
        assert_eq!((exported.shape(), exported.layout().strides()), (shape, strides));
        if !exported.layout().is_empty() {
            let place = exported.first_element().addr() - base.addr();
            assert_eq!(place, start * 4, "{shape:?}");
        }
    }
}

#[test]
fn columns_come_in_as_columns() {
    // jax#7657: an array in column-major order, read as if its rows lay one behind the other.
    let layout = Layout::new(&[2, 3], &[1, 2], 0).unwrap();
    let columns = ManagedTensor::from_vec_with_layout(vec![1_f32, 4.0, 2.0, 5.0, 3.0, 6.0], layout);
    let torch: Tensor = columns.unwrap().convert().unwrap();
    assert_eq!((torch.size(), torch.stride()), (vec![2, 3], vec![1, 2]));
    let rows = Vec::<f32>::try_from(torch.contiguous().view(6)).unwrap();
    assert_eq!(rows, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
}

#[test]
fn what_has_gaps_is_not_taken_for_contiguous() {
    // onnxruntime#27450: a slice handed over as if it were compact.
    let whole = Tensor::arange(12, (Kind::Int64, tch::Device::Cpu)).view([3, 4]);
    let exported: ManagedTensor = whole.slice(1, 0, 4, 2).convert().unwrap();
    assert!(!exported.layout().is_row_major() && exported.as_slice::<i64>().is_err());
    let torch: Tensor = exported.convert().unwrap();
    assert!(!torch.is_contiguous());
    let values = Vec::<i64>::try_from(torch.contiguous().view(6)).unwrap();
    assert_eq!(values, [0, 2, 4, 6, 8, 10]);
}

#[test]
fn an_empty_tensor_without_an_address_comes_in_and_goes_out() {
    // cccl#11605: refused for its null pointer, which DLPack asks for.
    let drops = DropCounter::new();
    let empty = ManagedTensor::from_vec(Vec::<f32>::new(), &[3, 0, 2]).unwrap();
    let foreign = ForeignTensor::of(empty, &drops).into_managed();
    assert!(foreign.data().is_null());
    let torch: Tensor = foreign.convert().unwrap();
    assert_eq!((torch.size(), torch.numel()), (vec![3, 0, 2], 0));
    let view = torch.transpose(0, 2);
    let exported: ManagedTensor = view.convert().unwrap();
    let header = exported.into_dlpack();
    // SAFETY: the header was made just now, and is handed back.
    let again = unsafe {
        assert!((*header.as_ptr()).dl_tensor.data.is_null());
        ManagedTensor::from_dlpack(header.as_ptr())
    };
    assert_eq!(again.unwrap().shape(), [2, 0, 3]);
    drop(torch);
    assert_eq!(drops.drops(), 1);
}

#[test]
fn memory_is_as_large_as_strides_reach() {
    // Paddle#68559: room for the elements of a strided tensor, and not for the gaps between them.
    let layout = Layout::new(&[3, 4], &[100, 2], 8).unwrap();
    let spec = TensorSpec { data_type: DataType::F32, layout };
    let mut torch: Tensor =
        Torch.allocate(&spec, bridge_core::Device::CPU).unwrap().convert().unwrap();
    assert_eq!((torch.size(), torch.stride()), (vec![3, 4], vec![100, 2]));
    let _ = torch.fill_(3.0);
    // A copy has no gaps, and all elements.
    let compact: Tensor = torch
        .convert_to::<ManagedTensor>(Options::default().copy(CopyPolicy::Always))
        .unwrap()
        .convert()
        .unwrap();
    assert_eq!((compact.stride(), compact.sum(Kind::Float).double_value(&[])), (vec![4, 1], 36.0));
}

#[test]
fn strides_are_not_rewritten() {
    // Paddle#77052: [24, ...] became [1, ...] for an axis of extent 1, and consumers broke.
    for strides in [[24, 12, 4, 1], [7, 12, 4, 1], [0, 12, 4, 1]] {
        let layout = Layout::new(&[1, 2, 3, 4], &strides, 0).unwrap();
        let tensor = ManagedTensor::from_vec_with_layout(vec![1_f32; 24], layout).unwrap();
        let torch: Tensor = tensor.convert().unwrap();
        assert_eq!(torch.stride(), strides.map(|stride| stride as i64));
        let keeper = torch.shallow_clone();
        let exported: ManagedTensor = torch.convert().unwrap();
        assert_eq!(exported.layout().strides(), strides);
        drop(keeper);
    }
}

#[test]
fn strides_that_mean_nothing_do_no_harm() {
    // drjit#122, tensorflow#61184: strides of extents of 1 taken literally.
    let wild = Layout::new(&[1, 3, 1], &[-77, 1, isize::MAX], 0).unwrap();
    let tensor = ManagedTensor::from_vec_with_layout(vec![1_f32, 2.0, 3.0], wild).unwrap();
    let torch: Tensor = tensor.convert_to(Options::default().copy(CopyPolicy::Never)).unwrap();
    assert_eq!(torch.sum(Kind::Float).double_value(&[]), 6.0);
    assert_eq!(torch.f_squeeze().unwrap().size(), [3]);
}

#[test]
fn a_copy_whose_bytes_cannot_be_counted_is_an_error() {
    // tensorflow#116201: 2^68 bytes that wrapped around to none.
    let one = Tensor::zeros([1, 1], (Kind::Int, tch::Device::Cpu));
    assert!(one.f_expand([1_i64 << 32, 1 << 31], false).is_err(), "torch counts them itself");
    let huge = one.expand([1_i64 << 31, 1 << 31], false);
    let refused = huge.convert_to::<ManagedTensor>(Options::default().copy(CopyPolicy::Always));
    let refused = refused.unwrap_err();
    assert!(matches!(refused.error(), Error::Tensor(TensorError::TooLarge { .. })), "{refused}");
    assert_eq!(refused.into_value().size(), [1 << 31, 1 << 31]);
}

#[test]
fn a_large_broadcast_costs_nothing_and_its_copy_is_refused_where_memory_ends() {
    let one = ManagedTensor::from_vec(vec![1_u8], &[1, 1]).unwrap().into_shared();
    let wide = || ManagedTensor::alias(&one).broadcast_to(&[1 << 40, 1 << 10]).unwrap();
    let options = promised(Options::default().copy(CopyPolicy::Never));
    let torch: Tensor = wide().convert_to(options).unwrap();
    assert_eq!(torch.size(), [1 << 40, 1 << 10]);
    let error = wide().convert::<Tensor>().unwrap_err();
    assert!(matches!(error.error(), Error::Tensor(TensorError::OutOfMemory { .. })), "{error}");
}

#[test]
fn legacy_tensors_without_strides_are_read_as_row_major() {
    // cupy#2095, pytorch#18510: null strides followed.
    let tensor = ManagedTensor::from_vec(vec![1_f32, 2.0, 3.0, 4.0], &[2, 2]).unwrap();
    let header = tensor.into_dlpack_legacy().ok().unwrap();
    // SAFETY: the header is owned here; null strides mean row-major ones in the legacy struct.
    let tensor = unsafe {
        (*header.as_ptr()).dl_tensor.strides = std::ptr::null_mut();
        ManagedTensor::from_dlpack_legacy(header.as_ptr())
    };
    let torch: Tensor = tensor.unwrap().convert().unwrap();
    assert_eq!(Vec::<f32>::try_from(torch.get(1)).unwrap(), [3.0, 4.0]);
}

#[test]
fn misaligned_memory_is_refused_by_import_and_copied_by_the_plan() {
    // arrow-rs#7136: buffers that were not aligned for their elements.
    let misaligned = || {
        let bytes = vec![0_u8; 13];
        let data = bytes.as_ptr().wrapping_add(1).cast_mut().cast();
        let spec = TensorSpec::row_major(DataType::F32, &[3]).unwrap();
        let owner = Owner::keep(bytes);
        // SAFETY: twelve zeroed bytes lie from the second on in the vector, which the owner keeps.
        let tensor = unsafe {
            let device = bridge_core::Device::CPU;
            ManagedTensor::from_parts(data, spec, device, Access::Exclusive, owner)
        };
        tensor.unwrap()
    };
    let refused = <Tensor as NativeArray<Torch>>::import(misaligned()).unwrap_err();
    assert!(refused.to_string().contains("aligned to 4 bytes"), "{refused}");
    let torch: Tensor = misaligned().convert().unwrap();
    assert_eq!(torch.data_ptr().addr() % 4, 0);
}

/// The options, with the promise that nobody writes to what is converted under them.
fn promised(options: Options) -> Options {
    // SAFETY: no test that asks for it writes to the result.
    unsafe { options.ignore_read_only() }
}
