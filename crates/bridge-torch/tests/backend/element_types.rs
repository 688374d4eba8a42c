//! Every element type of torch, those that tch has no name for too: class G of the bug bank.

use bridge_convert::Convert;
use bridge_convert::ConvertByName;
use bridge_core::{
    Array, CopyPolicy, DataType, Error, ManagedTensor, NativeArray, Options, Registry,
};
use bridge_cpu as _;
use bridge_host as _;
use bridge_testkit::bytes_of;
use bridge_testkit::samples::{Arrangement, Backing};
use bridge_torch::Torch;
use tch::{Kind, Tensor};

fn accepted() -> &'static [DataType] {
    <Tensor as NativeArray<Torch>>::ACCEPTS.data_types()
}

#[test]
fn all_that_torch_has_pass_in_both_directions_bit_by_bit() {
    for &data_type in accepted() {
        let sample = Arrangement::row_major(&[3, 5]).sample(data_type, Backing::Vector).unwrap();
        let place = sample.tensor.data();
        let never = Options::default().copy(CopyPolicy::Never);
        let torch: Tensor = sample.tensor.convert_to(never).unwrap();
        assert_eq!(torch.data_ptr(), place, "{data_type}");
        let view = torch.tr();
        let exported: ManagedTensor = view.convert_to(never).unwrap();
        assert_eq!((exported.data_type(), exported.shape()), (data_type, &[5, 3][..]));
        let back: ManagedTensor = torch.convert_to(never).unwrap();
        assert_eq!(bytes_of(&back), sample.expected, "{data_type}");
    }
}

#[test]
fn types_that_tch_has_no_name_for_never_panic() {
    let unnamed = [DataType::U16, DataType::U32, DataType::U64, DataType::F8E8M0FNU];
    for data_type in unnamed {
        let sample = Arrangement::row_major(&[4]).sample(data_type, Backing::Vector).unwrap();
        let torch: Tensor = sample.tensor.convert().unwrap();
        assert!(torch.f_kind().is_err(), "tch now has a name for {data_type}: move it in the docs");
        // torch's own kernels work on them.
        let copy = torch.copy();
        let back: ManagedTensor = copy.convert().unwrap();
        assert_eq!((back.data_type(), bytes_of(&back)), (data_type, sample.expected));
    }
}

#[test]
fn torch_reads_the_values_that_were_meant() {
    // cupy#8801: bfloat16; dlpack#156: the codes of float8; onnxruntime#9919: bool.
    let expect = |kind, data_type, bytes: &[u8], values: &[f64]| {
        let size = data_type_size(data_type);
        let tensor = Tensor::from_slice(bytes);
        let shape = [bytes.len() / size];
        let raw: ManagedTensor = tensor.convert().unwrap();
        let header = raw.into_dlpack();
        // SAFETY: the header is owned here; the bytes are those of `shape` elements of the type.
        let tensor = unsafe {
            let found = &mut (*header.as_ptr()).dl_tensor;
            found.dtype.code.0 = DataType::code(data_type) as u8;
            found.dtype.bits = data_type.bits();
            *found.shape = shape[0] as i64;
            ManagedTensor::from_dlpack(header.as_ptr())
        };
        let torch: Tensor = tensor.unwrap().convert().unwrap();
        assert_eq!(torch.f_kind().unwrap(), kind);
        let read: Vec<f64> = torch.to_kind(Kind::Double).try_into().unwrap();
        assert_eq!(read, values, "{data_type}");
    };
    expect(Kind::BFloat16, DataType::BF16, &[0x80, 0x3f, 0x20, 0xc0], &[1.0, -2.5]);
    expect(Kind::Half, DataType::F16, &[0x00, 0x3c, 0x00, 0xc1], &[1.0, -2.5]);
    expect(Kind::Float8e4m3fn, DataType::F8E4M3FN, &[0x38, 0x7e], &[1.0, 448.0]);
    expect(Kind::Float8e5m2, DataType::F8E5M2, &[0x3c, 0x7b], &[1.0, 57344.0]);
    expect(Kind::Float8e4m3fnuz, DataType::F8E4M3FNUZ, &[0x40, 0x7f], &[1.0, 240.0]);
    expect(Kind::Float8e5m2fnuz, DataType::F8E5M2FNUZ, &[0x40, 0x7f], &[1.0, 57344.0]);
    expect(Kind::Bool, DataType::BOOL, &[1, 0], &[1.0, 0.0]);
}

fn data_type_size(data_type: DataType) -> usize {
    data_type.size_in_bytes().unwrap()
}

#[test]
fn a_bool_of_other_bytes_is_found_where_rust_would_read_it() {
    // dlpark#55: a safe slice of `bool` made of any byte.
    let torch = Tensor::from_slice(&[1_u8, 2]).view_dtype(Kind::Bool);
    let exported: ManagedTensor = torch.convert().unwrap();
    assert!(exported.as_slice::<bool>().is_err());
}

#[test]
fn bool_stays_bool_in_both_directions() {
    // pytorch#67081, #94463, jax#19352: exported as uint8, or refused.
    let torch: Tensor = ndarray::arr1(&[true, false, true]).convert().unwrap();
    assert_eq!(torch.kind(), Kind::Bool);
    let flipped: ManagedTensor = torch.logical_not().convert().unwrap();
    assert_eq!(flipped.data_type(), DataType::BOOL);
    assert_eq!(flipped.as_slice::<bool>().unwrap(), [false, true, false]);
    let header = flipped.into_dlpack();
    // SAFETY: the header was made just now, and is handed back.
    let (code, bits) = unsafe {
        let found = (*header.as_ptr()).dl_tensor.dtype;
        drop(ManagedTensor::from_dlpack(header.as_ptr()));
        (found.code.0, found.bits)
    };
    assert_eq!((u32::from(code), bits), (6, 8), "kDLBool");
}

#[test]
fn two_lanes_of_float4_are_one_element_of_a_byte() {
    // dlpack#158: lanes that were counted as elements, or forgotten.
    let sample = Arrangement::row_major(&[2, 3]).sample(DataType::F4E2M1FN_X2, Backing::Vector);
    let sample = sample.unwrap();
    assert_eq!(sample.expected.len(), 6);
    let torch: Tensor = sample.tensor.convert().unwrap();
    assert_eq!((torch.size(), torch.stride()), (vec![2, 3], vec![3, 1]));
    let keeper = torch.shallow_clone();
    let header = torch.convert::<ManagedTensor>().unwrap().into_dlpack();
    // SAFETY: the header was made just now, and is handed back.
    let (lanes, bits, back) = unsafe {
        let found = (*header.as_ptr()).dl_tensor.dtype;
        (found.lanes, found.bits, ManagedTensor::from_dlpack(header.as_ptr()).unwrap())
    };
    assert_eq!((lanes, bits, back.shape()), (2, 4, &[2, 3][..]));
    assert_eq!(bytes_of(&back), sample.expected);
    drop(keeper);
}

#[test]
fn by_name_too_float64_is_cast_when_it_is_asked_for_only() {
    // JAX halves it silently.
    let registry = Registry::global().unwrap();
    let array = || Array::new(ndarray::arr1(&[1e300, 0.1]));
    let same: Tensor =
        registry.convert(array(), "torch", Options::default()).unwrap().downcast().unwrap();
    assert_eq!((same.kind(), same.double_value(&[0])), (Kind::Double, 1e300));
    let asked = Options::default().cast(DataType::F32);
    let narrow = Array::new(ndarray::arr1(&[0.5_f64]));
    let narrow: Tensor = registry.convert(narrow, "torch", asked).unwrap().downcast().unwrap();
    assert_eq!((narrow.kind(), narrow.double_value(&[0])), (Kind::Float, 0.5));
    let back = registry.convert(Array::new(same), "ndarray", Options::default()).unwrap();
    assert_eq!(back.describe().unwrap().data_type, DataType::F64);
}

#[test]
fn nothing_is_cast_unasked() {
    let tensor = ManagedTensor::from_vec(vec![1.5_f64, 2.5], &[2]).unwrap();
    let torch: Tensor = tensor.convert().unwrap();
    assert_eq!(torch.kind(), Kind::Double);
    let half: Tensor = torch.convert_to(Options::default().cast(DataType::F16)).unwrap();
    assert_eq!((half.kind(), half.double_value(&[1])), (Kind::Half, 2.5));
}

#[test]
fn a_type_that_torch_lacks_is_an_error_that_names_one_that_holds_it() {
    for data_type in DataType::NAMED.iter().filter(|one| !accepted().contains(one)) {
        let Some(sample) = Arrangement::row_major(&[4]).sample(*data_type, Backing::Vector) else {
            continue;
        };
        let error = sample.tensor.convert::<Tensor>().unwrap_err();
        let Error::UnsupportedDataType { target, remedy, .. } = error.error() else {
            panic!("{data_type}: {error}");
        };
        assert_eq!(*target, "torch");
        assert!(remedy.is_some(), "{data_type}: {error}");
    }
}
