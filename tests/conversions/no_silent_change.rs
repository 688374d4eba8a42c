//! No element type changes unless it is asked for, and what is asked for is exact.

use arraybridge::ConvertByName;
use arraybridge::backends::ndarray::SharedArray;
use arraybridge::{
    Array, Convert, CopyPolicy, DataType, Device, DeviceKind, Error, ManagedTensor, Options,
    Overflow,
};
use bridge_tests::{counting, registry, values};
use candle_core::{DType, Tensor};
use ndarray::{Array1, ArrayD, array};

#[test]
fn a_type_the_target_lacks_is_refused_and_names_a_cast_that_works() {
    let candle = registry().backend("candle").unwrap();
    for &data_type in DataType::NAMED {
        let supported = candle.data_types().contains(&data_type);
        if supported || data_type.is_complex() || data_type.size_in_bytes().is_none() {
            continue;
        }
        let refused = registry()
            .convert(Array::new(counting(data_type)), "candle", Options::default())
            .unwrap_err();
        let Error::UnsupportedDataType { remedy, .. } = refused.error() else {
            panic!("{refused}")
        };
        let Some(remedy) = *remedy else {
            assert_eq!(data_type, DataType::U64, "only uint64 fits nowhere in candle");
            continue;
        };
        assert!(refused.to_string().contains(&format!("cast to {remedy}")), "{refused}");
        let widened = Options::default().cast(remedy);
        let tensor: ManagedTensor =
            registry().convert(refused.into_value(), "candle", widened).unwrap().convert().unwrap();
        assert_eq!(values(&tensor), values(&counting(data_type)), "{data_type} as {remedy}");
    }
}

#[test]
fn complex_numbers_have_no_place_in_candle() {
    let array: Array1<num_complex::Complex<f32>> = Array1::zeros(3);
    let refused = array.convert::<Tensor>().unwrap_err();
    assert!(refused.to_string().contains("candle has no complex64"), "{refused}");
    assert_eq!(refused.into_value().len(), 3);
}

#[test]
fn float8_keeps_its_flavour() {
    // dlpark hands candle's F8E4M3 out as code 8, which torch refuses; 448 needs code 10.
    let tensor = Tensor::new(&[448_f32, -1.5], &candle_core::Device::Cpu)
        .unwrap()
        .to_dtype(DType::F8E4M3)
        .unwrap();
    let tensor: ManagedTensor = tensor.convert().unwrap();
    assert_eq!(tensor.data_type(), DataType::F8E4M3FN);
    assert_eq!(values(&tensor), [448.0, -1.5]);
}

#[test]
fn packed_floats_pass_through_candle_as_their_bytes() {
    for (data_type, bytes) in
        [(DataType::F4E2M1FN, 3), (DataType::F6E2M3FN, 5), (DataType::F8E8M0FNU, 6)]
    {
        let layout = arraybridge::Layout::row_major(&[2, 3]).unwrap();
        let data: Vec<u8> = (1..=bytes).collect();
        let memory = arraybridge::HostMemory::from_vec(data.clone());
        let spec = arraybridge::TensorSpec { data_type, layout };
        // SAFETY: six packed elements take exactly these initialized bytes.
        let tensor = unsafe { ManagedTensor::from_host_memory(memory, spec) }.unwrap();
        let tensor: Tensor = tensor.convert_to(Options::default().copy(CopyPolicy::Never)).unwrap();
        assert_eq!(tensor.dims(), [2, 3]);
        let tensor: ManagedTensor = tensor.convert().unwrap();
        assert_eq!(tensor.data_type(), data_type);
        // SAFETY: as above.
        let back = unsafe { std::slice::from_raw_parts(tensor.first_element(), data.len()) };
        assert_eq!(back, data, "{data_type}");
    }
}

#[test]
fn a_cast_refuses_what_does_not_fit_unless_told_otherwise() {
    let array = || array![1.5_f32, 300.0, -2.0];
    let to_bytes = Options::default().cast(DataType::U8);
    let refused = array().convert_to::<Tensor>(to_bytes).unwrap_err();
    assert!(refused.to_string().contains("element 1 is 300"), "{refused}");
    assert_eq!(refused.into_value(), array(), "the source comes back");

    let saturated: Tensor = array().convert_to(to_bytes.overflow(Overflow::Saturate)).unwrap();
    assert_eq!(saturated.to_vec1::<u8>().unwrap(), [1, 255, 0]);
    let wrapped: Tensor = array().convert_to(to_bytes.overflow(Overflow::Wrap)).unwrap();
    assert_eq!(wrapped.to_vec1::<u8>().unwrap(), [1, 44, 254]);
}

#[test]
fn a_bool_stays_a_bool_and_a_wrong_one_is_refused() {
    let flags: SharedArray<bool> = array![true, false].into();
    assert_eq!(flags.view(), array![true, false].into_dyn());
    let bytes = ManagedTensor::from_vec(vec![0_u8, 1, 2], &[3]).unwrap();
    let memory = bytes.into_host_memory().unwrap().0;
    let spec = arraybridge::TensorSpec::row_major(DataType::BOOL, &[3]).unwrap();
    // SAFETY: three initialized bytes; that one is no bool is what is tested.
    let forged = unsafe { ManagedTensor::from_host_memory(memory, spec) }.unwrap();
    let refused = forged.convert_to::<SharedArray<bool>>(Options::default()).unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("element 2 of a bool tensor, in row-major order, is the byte 2"),
        "{refused}"
    );
}

#[test]
fn a_wrong_array_type_says_what_would_be_right() {
    let array = Array::new(array![1.0_f32]);
    let text = array.downcast::<ArrayD<f64>>().unwrap_err().to_string();
    assert!(text.contains("f32") && text.contains("convert_to::<"), "{text}");
}

#[test]
fn the_device_asked_for_is_the_device_or_an_error() {
    let on = |device| {
        registry()
            .convert(Array::new(array![1.0_f32]), "candle", Options::default().on(device))
            .map(drop)
    };
    assert!(on(Device::CPU).is_ok());
    let text = on(Device::cuda(0)).unwrap_err().to_string();
    assert!(text.contains("has no device cuda:0; it has cpu"), "{text}");
    let cpu_1 = Device::new(DeviceKind::Cpu, 1);
    let text = on(cpu_1).unwrap_err().to_string();
    assert!(text.contains("has no device cpu:1; it has cpu"), "{text}");

    // By type too, and for memory that the CPU could read as well.
    for kind in [DeviceKind::Cpu, DeviceKind::CudaHost, DeviceKind::CudaManaged] {
        let elsewhere = Options::default().on(Device::new(kind, 7));
        let refused = array![1.0_f32].convert_to::<ManagedTensor>(elsewhere).unwrap_err();
        assert_eq!(refused.into_value(), array![1.0]);
    }
}
