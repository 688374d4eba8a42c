//! Casts on the device equal those of bridge-host, bit by bit, in every rule of overflow.

use crate::support;
use crate::support::on_every_device;
use bridge_core::{
    Access, DataType, Device, Error, HostMemory, Layout, ManagedTensor, NativeArray, Overflow,
    Owner, Runtime, TensorSpec,
};
use bridge_opencl::{ClArray, ClQueue, OpenCl};
use bridge_testkit::bytes_of;
use proptest::prelude::*;

const RULES: [Overflow; 3] = [Overflow::Refuse, Overflow::Saturate, Overflow::Wrap];

/// What kernels compute with.
const NUMBERS: [DataType; 13] = [
    DataType::BOOL,
    DataType::I8,
    DataType::I16,
    DataType::I32,
    DataType::I64,
    DataType::U8,
    DataType::U16,
    DataType::U32,
    DataType::U64,
    DataType::F16,
    DataType::BF16,
    DataType::F32,
    DataType::F64,
];

/// What goes through the host.
const OTHERS: [DataType; 5] =
    [DataType::F8E4M3FN, DataType::F8E8M0FNU, DataType::C32, DataType::C64, DataType::C128];

fn tensor(data_type: DataType, bytes: &[u8]) -> ManagedTensor {
    let size = data_type.size_in_bytes().expect("whole bytes");
    let memory = HostMemory::zeroed(bytes.len(), data_type.alignment()).unwrap();
    let spec = TensorSpec::row_major(data_type, &[bytes.len() / size]).unwrap();
    // SAFETY: the memory has as many bytes, initialized; booleans are made to be 0 or 1.
    unsafe {
        memory.as_ptr().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        ManagedTensor::from_host_memory(memory, spec).unwrap()
    }
}

/// Element values where conversions differ: bounds of every type, halves, subnormals, specials.
fn values(data_type: DataType) -> Vec<u8> {
    let bounds: Vec<f64> = [7, 8, 15, 16, 23, 24, 31, 32, 52, 53, 62, 63, 64, 126, 127, 128, 1023]
        .into_iter()
        .flat_map(|power| {
            let bound = 2_f64.powi(power);
            [bound, bound.next_down(), bound.next_up(), bound - 1.0, bound + 1.0, bound - 0.5]
        })
        .chain([0.0, 0.5, 1.0, 1.5, 2.5, 3.0, 0.1, 65504.0, 65519.0, 65520.0, 65536.0, 448.0])
        .chain([2_f64.powi(-14), 2_f64.powi(-24), 2_f64.powi(-25), 3e-8, 1e-40, 1e-45, 1e-310])
        .chain([f64::INFINITY, f64::MAX, f64::from(f32::MAX), f64::from(f32::MAX) * 1.00000003])
        .flat_map(|value| [value, -value])
        .chain([f64::NAN])
        .collect();
    let integers = bounds.iter().map(|&value| value as i128);
    match data_type {
        DataType::BOOL => [0, 1, 1, 0, 1].repeat(13),
        DataType::F64 => bounds.iter().flat_map(|v| v.to_ne_bytes()).collect(),
        DataType::F32 => bounds.iter().flat_map(|&v| (v as f32).to_ne_bytes()).collect(),
        DataType::F16 | DataType::BF16 => (0..=u16::MAX).flat_map(u16::to_ne_bytes).collect(),
        DataType::I8 | DataType::U8 => (0..=u8::MAX).collect(),
        DataType::I16 | DataType::U16 => (0..=u16::MAX).flat_map(u16::to_ne_bytes).collect(),
        DataType::I32 | DataType::U32 => integers.flat_map(|v| (v as i32).to_ne_bytes()).collect(),
        _ => integers.flat_map(|v| (v as i64).to_ne_bytes()).collect(),
    }
}

/// Casts on the device and on the host, and compares.
fn compare(queue: &ClQueue, source: &ManagedTensor, to: DataType, overflow: Overflow) {
    let from = source.data_type();
    let expected = bridge_host::to_data_type(source, to, overflow);
    let array = ClArray::upload(queue, source).unwrap();
    match (array.cast(to, overflow), expected) {
        (Ok(found), Ok(expected)) => {
            let (found, expected) = (bytes_of(&found.download().unwrap()), bytes_of(&expected));
            let size = to.size_in_bytes().unwrap();
            let sources = bytes_of(source);
            let source_size = from.size_in_bytes().unwrap();
            for (index, (found, expected)) in
                found.chunks(size).zip(expected.chunks(size)).enumerate()
            {
                assert!(
                    found == expected,
                    "{from} to {to} ({overflow:?}): element {index}, {:02x?}, became {found:02x?}, \
                     not {expected:02x?}",
                    &sources[index * source_size..][..source_size]
                );
            }
        }
        (Err(found), Err(expected)) => assert_eq!(found.to_string(), expected.to_string()),
        (found, expected) => panic!(
            "{from} to {to} ({overflow:?}): {:?}, but the host says {:?}",
            found.map(|_| "fits"),
            expected.map(|_| "fits")
        ),
    }
}

/// Every rule for an integer and two floats, which every narrower target is too small for; one rule for
/// each other pair, in turns: the driver compiles a kernel for each, a fifth of a second apiece.
fn rules(source: usize, target: usize) -> &'static [Overflow] {
    match NUMBERS[source] {
        DataType::I64 | DataType::F32 | DataType::F64 => &RULES,
        _ => &RULES[(source + target) % RULES.len()..][..1],
    }
}

#[test]
fn every_pair_of_numbers_casts_as_on_the_host() {
    on_every_device(|queue| {
        for (source, from) in NUMBERS.into_iter().enumerate() {
            let tensor = tensor(from, &values(from));
            for (target, to) in NUMBERS.into_iter().enumerate() {
                for &overflow in rules(source, target) {
                    compare(queue, &tensor, to, overflow);
                }
            }
        }
    });
}

#[test]
fn what_kernels_cannot_compute_with_goes_through_the_host() {
    on_every_device(|queue| {
        let numbers =
            tensor(DataType::F32, &[0.5_f32, 1.0, 2.0, 4.0].map(f32::to_ne_bytes).concat());
        for to in OTHERS {
            compare(queue, &numbers, to, Overflow::Refuse);
            let source = bridge_host::to_data_type(&numbers, to, Overflow::Refuse).unwrap();
            for back in [DataType::F32, DataType::C128] {
                compare(queue, &source, back, Overflow::Saturate);
            }
        }
    });
}

#[test]
fn values_that_fit_are_cast_on_the_device_under_refuse() {
    on_every_device(|queue| {
        let values: Vec<i32> = (-100..100).collect();
        let array = support::array(queue, &values);
        let cast = array.cast(DataType::I8, Overflow::Refuse).unwrap();
        let expected: Vec<i8> = (-100..100).collect();
        assert_eq!(cast.to_vec::<i8>().unwrap(), expected);
    });
}

#[test]
fn a_value_that_does_not_fit_is_named_as_on_the_host() {
    on_every_device(|queue| {
        let array = support::array(queue, &[1.0_f32, 2.0, 300.5, f32::NAN]);
        let error = array.cast(DataType::U8, Overflow::Refuse).unwrap_err();
        let Error::ValueOutOfRange { index, value, .. } = &error else { panic!("{error}") };
        assert_eq!((*index, value.as_str()), (2, "300.5"));
    });
}

#[test]
fn misaligned_elements_are_copied_and_cast() {
    // arrow-rs#7136, MatX#1204: an offset that is no multiple of the element.
    on_every_device(|queue| {
        let values: Vec<i32> = (-3..9).map(|value| value * 70_001).collect();
        let bytes: Vec<u8> =
            [7_u8].into_iter().chain(values.iter().flat_map(|v| v.to_ne_bytes())).collect();
        let whole = support::array(queue, &bytes);
        let layout = Layout::row_major(&[12]).unwrap().at_byte_offset(1);
        let spec = TensorSpec { data_type: DataType::I32, layout };
        // Within another value, so that it is not taken for the array itself.
        let (data, owner) = (whole.raw(), Owner::keep(Some(whole)));
        // SAFETY: the elements lie in the buffer, one byte on, and the array that has it is kept.
        let tensor = unsafe {
            let device = queue.device().device();
            ManagedTensor::from_parts(data, spec, device, Access::Exclusive, owner).unwrap()
        };
        let odd = ClArray::import(tensor).unwrap();
        assert_eq!(odd.to_vec::<i32>().unwrap(), values);
        assert_eq!(odd.copy().unwrap().to_vec::<i32>().unwrap(), values);
        let cast = odd.cast(DataType::F64, Overflow::Refuse).unwrap();
        let expected: Vec<f64> = values.iter().copied().map(f64::from).collect();
        assert_eq!(cast.to_vec::<f64>().unwrap(), expected);
        let backwards = odd.sliced(0, 11, 6, -2).unwrap();
        let cast = backwards.cast(DataType::F32, Overflow::Refuse).unwrap();
        let expected: Vec<f32> = values.iter().rev().step_by(2).map(|&v| v as f32).collect();
        assert_eq!(cast.to_vec::<f32>().unwrap(), expected);
    });
}

#[test]
fn strided_elements_are_cast() {
    on_every_device(|queue| {
        let values: Vec<i16> = (0..24).collect();
        let array = ClArray::from_slice(queue, &values, &[2, 3, 4]).unwrap();
        let view = array.permuted(&[2, 0, 1]).unwrap().sliced(0, 3, 4, -1).unwrap();
        let host = view.download().unwrap();
        let cast = view.cast(DataType::F64, Overflow::Refuse).unwrap();
        let expected = bridge_host::to_data_type(&host, DataType::F64, Overflow::Refuse).unwrap();
        assert_eq!(bytes_of(&cast.download().unwrap()), bytes_of(&expected));
    });
}

#[test]
fn the_backend_casts_a_borrowed_tensor() {
    on_every_device(|queue| {
        let host = ManagedTensor::from_vec(vec![1.75_f32, -2.5], &[2]).unwrap();
        let there = OpenCl.transfer(&host, queue.device().device()).unwrap();
        let cast = OpenCl.cast(&there, DataType::I32, Overflow::Refuse).unwrap();
        let back = OpenCl.transfer(&cast, Device::CPU).unwrap();
        assert_eq!(back.as_slice::<i32>().unwrap(), [1, -2]);
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn random_bits_cast_as_on_the_host(
        // Few pairs, as each is a kernel more to compile in this process.
        from in prop::sample::select(&[DataType::I64, DataType::BF16, DataType::F64][..]),
        to in prop::sample::select(&[DataType::U8, DataType::F16, DataType::F32][..]),
        overflow in prop::sample::select(&RULES[..]),
        words in prop::collection::vec(any::<u64>(), 1..600),
    ) {
        let bytes: Vec<u8> = words.into_iter().flat_map(u64::to_ne_bytes).collect();
        on_every_device(|queue| compare(queue, &tensor(from, &bytes), to, overflow));
    }
}
