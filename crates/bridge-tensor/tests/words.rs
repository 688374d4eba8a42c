//! The words for element types, devices and streams: what each one is, against tables of DLPack's own.

use bridge_tensor::half::{bf16, f16};
use bridge_tensor::{ConsumerStream, DataType, Device, DeviceKind, Error, TypeCode};

#[test]
fn every_named_type_is_what_its_name_says() {
    use DataType as D;
    let (integer, float, complex, neither) =
        ((true, false, false), (false, true, false), (false, false, true), (false, false, false));
    // Code and bits, alignment in bytes, integer or float or complex, long and short name.
    let table = [
        (D::I8, (0, 8), 1, integer, "int8", "i8"),
        (D::I16, (0, 16), 2, integer, "int16", "i16"),
        (D::I32, (0, 32), 4, integer, "int32", "i32"),
        (D::I64, (0, 64), 8, integer, "int64", "i64"),
        (D::U8, (1, 8), 1, integer, "uint8", "u8"),
        (D::U16, (1, 16), 2, integer, "uint16", "u16"),
        (D::U32, (1, 32), 4, integer, "uint32", "u32"),
        (D::U64, (1, 64), 8, integer, "uint64", "u64"),
        (D::F16, (2, 16), 2, float, "float16", "f16"),
        (D::F32, (2, 32), 4, float, "float32", "f32"),
        (D::F64, (2, 64), 8, float, "float64", "f64"),
        (D::BF16, (4, 16), 2, float, "bfloat16", "bf16"),
        (D::C32, (5, 32), 2, complex, "complex32", "c32"),
        (D::C64, (5, 64), 4, complex, "complex64", "c64"),
        (D::C128, (5, 128), 8, complex, "complex128", "c128"),
        (D::BOOL, (6, 8), 1, neither, "bool", "bool"),
        (D::F8E3M4, (7, 8), 1, float, "float8_e3m4", "f8e3m4"),
        (D::F8E4M3, (8, 8), 1, float, "float8_e4m3", "f8e4m3"),
        (D::F8E4M3B11FNUZ, (9, 8), 1, float, "float8_e4m3b11fnuz", "f8e4m3b11fnuz"),
        (D::F8E4M3FN, (10, 8), 1, float, "float8_e4m3fn", "f8e4m3fn"),
        (D::F8E4M3FNUZ, (11, 8), 1, float, "float8_e4m3fnuz", "f8e4m3fnuz"),
        (D::F8E5M2, (12, 8), 1, float, "float8_e5m2", "f8e5m2"),
        (D::F8E5M2FNUZ, (13, 8), 1, float, "float8_e5m2fnuz", "f8e5m2fnuz"),
        (D::F8E8M0FNU, (14, 8), 1, float, "float8_e8m0fnu", "f8e8m0fnu"),
        (D::F6E2M3FN, (15, 6), 1, float, "float6_e2m3fn", "f6e2m3fn"),
        (D::F6E3M2FN, (16, 6), 1, float, "float6_e3m2fn", "f6e3m2fn"),
        (D::F4E2M1FN, (17, 4), 1, float, "float4_e2m1fn", "f4e2m1fn"),
    ];
    assert_eq!(table.map(|row| row.0).as_slice(), DataType::NAMED);
    for (data_type, (code, bits), alignment, family, long, short) in table {
        assert_eq!(DataType::from_dlpack(code, bits, 1).unwrap(), data_type);
        assert_eq!((data_type.code() as u8, data_type.bits()), (code, bits), "{long}");
        assert_eq!(data_type.lanes(), 1, "{long}");
        assert_eq!(data_type.size_in_bits(), usize::from(bits), "{long}");
        assert_eq!(data_type.alignment(), alignment, "{long}");
        let is = (data_type.is_integer(), data_type.is_float(), data_type.is_complex());
        assert_eq!(is, family, "{long}");
        assert_eq!((data_type.to_string(), data_type.short_name()), (long.into(), short.into()));
        assert_eq!(format!("{data_type:?}"), long);
    }
}

#[test]
fn a_vector_element_is_as_wide_as_its_lanes_and_aligned_as_one() {
    let four = DataType::F32.with_lanes(4).unwrap();
    assert_eq!((four.lanes(), four.size_in_bytes(), four.alignment()), (4, Some(16), 4));
    assert_eq!((DataType::F4E2M1FN_X2.lanes(), DataType::F4E2M1FN_X2.bits()), (2, 4));
    let quad = DataType::new(TypeCode::Float, 128, 1).unwrap();
    assert_eq!(quad.alignment(), 16);
    // There is no telling what an opaque element is.
    let opaque = DataType::new(TypeCode::Opaque, 64, 1).unwrap();
    assert!(!opaque.is_float() && !opaque.is_integer() && !opaque.is_complex());
}

#[test]
fn every_kind_of_device_is_what_its_name_says() {
    use DeviceKind as K;
    // DLPack's number, name, whether the CPU reads it, whether it has addresses, whose memory it is.
    let table = [
        (K::Cpu, 1, "cpu", true, true, K::Cpu),
        (K::Cuda, 2, "cuda", false, true, K::Cuda),
        (K::CudaHost, 3, "cuda_host", true, true, K::Cuda),
        (K::OpenCl, 4, "opencl", false, false, K::OpenCl),
        (K::Vulkan, 7, "vulkan", false, false, K::Vulkan),
        (K::Metal, 8, "metal", false, false, K::Metal),
        (K::Vpi, 9, "vpi", false, true, K::Vpi),
        (K::Rocm, 10, "rocm", false, true, K::Rocm),
        (K::RocmHost, 11, "rocm_host", true, true, K::Rocm),
        (K::Extension, 12, "extension", false, true, K::Extension),
        (K::CudaManaged, 13, "cuda_managed", true, true, K::Cuda),
        (K::OneApi, 14, "oneapi", false, true, K::OneApi),
        (K::WebGpu, 15, "webgpu", false, false, K::WebGpu),
        (K::Hexagon, 16, "hexagon", false, true, K::Hexagon),
        (K::Maia, 17, "maia", false, true, K::Maia),
        (K::Trainium, 18, "trainium", false, true, K::Trainium),
    ];
    assert_eq!(table.map(|row| row.0).as_slice(), DeviceKind::ALL);
    for (kind, number, name, is_host_accessible, has_addresses, driver_kind) in table {
        assert_eq!(Device::from_dlpack(number, 3).unwrap(), Device::new(kind, 3));
        assert_eq!((kind.name(), kind.to_string()), (name, name.to_owned()));
        assert_eq!(kind.is_host_accessible(), is_host_accessible, "{name}");
        assert_eq!(kind.has_addresses(), has_addresses, "{name}");
        assert_eq!(kind.driver_kind(), driver_kind, "{name}");
        assert_eq!(format!("{:?}", Device::new(kind, 3)), format!("{name}:3"));
    }
    assert_eq!(format!("{:?}", Device::CPU), "cpu");
}

#[test]
fn a_consumers_stream_is_read_as_dlpack_numbers_it() {
    use ConsumerStream as S;
    let table = [
        (None, S::Legacy, Some(1)),
        (Some(1), S::Legacy, Some(1)),
        (Some(2), S::PerThread, Some(2)),
        (Some(3), S::Handle(3), Some(3)),
        (Some(i64::MAX), S::Handle(i64::MAX.unsigned_abs()), Some(i64::MAX.unsigned_abs())),
        (Some(-1), S::Unordered, None),
    ];
    for (asked, stream, number) in table {
        assert_eq!(ConsumerStream::from_dlpack(asked).unwrap(), stream);
        assert_eq!(stream.number(), number);
    }
    for asked in [0, -2, i64::MIN] {
        let refused = ConsumerStream::from_dlpack(Some(asked));
        let Err(Error::InvalidArgument { found, .. }) = refused else { panic!("{refused:?}") };
        assert_eq!(found, asked.to_string());
    }
}

/// A value of an element type, or of one part of a complex one.
#[derive(Clone, Copy, Debug)]
enum Value {
    Integer(i128),
    Real(f64),
}

/// What the bit patterns of a small float mean that are no numbers.
#[derive(Clone, Copy, PartialEq)]
enum Specials {
    /// The highest exponent: infinity where the mantissa is zero, else NaN.
    Ieee,
    /// All bits set but for the sign: NaN.
    AllOnes,
    /// Minus zero: NaN.
    MinusZero,
    /// There are none.
    Finite,
}

/// The value of a bit pattern of a float of so many bits of exponent and mantissa.
fn decode(pattern: u32, exponent: u32, mantissa: u32, bias: i32, specials: Specials) -> f64 {
    let (highest, rest) = ((1 << exponent) - 1, (1 << mantissa) - 1);
    let (power, fraction) = (pattern >> mantissa & highest, pattern & rest);
    let is_negative = pattern >> (exponent + mantissa) == 1;
    let magnitude = match specials {
        Specials::Ieee if power == highest && fraction == 0 => f64::INFINITY,
        Specials::Ieee if power == highest => f64::NAN,
        Specials::AllOnes if power == highest && fraction == rest => f64::NAN,
        Specials::MinusZero if is_negative && power == 0 && fraction == 0 => f64::NAN,
        _ => {
            let implied = if power > 0 { 1 << mantissa } else { 0 };
            let shift = power.max(1).cast_signed() - bias - mantissa.cast_signed();
            f64::from(fraction + implied) * 2_f64.powi(shift)
        }
    };
    if is_negative { -magnitude } else { magnitude }
}

/// All values of a float of 8 bits or fewer, by its documented format.
fn small_floats(data_type: DataType) -> Option<Vec<f64>> {
    use {DataType as D, Specials::*};
    let (exponent, mantissa, bias, specials) = match data_type {
        D::F8E3M4 => (3, 4, 3, Ieee),
        D::F8E4M3 => (4, 3, 7, Ieee),
        D::F8E4M3B11FNUZ => (4, 3, 11, MinusZero),
        D::F8E4M3FN => (4, 3, 7, AllOnes),
        D::F8E4M3FNUZ => (4, 3, 8, MinusZero),
        D::F8E5M2 => (5, 2, 15, Ieee),
        D::F8E5M2FNUZ => (5, 2, 16, MinusZero),
        D::F6E2M3FN => (2, 3, 1, Finite),
        D::F6E3M2FN => (3, 2, 3, Finite),
        D::F4E2M1FN => (2, 1, 1, Finite),
        D::F8E8M0FNU => {
            let powers = (0..255).map(|power| 2_f64.powi(power - 127));
            return Some(powers.chain([f64::NAN]).collect());
        }
        _ => return None,
    };
    let patterns = 0..1_u32 << data_type.bits();
    Some(patterns.map(|bits| decode(bits, exponent, mantissa, bias, specials)).collect())
}

/// Bit patterns of a float: both signs, every exponent, and of the mantissas the least, the next and
/// the greatest.
fn telling_patterns(exponent: u32, mantissa: u32) -> impl Iterator<Item = u64> {
    (0..2_u64 << exponent).flat_map(move |upper| {
        [0, 1, (1 << mantissa) - 1].map(|fraction| upper << mantissa | fraction)
    })
}

/// Values of a type (of a part, where it is complex) among which there is one that another type
/// lacks, if it lacks any.
fn telling_values(data_type: DataType) -> Vec<Value> {
    use DataType as D;
    let real = |values: Vec<f64>| values.into_iter().map(Value::Real).collect();
    match data_type {
        D::BF16 => {
            real(telling_patterns(8, 7).map(|bits| bf16::from_bits(bits as u16).into()).collect())
        }
        D::F16 | D::C32 => {
            real(telling_patterns(5, 10).map(|bits| f16::from_bits(bits as u16).into()).collect())
        }
        D::F32 | D::C64 => {
            real(telling_patterns(8, 23).map(|bits| f32::from_bits(bits as u32).into()).collect())
        }
        D::F64 | D::C128 => real(telling_patterns(11, 52).map(f64::from_bits).collect()),
        _ => match small_floats(data_type) {
            Some(values) => real(values),
            None => (0..=64)
                .flat_map(|power| [-1, 0, 1].map(|more| (1_i128 << power) + more))
                .flat_map(|value| [Value::Integer(value), Value::Integer(-value)])
                .filter(|&value| has(data_type, value))
                .collect(),
        },
    }
}

/// Whether a type (a part of it, where it is complex) has this very value, the sign of zero
/// included.
fn has(data_type: DataType, value: Value) -> bool {
    use DataType as D;
    let range = match data_type {
        D::BOOL => Some(0..=1),
        D::I8 => Some(i8::MIN.into()..=i8::MAX.into()),
        D::I16 => Some(i16::MIN.into()..=i16::MAX.into()),
        D::I32 => Some(i32::MIN.into()..=i32::MAX.into()),
        D::I64 => Some(i64::MIN.into()..=i64::MAX.into()),
        D::U8 => Some(0..=u8::MAX.into()),
        D::U16 => Some(0..=u16::MAX.into()),
        D::U32 => Some(0..=u32::MAX.into()),
        D::U64 => Some(0..=u64::MAX.into()),
        _ => None,
    };
    if let Some(range) = range {
        return match value {
            Value::Integer(value) => range.contains(&value),
            Value::Real(value) => {
                let is_whole = value.fract() == 0.0 && (value != 0.0 || value.is_sign_positive());
                is_whole && range.contains(&(value as i128))
            }
        };
    }
    let real = match value {
        Value::Integer(value) if (value as f64) as i128 != value => return false,
        Value::Integer(value) => value as f64,
        Value::Real(value) => value,
    };
    let is_it = |there: f64| there.is_nan() && real.is_nan() || there.to_bits() == real.to_bits();
    match data_type {
        D::BF16 => is_it(bf16::from_f64(real).into()),
        D::F16 | D::C32 => is_it(f16::from_f64(real).into()),
        D::F32 | D::C64 => is_it((real as f32).into()),
        D::F64 | D::C128 => true,
        _ => small_floats(data_type).unwrap().into_iter().any(is_it),
    }
}

#[test]
#[cfg_attr(miri, ignore = "millions of values, and no unsafe code")]
fn a_type_fits_in_another_that_has_all_its_values_and_in_no_other() {
    for &from in DataType::NAMED {
        let values = telling_values(from);
        for &to in DataType::NAMED {
            let missing = values.iter().find(|&&value| !has(to, value));
            let expected = missing.is_none() && (to.is_complex() || !from.is_complex());
            assert_eq!(from.fits_in(to), expected, "{from} in {to}, which lacks {missing:?}");
        }
    }
}

#[test]
fn types_whose_values_nobody_knows_fit_in_themselves_only() {
    let pair = DataType::F4E2M1FN_X2;
    let odd = DataType::new(TypeCode::Int, 4, 1).unwrap();
    let opaque = DataType::new(TypeCode::Opaque, 8, 1).unwrap();
    for strange in [pair, odd, opaque] {
        assert!(strange.fits_in(strange));
        for other in [DataType::F64, DataType::C128, DataType::I64, DataType::BOOL] {
            assert!(!strange.fits_in(other), "{strange} in {other}");
            assert!(!other.fits_in(strange), "{other} in {strange}");
        }
    }
    assert!(!pair.fits_in(DataType::F4E2M1FN) && !DataType::F4E2M1FN.fits_in(pair));
}
