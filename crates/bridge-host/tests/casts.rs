//! Casts equal an oracle that computes with exact numbers, and golden values.

use bridge_core::TensorSpec;
use bridge_core::{DataType, Error, ManagedTensor, Options, Overflow, Result};
use bridge_host::{cast, saturate, set_max_threads, to_data_type, to_row_major, zeroed};
use half::{bf16, f16};
use num_complex::Complex;

use Overflow::{Refuse, Saturate, Wrap};

/// A row-major tensor of these bytes.
fn tensor(data_type: DataType, shape: &[usize], bytes: &[u8]) -> ManagedTensor {
    let mut tensor = zeroed(&TensorSpec::row_major(data_type, shape).unwrap(), 16).unwrap();
    write(&mut tensor, bytes);
    tensor
}

fn write(tensor: &mut ManagedTensor, bytes: &[u8]) {
    let size = tensor.layout().compact_bytes(tensor.data_type()).unwrap();
    assert_eq!(size, bytes.len());
    // SAFETY: the tensor is row-major, of this size, new, and nobody else's.
    unsafe { tensor.first_element().copy_from_nonoverlapping(bytes.as_ptr(), size) };
}

fn bytes_of(tensor: &ManagedTensor) -> Vec<u8> {
    assert!(tensor.layout().is_row_major());
    let size = tensor.layout().compact_bytes(tensor.data_type()).unwrap();
    // SAFETY: the tensor is row-major, has this size, and its elements are initialized.
    unsafe { std::slice::from_raw_parts(tensor.first_element(), size) }.to_vec()
}

fn list<T: bridge_core::Element>(values: &[T]) -> ManagedTensor {
    ManagedTensor::from_vec(values.to_vec(), &[values.len()]).unwrap()
}

fn cast_list<S: bridge_core::Element, T: bridge_core::Element>(
    values: &[S],
    overflow: Overflow,
) -> Result<Vec<T>> {
    let cast = to_data_type(&list(values), T::DATA_TYPE, overflow)?;
    Ok(cast.as_slice::<T>()?.to_vec())
}

/// Which element does not fit, and how it is printed.
fn misfit<S: bridge_core::Element, T: bridge_core::Element>(values: &[S]) -> (usize, String) {
    match cast_list::<S, T>(values, Refuse) {
        Err(Error::ValueOutOfRange { index, value, from, to }) => {
            assert_eq!((from, to), (S::DATA_TYPE, T::DATA_TYPE));
            (index, value)
        }
        other => panic!("{:?}", other.map(|_| ())),
    }
}

const REAL: [DataType; 21] = [
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
    DataType::F8E3M4,
    DataType::F8E4M3,
    DataType::F8E4M3B11FNUZ,
    DataType::F8E4M3FN,
    DataType::F8E4M3FNUZ,
    DataType::F8E5M2,
    DataType::F8E5M2FNUZ,
    DataType::F8E8M0FNU,
];

/// 2 to the power of `exponent`, exactly; Miri makes `powi` inexact on purpose.
fn power(exponent: i32) -> f64 {
    match exponent {
        -1022.. => f64::from_bits(((exponent + 1023) as u64) << 52),
        _ => f64::from_bits(1_u64.checked_shl((exponent + 1074) as u32).unwrap_or(0)),
    }
}

/// A value of any real type, exactly.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Value {
    Integer(i128),
    Float(f64),
}

/// A small float format as the oracle sees it: all its finite values with their codes, sorted.
struct Format {
    values: Vec<(f64, u32)>,
    infinity: bool,
    nan: bool,
}

fn code_bytes(data_type: DataType, code: u32) -> Vec<u8> {
    code.to_le_bytes()[..data_type.size_in_bytes().unwrap()].to_vec()
}

/// Decodes by the definition of the formats, independently of the crate.
fn decode(data_type: DataType, code: u32) -> f64 {
    let (exponent_bits, mantissa_bits, bias) = match data_type {
        DataType::F16 => (5, 10, 15),
        DataType::BF16 => (8, 7, 127),
        DataType::F8E3M4 => (3, 4, 3),
        DataType::F8E4M3 | DataType::F8E4M3FN => (4, 3, 7),
        DataType::F8E4M3B11FNUZ => (4, 3, 11),
        DataType::F8E4M3FNUZ => (4, 3, 8),
        DataType::F8E5M2 => (5, 2, 15),
        DataType::F8E5M2FNUZ => (5, 2, 16),
        DataType::F8E8M0FNU if code == 255 => return f64::NAN,
        DataType::F8E8M0FNU => return power(code as i32 - 127),
        _ => panic!("{data_type} is no small float"),
    };
    let width: u32 = exponent_bits + mantissa_bits;
    let sign = if code >> width == 1 { -1.0 } else { 1.0 };
    let magnitude = code & ((1 << width) - 1);
    let (exponent, mantissa) = (magnitude >> mantissa_bits, magnitude & ((1 << mantissa_bits) - 1));
    let fraction = f64::from(mantissa) / f64::from(1_u32 << mantissa_bits);
    let top = exponent == (1 << exponent_bits) - 1;
    let fnuz =
        matches!(data_type, DataType::F8E4M3B11FNUZ | DataType::F8E4M3FNUZ | DataType::F8E5M2FNUZ);
    if fnuz && code == 0x80 {
        return f64::NAN;
    }
    if data_type == DataType::F8E4M3FN && magnitude == 0x7F {
        return f64::NAN;
    }
    if top && !fnuz && data_type != DataType::F8E4M3FN {
        return if mantissa == 0 { sign * f64::INFINITY } else { f64::NAN };
    }
    let value = match exponent {
        0 => fraction * power(1 - bias),
        _ => (1.0 + fraction) * power(exponent as i32 - bias),
    };
    sign * value
}

fn format(data_type: DataType) -> Format {
    let codes = 0..1_u32 << data_type.bits();
    let decoded: Vec<(f64, u32)> = codes.map(|code| (decode(data_type, code), code)).collect();
    let mut values: Vec<_> =
        decoded.iter().copied().filter(|(value, _)| value.is_finite()).collect();
    values.sort_by(|a, b| a.0.total_cmp(&b.0));
    Format {
        values,
        infinity: decoded.iter().any(|(value, _)| value.is_infinite()),
        nan: decoded.iter().any(|(value, _)| value.is_nan()),
    }
}

/// What a value becomes in a small float: `Ok` the value, `Err` that it does not fit.
fn nearest(format: &Format, exact: f64) -> Result<f64, ()> {
    if exact.is_nan() {
        return if format.nan { Ok(f64::NAN) } else { Err(()) };
    }
    if exact.is_infinite() {
        return if format.infinity { Ok(exact) } else { Err(()) };
    }
    let values = &format.values;
    let above = values.partition_point(|(value, _)| *value < exact);
    if above < values.len() && values[above].0 == exact {
        return Ok(exact);
    }
    // Beyond the ends, rounding goes on as if there were one more value.
    let step = |from: usize, to: usize| values[to].0 + (values[to].0 - values[from].0);
    let last = values.len() - 1;
    let (low, high) = match above {
        0 if values[0].0 > 0.0 => (f64::MIN, values[0].0), // only scales, dealt with below
        0 => (step(1, 0), values[0].0),
        _ if above > last => (values[last].0, {
            let next = step(last - 1, last);
            if values[0].0 > 0.0 { 2.0 * values[last].0 } else { next }
        }),
        _ => (values[above - 1].0, values[above].0),
    };
    if low == f64::MIN {
        return if exact >= 0.75 * high { Ok(high) } else { Err(()) };
    }
    let middle = low + (high - low) / 2.0;
    let code_of = |value: f64| {
        let place = values.binary_search_by(|(other, _)| other.total_cmp(&value)).ok()?;
        Some(values[place].1)
    };
    let up = match exact.total_cmp(&middle) {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Greater => true,
        std::cmp::Ordering::Equal => match (code_of(low), code_of(high)) {
            (Some(low), _) => low & 1 == 1,
            (None, Some(high)) => high & 1 == 0,
            (None, None) => unreachable!(),
        },
    };
    let chosen = if up { high } else { low };
    if code_of(chosen).is_some() { Ok(chosen) } else { Err(()) }
}

/// Values that lie at every bound of every type.
fn interesting() -> Vec<f64> {
    let mut values = vec![0.0, -0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, 5e-324];
    for exponent in -1075..1024 {
        let power = power(exponent);
        for value in
            [power, power * 1.5, power * 1.25, power * 1.75, power * 1.9375, power * 1.99609375]
        {
            values.extend([value, value.next_up(), value.next_down(), value - 1.0, value - 0.5]);
        }
    }
    for number in [
        65504.0, 65519.99, 65520.0, 448.0, 464.0, 465.0, 240.0, 248.0, 57344.0, 61440.0, 15.5,
        15.75,
    ] {
        values.extend([number, f64::next_up(number), f64::next_down(number)]);
    }
    let negative: Vec<f64> = values.iter().map(|value| -value).collect();
    values.extend(negative);
    values
}

/// f64, f32 and all integers of the values, to every small float, under every rule.
#[test]
#[cfg_attr(miri, ignore)]
fn real_numbers_to_small_floats_round_once() {
    let values = interesting();
    for data_type in REAL.into_iter().filter(|to| to.is_float() && to.bits() <= 16) {
        let format = format(data_type);
        let largest = format.values[format.values.len() - 1].0;
        let smallest = format.values[0].0;
        let check = |source: &ManagedTensor, exact: &[f64]| {
            let expected: Vec<_> = exact.iter().map(|&value| nearest(&format, value)).collect();
            // None: finite numbers stay finite.
            for overflow in [Some(Saturate), Some(Wrap), None] {
                let cast = match overflow {
                    Some(overflow) => to_data_type(source, data_type, overflow).unwrap(),
                    None => saturate(source, data_type, &Options::default()).unwrap(),
                };
                let size = data_type.size_in_bytes().unwrap();
                for (place, code) in bytes_of(&cast).chunks(size).enumerate() {
                    let mut wide = [0; 4];
                    wide[..size].copy_from_slice(code);
                    let found = decode(data_type, u32::from_le_bytes(wide));
                    let wanted = match expected[place] {
                        Ok(value) => value,
                        Err(()) if overflow.is_none() && !exact[place].is_finite() => f64::NAN,
                        Err(()) if overflow.is_some() && format.infinity => {
                            f64::INFINITY.copysign(exact[place])
                        }
                        Err(()) if overflow == Some(Wrap) => f64::NAN,
                        Err(()) if exact[place] > largest => largest,
                        Err(()) => smallest,
                    };
                    assert!(
                        found == wanted || found.is_nan() && wanted.is_nan(),
                        "{:e} of {} to {data_type} {overflow:?}: {found:e}, not {wanted:e}",
                        exact[place],
                        source.data_type(),
                    );
                }
            }
            match (
                to_data_type(source, data_type, Refuse),
                expected.iter().position(Result::is_err),
            ) {
                (Ok(_), None) => {}
                (Err(Error::ValueOutOfRange { index, .. }), Some(first)) if index == first => {}
                (result, first) => {
                    panic!("{data_type}: {:?}, first misfit {first:?}", result.err())
                }
            }
            // Each value alone: what fits must not be refused, nor what does not pass.
            let shared = to_row_major(source).unwrap().into_shared();
            for (place, expected) in expected.iter().enumerate().step_by(7) {
                let one = ManagedTensor::alias(&shared).sliced(0, place, 1, 1).unwrap();
                let passed = to_data_type(&one, data_type, Refuse).is_ok();
                assert_eq!(passed, expected.is_ok(), "{:e} to {data_type}", exact[place]);
            }
        };
        check(&list(&values), &values);
        let single: Vec<f32> = values.iter().map(|&value| value as f32).collect();
        check(&list(&single), &single.iter().map(|&v| f64::from(v)).collect::<Vec<_>>());
        let i32s: Vec<i32> = values.iter().map(|&value| value as i32).collect();
        check(&list(&i32s), &i32s.iter().map(|&v| f64::from(v)).collect::<Vec<_>>());
        for code_type in [DataType::F16, DataType::BF16] {
            let codes: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
            let source = tensor(code_type, &[1 << 16], &codes);
            let exact: Vec<f64> = (0..1 << 16).map(|code| decode(code_type, code)).collect();
            if code_type != data_type {
                check(&source, &exact);
            }
        }
    }
}

/// To a wide float; integers become what they become under `Saturate`. A few and many, side by side and not.
#[test]
fn finite_numbers_stay_finite_and_the_others_what_they_are() {
    let largest = f64::from(f32::MAX);
    let tie = largest + (largest - f64::from(f32::MAX.next_down())) / 2.0;
    let values = [
        (1.5, 1.5),
        (-0.0, -0.0),
        (5e-324, 0.0),
        (tie.next_down(), f32::MAX),
        (tie, f32::MAX),
        (-tie, f32::MIN),
        (f64::MAX, f32::MAX),
        (f64::MIN, f32::MIN),
        (f64::INFINITY, f32::INFINITY),
        (f64::NEG_INFINITY, f32::NEG_INFINITY),
        (f64::NAN, f32::NAN),
    ];
    let count = if cfg!(miri) { 40 } else { (1 << 20) + 3 };
    for count in [1, values.len(), count] {
        let wide = list(&(0..count).map(|at| values[at % values.len()].0).collect::<Vec<_>>());
        let made = saturate(&wide, DataType::F32, &Options::default()).unwrap();
        let same = |(at, one): (usize, &f32)| {
            let expected = values[at % values.len()].1;
            one.to_bits() == expected.to_bits() || one.is_nan() && expected.is_nan()
        };
        assert!(made.as_slice::<f32>().unwrap().iter().enumerate().all(same));
        let every_third = wide.sliced(0, 0, count.div_ceil(3), 3).unwrap();
        let made = saturate(&every_third, DataType::F32, &Options::default()).unwrap();
        let mut places = made.as_slice::<f32>().unwrap().iter().enumerate();
        assert!(places.all(|(at, one)| same((3 * at, one))));
    }
    let integers = list(&[i64::MIN, -1, 300, i64::MAX]);
    let bytes = saturate(&integers, DataType::U8, &Options::default()).unwrap();
    assert_eq!(bytes.as_slice::<u8>().unwrap(), [0, 0, 255, 255]);
    let floats = list(&[-1e30, 0.9, 1e30, f64::INFINITY, f64::NAN]);
    let bytes = saturate(&floats, DataType::I8, &Options::default()).unwrap();
    assert_eq!(bytes.as_slice::<i8>().unwrap(), [-128, 0, 127, 127, 0]);
}

/// Every pattern of every small float, to every native type, under every rule.
#[test]
#[cfg_attr(miri, ignore)]
fn small_floats_to_real_numbers() {
    for from in REAL.into_iter().filter(|from| from.is_float() && from.bits() <= 16) {
        let count = 1_u32 << from.bits();
        let codes: Vec<u8> = (0..count).flat_map(|code| code_bytes(from, code)).collect();
        let source = tensor(from, &[count as usize], &codes);
        let exact: Vec<f64> = (0..count).map(|code| decode(from, code)).collect();
        natives_equal_the_oracle(
            &source,
            &exact.iter().map(|&v| Value::Float(v)).collect::<Vec<_>>(),
        );
    }
}

#[test]
#[cfg_attr(miri, ignore)]
fn native_numbers_to_each_other() {
    let values = interesting();
    natives_equal_the_oracle(
        &list(&values),
        &values.iter().map(|&v| Value::Float(v)).collect::<Vec<_>>(),
    );
    let single: Vec<f32> = values.iter().map(|&value| value as f32).collect();
    let exact: Vec<_> = single.iter().map(|&v| Value::Float(f64::from(v))).collect();
    natives_equal_the_oracle(&list(&single), &exact);
    macro_rules! integers {
        ($($integer:ident)*) => {
            $(
                let mut numbers: Vec<$integer> = values.iter().map(|&value| value as $integer).collect();
                numbers.extend([$integer::MIN, $integer::MAX, $integer::MAX - 1, $integer::MIN + 1]);
                let exact: Vec<_> = numbers.iter().map(|&v| Value::Integer(v as i128)).collect();
                natives_equal_the_oracle(&list(&numbers), &exact);
            )*
        };
    }
    integers!(i8 i16 i32 i64 u8 u16 u32 u64);
}

fn natives_equal_the_oracle(source: &ManagedTensor, exact: &[Value]) {
    macro_rules! to_integers {
        ($($integer:ident)*) => {
            $(
                let (low, high) = ($integer::MIN as i128, $integer::MAX as i128);
                let whole: Vec<Option<i128>> = exact.iter().map(|value| match *value {
                    Value::Integer(whole) => Some(whole),
                    // Huge floats are out of range whatever they become here.
                    Value::Float(float) if float.is_finite() => Some(float.trunc() as i128),
                    Value::Float(_) => None,
                }).collect();
                let saturated: Vec<$integer> = exact.iter().zip(&whole).map(|(value, whole)| {
                    match (value, whole) {
                        (_, Some(whole)) => (*whole).clamp(low, high) as $integer,
                        (Value::Float(float), None) => *float as $integer,
                        _ => unreachable!(),
                    }
                }).collect();
                let wrapped: Vec<$integer> = whole.iter().zip(exact).map(|(whole, value)| {
                    // From 2^127 on the low 64 bits of a float are all zero.
                    match value {
                        Value::Float(float) if float.abs() > 1e38 => 0,
                        _ => whole.unwrap_or(0) as $integer,
                    }
                }).collect();
                let misfit = whole.iter().position(|whole| {
                    whole.is_none_or(|whole| whole < low || whole > high)
                });
                compare::<$integer>(source, &saturated, &wrapped, misfit);
            )*
        };
    }
    to_integers!(i8 i16 i32 i64 u8 u16 u32 u64);
    let doubles: Vec<f64> = exact
        .iter()
        .map(|value| match *value {
            Value::Integer(whole) => whole as f64,
            Value::Float(float) => float,
        })
        .collect();
    compare::<f64>(source, &doubles, &doubles, None);
    let singles: Vec<f32> = exact
        .iter()
        .map(|value| match *value {
            Value::Integer(whole) => whole as f32,
            Value::Float(float) => float as f32,
        })
        .collect();
    let misfit = singles.iter().zip(&doubles).position(|(f, d)| f.is_infinite() && d.is_finite());
    compare::<f32>(source, &singles, &singles, misfit);
    let truths: Vec<bool> = doubles.iter().map(|&value| value != 0.0).collect();
    if source.data_type() != DataType::BOOL {
        compare::<bool>(source, &truths, &truths, None);
    }
}

fn compare<T: bridge_core::Element + PartialEq + std::fmt::Debug>(
    source: &ManagedTensor,
    saturated: &[T],
    wrapped: &[T],
    misfit: Option<usize>,
) {
    let (from, to) = (source.data_type(), T::DATA_TYPE);
    let same = |a: &T, b: &T| a == b || format!("{a:?}{b:?}") == "NaNNaN";
    for (overflow, expected) in [(Saturate, saturated), (Wrap, wrapped)] {
        let found = to_data_type(source, to, overflow).unwrap();
        for (place, (found, expected)) in
            found.as_slice::<T>().unwrap().iter().zip(expected).enumerate()
        {
            assert!(
                same(found, expected),
                "{from} to {to} {overflow:?} [{place}]: {found:?}, not {expected:?}"
            );
        }
    }
    match (to_data_type(source, to, Refuse), misfit) {
        (Ok(found), None) => {
            let found = found.as_slice::<T>().unwrap();
            assert!(found.iter().zip(saturated).all(|(a, b)| same(a, b)), "{from} to {to}");
        }
        (Err(Error::ValueOutOfRange { index, .. }), Some(first)) => {
            assert_eq!(index, first, "{from} to {to}");
        }
        (result, first) => panic!("{from} to {to}: {:?}, first misfit {first:?}", result.err()),
    }
}

/// A float and those up to four steps beside it.
macro_rules! around {
    ($value:expr) => {{
        let value = $value;
        let (mut below, mut above) = (value, value);
        let mut around = vec![value];
        for _ in 0..4 {
            (below, above) = (below.next_down(), above.next_up());
            around.extend([below, above]);
        }
        around
    }};
}

/// Of the floats around each bound of each integer type, those fit whose integer part does; each is
/// cast alone, so that none hides behind another.
#[test]
fn the_bounds_of_integers_are_exact() {
    macro_rules! check {
        ($float:ident: $($integer:ident)*) => {
            $(
                let (low, high) = ($integer::MIN as i128, $integer::MAX as i128);
                let bounds = [low - 1, low, low + 1, -1, 0, high - 1, high, high + 1];
                for value in bounds.into_iter().flat_map(|bound| around!(bound as $float)) {
                    let whole = value.trunc() as i128;
                    match cast_list::<$float, $integer>(&[value], Refuse) {
                        Ok(found) => assert_eq!(i128::from(found[0]), whole, "{value:?}"),
                        Err(_) => assert!(whole < low || whole > high, "{value:?} is refused"),
                    }
                }
            )*
        };
    }
    check!(f32: i8 i16 i32 i64 u8 u16 u32 u64);
    check!(f64: i8 i16 i32 i64 u8 u16 u32 u64);
}

/// The same around the largest value of each small float, and of `f32`.
#[test]
fn the_bounds_of_floats_are_exact() {
    for to in REAL.into_iter().filter(|to| to.is_float() && to.bits() <= 16) {
        let format = format(to);
        let values = &format.values;
        let (smallest, largest) = (values[0].0, values[values.len() - 1].0);
        let step = largest - values[values.len() - 2].0;
        let bounds = [smallest, 0.75 * smallest, smallest - step / 2.0, 0.0];
        let bounds = bounds.into_iter().chain([largest, largest + step / 2.0, largest + step]);
        for value in bounds.flat_map(|bound| around!(bound as f32)) {
            let fits = to_data_type(&list(&[value]), to, Refuse).is_ok();
            assert_eq!(fits, nearest(&format, value.into()).is_ok(), "{value:?} to {to}");
        }
    }
    let limit = f64::from(f32::MAX) + power(127 - 24);
    for value in around!(limit).into_iter().flat_map(|value| [value, -value]) {
        let fits = cast_list::<f64, f32>(&[value], Refuse).is_ok();
        assert_eq!(fits, (value as f32).is_finite(), "{value:?}");
    }
}

#[test]
fn golden_values_to_integers() {
    let floats = [300.9_f32, -1.9, f32::NAN, 1e20, f32::NEG_INFINITY, -0.5];
    assert_eq!(cast_list::<_, u8>(&floats, Saturate).unwrap(), [255, 0, 0, 255, 0, 0]);
    assert_eq!(cast_list::<_, u8>(&floats, Wrap).unwrap(), [44, 255, 0, 0, 0, 0]);
    assert_eq!(misfit::<_, u8>(&[255.9_f32, -0.9, 256.0]), (2, "256.0".to_owned()));
    assert_eq!(
        misfit::<_, i64>(&[9_223_372_036_854_774_784_f64, 9_223_372_036_854_775_808.0]).0,
        1
    );
    assert_eq!(misfit::<_, u64>(&[-0.9_f64, -1.0]), (1, "-1.0".to_owned()));
    assert_eq!(misfit::<_, i32>(&[0.0_f64, f64::NAN]), (1, "NaN".to_owned()));
    assert_eq!(misfit::<_, i32>(&[f32::INFINITY]), (0, "inf".to_owned()));
    assert_eq!(cast_list::<_, i32>(&[-2_147_483_648.9_f64], Refuse).unwrap(), [i32::MIN]);
    assert_eq!(cast_list::<_, i8>(&[200_u8, 127], Wrap).unwrap(), [-56, 127]);
    assert_eq!(cast_list::<_, i8>(&[200_u8, 127], Saturate).unwrap(), [127, 127]);
    assert_eq!(cast_list::<_, u64>(&[-1_i8, i8::MIN], Wrap).unwrap(), [u64::MAX, u64::MAX - 127]);
    assert_eq!(cast_list::<_, u64>(&[-1_i8], Saturate).unwrap(), [0]);
    assert_eq!(misfit::<_, u64>(&[0_i8, -1]), (1, "-1".to_owned()));
    assert_eq!(cast_list::<_, f32>(&[i64::MAX], Refuse).unwrap(), [9_223_372_036_854_775_808.0]);
    assert_eq!(
        cast_list::<_, i64>(&[9_223_372_036_854_775_808_f32], Saturate).unwrap(),
        [i64::MAX]
    );
    assert_eq!(cast_list::<_, i64>(&[9_223_372_036_854_775_808_f32], Wrap).unwrap(), [i64::MIN]);
}

#[test]
fn golden_values_to_floats() {
    let to_half = |value: f64| cast_list::<_, f16>(&[value], Saturate).unwrap()[0];
    assert_eq!(to_half(65519.99).to_f32(), 65504.0);
    assert_eq!(to_half(65520.0).to_f32(), f32::INFINITY);
    assert_eq!(misfit::<_, f16>(&[65519.99_f32, 65520.0]), (1, "65520.0".to_owned()));
    assert_eq!(misfit::<_, f16>(&[65504_i32, -70000]), (1, "-70000".to_owned()));
    assert_eq!(misfit::<_, f32>(&[f64::INFINITY, 1e300]), (1, "1e300".to_owned()));
    assert_eq!(to_half(-0.0).to_bits(), 0x8000);
    assert_eq!(to_half(power(-24)).to_bits(), 1);
    assert_eq!(to_half(power(-25)).to_bits(), 0);
    // Rounding to f32 first would make these ties, and they would go the other way.
    assert_eq!(to_half(power(-25) * (1.0 + 1e-12)).to_bits(), 1);
    assert_eq!(to_half(1.0 + power(-11) + power(-40)).to_bits(), 0x3C01);
    let to_bf16 = |value: i64| cast_list::<_, bf16>(&[value], Refuse).unwrap()[0].to_f64();
    let tie = (1_i64 << 40) + (1 << 32);
    assert_eq!(to_bf16(tie), power(40));
    assert_eq!(to_bf16(tie + 1), power(40) * (1.0 + power(-7)));
    // Of what is lost, every bit decides a tie.
    for bit in 0..17 {
        assert_eq!(to_bf16(tie + (1 << bit)), power(40) * (1.0 + power(-7)), "bit {bit}");
    }
    assert_eq!(to_bf16(-tie - 1), -power(40) * (1.0 + power(-7)));
    // The smallest scale is a value like any other.
    let scales = to_data_type(&list(&[power(-127)]), DataType::F8E8M0FNU, Wrap).unwrap();
    assert_eq!(bytes_of(&scales), [0]);
}

#[test]
fn booleans_are_whatever_is_not_zero() {
    let truths = cast_list::<_, bool>(&[0.0_f64, -0.0, f64::NAN, 1e-300, -3.0], Refuse).unwrap();
    assert_eq!(truths, [false, false, true, true, true]);
    assert_eq!(cast_list::<_, bool>(&[0_u64, 1 << 63], Refuse).unwrap(), [false, true]);
    assert_eq!(cast_list::<_, f32>(&[true, false], Refuse).unwrap(), [1.0, 0.0]);
    assert_eq!(cast_list::<_, f16>(&[true, false], Refuse).unwrap(), [f16::ONE, f16::ZERO]);
}

#[test]
fn complex_numbers() {
    let pairs = [Complex::new(1.5_f32, -2.0), Complex::new(0.0, f32::INFINITY)];
    let wide = cast_list::<_, Complex<f64>>(&pairs, Refuse).unwrap();
    assert_eq!(wide, [Complex::new(1.5, -2.0), Complex::new(0.0, f64::INFINITY)]);
    assert_eq!(cast_list::<_, Complex<f32>>(&[3_u8], Refuse).unwrap(), [Complex::new(3.0, 0.0)]);
    assert_eq!(cast_list::<_, Complex<f64>>(&[3.5_f64], Refuse).unwrap(), [Complex::new(3.5, 0.0)]);
    let huge = [Complex::new(0.0, 0.0), Complex::new(1.0, -1e300)];
    assert_eq!(misfit::<_, Complex<f32>>(&huge), (1, "1.0 + -1e300i".to_owned()));
    let halves = to_data_type(&list(&pairs), DataType::C32, Refuse).unwrap();
    assert_eq!(bytes_of(&halves), [0x00, 0x3E, 0x00, 0xC0, 0, 0, 0x00, 0x7C]);
    let error = to_data_type(&list(&pairs), DataType::F32, Wrap).unwrap_err();
    assert!(error.to_string().contains("imaginary"), "{error}");
}

#[test]
fn packed_floats_can_be_cast_from() {
    let source = tensor(DataType::F4E2M1FN, &[3], &[0xF1, 0x07]);
    let cast = to_data_type(&source, DataType::F32, Refuse).unwrap();
    assert_eq!(cast.as_slice::<f32>().unwrap(), [0.5, -6.0, 6.0]);
    let source = tensor(DataType::F6E3M2FN, &[2, 2], &[0b1101_1111, 0b0000_1111, 0b1000_0100]);
    let cast = to_data_type(&source, DataType::F8E5M2, Refuse).unwrap();
    let values: Vec<f64> =
        bytes_of(&cast).iter().map(|&c| decode(DataType::F8E5M2, c.into())).collect();
    assert_eq!(values, [28.0, -28.0, 0.0, -0.0625]);
    assert_eq!(misfit_index(&source, DataType::U8), Some(1));
    let source = tensor(DataType::F6E2M3FN, &[2, 2], &[0b1101_1111, 0b0000_1111, 0b1000_0100]);
    let cast = to_data_type(&source, DataType::F32, Refuse).unwrap();
    assert_eq!(cast.as_slice::<f32>().unwrap(), [7.5, -7.5, 0.0, -0.125]);
    let floats = list(&[1.0_f32]);
    assert!(matches!(to_data_type(&floats, DataType::F4E2M1FN, Wrap), Err(Error::NoCast { .. })));
}

fn misfit_index(source: &ManagedTensor, to: DataType) -> Option<usize> {
    match to_data_type(source, to, Refuse) {
        Err(Error::ValueOutOfRange { index, .. }) => Some(index),
        _ => None,
    }
}

/// Every pair of types through strided layouts equals the pair through compact ones.
#[test]
fn layouts_change_no_value() {
    let few = [DataType::BOOL, DataType::F16, DataType::F32, DataType::C64];
    let all = REAL.into_iter().chain([DataType::C32, DataType::C64, DataType::C128]);
    let all = all.filter(|data_type| !cfg!(miri) || few.contains(data_type));
    for from in all.clone() {
        let size = from.size_in_bytes().unwrap();
        // 0 and 1 are valid in every type, bool included.
        let bytes: Vec<u8> =
            (0..40 * 36 * size).map(|i| u8::from(i % 5 == 2 || i % 7 == 3)).collect();
        let whole = tensor(from, &[40, 36], &bytes);
        let turned = whole.permuted(&[1, 0]).unwrap().sliced(0, 34, 17, -2).unwrap();
        let compact = to_row_major(&turned).unwrap();
        for to in all.clone().filter(|to| !from.is_complex() || to.is_complex()) {
            let expected = bytes_of(&to_data_type(&compact, to, Wrap).unwrap());
            assert_eq!(
                bytes_of(&to_data_type(&turned, to, Wrap).unwrap()),
                expected,
                "{from} to {to}"
            );
            let spec = TensorSpec::row_major(to, &[40, 34]).unwrap();
            let target = zeroed(&spec, 16).unwrap().permuted(&[1, 0]).unwrap();
            let mut target = target.sliced(0, 33, 17, -2).unwrap();
            cast(&turned, &mut target, Wrap).unwrap();
            assert_eq!(
                bytes_of(&to_row_major(&target).unwrap()),
                expected,
                "{from} to strided {to}"
            );
        }
    }
}

/// Planes narrow and wide, of one tile and of many, whether target elements lie side by side or apart.
#[test]
#[cfg_attr(miri, ignore)]
fn every_element_of_a_transposed_plane_is_cast() {
    let shapes = [(3, 5000), (5000, 3), (8, 9), (9, 9), (64, 512), (65, 513), (700, 129)];
    for (rows, columns) in shapes {
        let values = (0..rows * columns).map(|i| i as f32).collect();
        let source = ManagedTensor::from_vec(values, &[columns, rows]).unwrap();
        let source = source.permuted(&[1, 0]).unwrap();
        for step in [1, 2] {
            let spec = TensorSpec::row_major(DataType::F64, &[rows, columns * step]).unwrap();
            let target = zeroed(&spec, 64).unwrap();
            let mut target = target.sliced(1, 0, columns, step.cast_signed()).unwrap();
            cast(&source, &mut target, Refuse).unwrap();
            let cast = to_row_major(&target).unwrap();
            let cast = cast.as_slice::<f64>().unwrap();
            for (index, &value) in cast.iter().enumerate() {
                let (row, column) = (index / columns, index % columns);
                assert_eq!(value, (column * rows + row) as f64, "{rows}x{columns}, {row} {column}");
            }
        }
    }
}

/// The first misfit by row-major index is named, wherever memory and threads put it.
#[test]
#[cfg_attr(miri, ignore)]
fn the_first_misfit_in_row_major_order_is_named() {
    let (rows, columns) = (1500, 1401);
    for threads in [1, 4] {
        set_max_threads(threads);
        for (row, column) in [(0, 0), (700, 1400), (1499, 3), (1499, 1400)] {
            let mut values = vec![1.0_f32; rows * columns];
            for (r, c) in [(row, column), (rows - 1, columns - 1)] {
                values[c * rows + r] = 300.0 + r as f32;
            }
            let tensor = ManagedTensor::from_vec(values, &[columns, rows]).unwrap();
            let turned = tensor.permuted(&[1, 0]).unwrap();
            match to_data_type(&turned, DataType::U8, Refuse) {
                Err(Error::ValueOutOfRange { index, value, .. }) => {
                    assert_eq!(index, row * columns + column);
                    assert_eq!(value, format!("{:?}", 300.0 + row as f32));
                }
                other => panic!("{other:?}"),
            }
            let saturated = to_data_type(&turned, DataType::U8, Saturate).unwrap();
            let saturated = saturated.as_slice::<u8>().unwrap();
            assert_eq!(
                saturated.iter().filter(|&&value| value != 1).count(),
                if (row, column) == (rows - 1, columns - 1) { 1 } else { 2 }
            );
            assert_eq!(saturated[row * columns + column], 255);
        }
    }
    set_max_threads(0);
}

#[test]
fn what_is_no_number_is_not_cast() {
    let pairs = tensor(DataType::F4E2M1FN.with_lanes(2).unwrap(), &[2], &[1, 2]);
    let error = to_data_type(&pairs, DataType::F32, Wrap).unwrap_err();
    assert!(error.to_string().contains("lanes"), "{error}");
    let opaque = tensor("opaque64".parse().unwrap(), &[1], &[0; 8]);
    assert!(to_data_type(&opaque, DataType::F32, Wrap).unwrap_err().to_string().contains("handle"));
    let wide = DataType::from_dlpack(0, 128, 1).unwrap();
    let odd = tensor(wide, &[1], &[0; 16]);
    assert!(to_data_type(&odd, DataType::I64, Wrap).unwrap_err().to_string().contains("width"));
}
