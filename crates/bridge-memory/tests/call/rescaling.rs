//! Changes of element type by each rule.

use bridge_convert::ConvertByName;
use bridge_core::half::{bf16, f16};
use bridge_core::{Array, DataType, Device, Element, ManagedTensor, Options, Registry};
use bridge_memory::budget::{Budget, Shortage};
use bridge_memory::call::{CallOptions, DtypeConversion, Rescale, call, rescaled, rescaled_with};
use bridge_memory::pool::{Exact, Pool, PoolOptions};
use bridge_testkit::fake_accelerator::DEVICES;
use proptest::prelude::*;

use crate::support::{array, elements, registry, tensor};

const RANGE: Rescale = Rescale::Range { low: 0.0, high: 1.0 };

fn to<T: Element>(tensor: &ManagedTensor, rescale: Rescale) -> bridge_core::Result<Vec<T>> {
    let made = rescaled(Registry::global()?, tensor, T::DATA_TYPE, rescale)?;
    assert_eq!(made.shape(), tensor.shape());
    Ok(made.as_slice::<T>()?.to_vec())
}

#[test]
fn min_max_gives_the_python_packages_values_for_every_integer_type() {
    let unit = tensor(&[0.0, 0.5, 1.0], &[3]);
    let rule = Rescale::MinMax;
    assert_eq!(to::<u8>(&unit, rule).unwrap(), [0, 127, 255]);
    assert_eq!(to::<u16>(&unit, rule).unwrap(), [0, 32_767, 65_535]);
    assert_eq!(to::<i16>(&unit, rule).unwrap(), [-32_768, 0, 32_639]);
    assert_eq!(to::<u32>(&unit, rule).unwrap(), [0, 2_147_483_647, 4_294_967_295]);
    assert_eq!(to::<i32>(&unit, rule).unwrap(), [-2_147_483_648, 0, 2_147_483_519]);
    assert_eq!(to::<i8>(&unit, rule).unwrap(), [0, 0, 1]);
    let single = tensor(&[0.0_f32, 0.5, 1.0], &[3]);
    assert_eq!(to::<i32>(&single, rule).unwrap()[2], 2_147_483_520);
    assert_eq!(to::<u8>(&tensor(&[0.0_f32, 100.0, 200.0], &[3]), rule).unwrap(), [0, 127, 255]);
}

#[test]
fn min_max_only_casts_what_has_no_spread_and_what_are_no_floats_into_integers() {
    let rule = Rescale::MinMax;
    assert_eq!(to::<u16>(&tensor(&[0.7, 0.7], &[2]), rule).unwrap(), [0, 0]);
    assert_eq!(to::<u8>(&tensor(&[300_i32, -1], &[2]), rule).unwrap(), [44, 255]);
    assert_eq!(to::<f32>(&tensor(&[3_u8, 9], &[2]), rule).unwrap(), [3.0, 9.0]);
    assert_eq!(to::<f32>(&tensor(&[2.5, 9.5], &[2]), rule).unwrap(), [2.5, 9.5]);
    assert_eq!(to::<f64>(&tensor(&[2.5, 9.5], &[2]), rule).unwrap(), [2.5, 9.5]);
}

#[test]
fn narrow_floats_are_widened_first() {
    let half = [0.0, 0.5, 1.0].map(f16::from_f32);
    let brain = [0.0, 0.5, 1.0].map(bf16::from_f32);
    for rule in [Rescale::MinMax, RANGE] {
        let middle = if rule == RANGE { 128 } else { 127 };
        assert_eq!(to::<u8>(&tensor(&half, &[3]), rule).unwrap(), [0, middle, 255]);
        assert_eq!(to::<u8>(&tensor(&brain, &[3]), rule).unwrap(), [0, middle, 255]);
    }
}

#[test]
fn nan_and_infinity_are_named_where_a_rule_says_nothing_about_them() {
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let image = tensor(&[0.0, 1.0, value, 2.0], &[2, 2]);
        let error = to::<u8>(&image, Rescale::MinMax).unwrap_err().to_string();
        assert!(error.contains(&format!("{value}, element 2 in row-major order")), "{error}");
        assert!(error.contains("Rescale::Saturate"), "{error}");
    }
    let image = tensor(&[f32::NEG_INFINITY, f32::INFINITY], &[2]);
    assert_eq!(to::<u8>(&image, RANGE).unwrap(), [0, 255]);
    let image = tensor(&[0.0, f64::NAN], &[2]);
    let error = to::<u8>(&image, RANGE).unwrap_err().to_string();
    assert!(error.contains("NaN, element 1"), "{error}");
    assert!(to::<f32>(&image, RANGE).unwrap()[1].is_nan());
    assert_eq!(to::<u8>(&image, Rescale::Saturate).unwrap(), [0, 0]);
}

#[test]
fn an_empty_array_stays_empty() {
    let empty = tensor::<f32>(&[], &[0, 3]);
    for rule in [Rescale::Refuse, Rescale::Saturate, Rescale::Wrap, Rescale::MinMax, RANGE] {
        assert_eq!(to::<u8>(&empty, rule).unwrap(), [0_u8; 0], "{rule:?}");
    }
}

#[test]
fn without_a_rule_what_does_not_fit_is_refused_and_the_others_say_what_becomes_of_it() {
    let values = tensor(&[300.0, -1.0], &[2]);
    let error = to::<u8>(&values, Rescale::default()).unwrap_err().to_string();
    assert!(error.contains("element 0 is 300.0, which uint8 cannot hold"), "{error}");
    assert_eq!(to::<u8>(&values, Rescale::Saturate).unwrap(), [255, 0]);
    assert_eq!(to::<u8>(&values, Rescale::Wrap).unwrap(), [44, 255]);
}

/// As the Python package has it: what is too large for a float is its largest value, and not infinite as after a cast.
#[test]
fn saturated_floats_stay_finite_wherever_they_are() {
    let wide = [1e300, -1e300, 0.5, f64::INFINITY, f64::NAN];
    let is_right =
        |made: &[f32]| made[..4] == [f32::MAX, f32::MIN, 0.5, f32::INFINITY] && made[4].is_nan();
    assert!(is_right(&to::<f32>(&tensor(&wide, &[5]), Rescale::Saturate).unwrap()));
    let wrapped = to::<f32>(&tensor(&wide, &[5]), Rescale::Wrap).unwrap();
    assert_eq!(wrapped[..2], [f32::INFINITY, f32::NEG_INFINITY]);
    assert_eq!(to::<f16>(&tensor(&[70_000, 5], &[2]), Rescale::Saturate).unwrap()[0], f16::MAX);

    let registry = registry();
    let options = CallOptions::new("f").dtype(DtypeConversion::Float32).rescale(Rescale::Saturate);
    for (backend, on) in [("ndarray", Device::CPU), ("fake", DEVICES[0])] {
        let given = || registry.convert(array(&wide, &[5]), backend, Options::default().on(on));
        let made = call(&registry, options, vec![], |_| given().map_err(Into::into)).unwrap();
        assert_eq!(made.describe().unwrap().device, on);
        let here = registry.convert(made, "ndarray", Options::default().on(Device::CPU)).unwrap();
        assert!(is_right(&elements::<f32>(here)), "on {on}");
    }
}

/// Every rule: what is read as another type, in another layout, and on a device.
#[test]
fn a_budget_has_room_for_all_that_is_taken_and_a_byte_less_is_refused_before() {
    let registry = registry();
    let floats = |count: usize| tensor(&(0..count).map(|n| n as f32).collect::<Vec<_>>(), &[count]);
    let there = || {
        let options = Options::default().on(DEVICES[0]);
        registry.convert(Array::new(floats(10)), "fake", options).unwrap().export().unwrap()
    };
    let range = Rescale::Range { low: 0.0, high: 9.0 };
    let cases: [(&ManagedTensor, DataType, Rescale, u64); 9] = [
        (&floats(10), DataType::U8, Rescale::Refuse, 10),
        (&floats(10), DataType::F16, Rescale::Saturate, 20),
        (&floats(10), DataType::F64, Rescale::Saturate, 80),
        (&floats(10), DataType::U8, Rescale::Wrap, 10),
        (&floats(10), DataType::U16, Rescale::MinMax, 20),
        (&floats(10), DataType::F32, range, 80 + 40),
        (&floats(10).sliced(0, 9, 10, -1).unwrap(), DataType::U8, Rescale::MinMax, 40 + 10),
        (&there(), DataType::F16, Rescale::Saturate, 40 + 20),
        (&there(), DataType::U8, Rescale::Refuse, 40 + 10),
    ];
    for (source, to, rule, needed) in cases {
        let within = |budget: &Budget| {
            let options = Options::default().within(budget);
            rescaled_with(&registry, source, to, rule, options)
        };
        let exact = Budget::new("exact", needed).unwrap();
        within(&exact).unwrap();
        assert_eq!((exact.status().peak, exact.reserved()), (needed, 0), "{rule:?} to {to}");
        let error = within(&Budget::new("short", needed - 1).unwrap()).unwrap_err();
        assert!(Shortage::of(&error).is_some(), "{error}");
    }
}

#[test]
fn what_is_rescaled_lies_in_a_pool_and_goes_back_also_where_it_fails() {
    let (registry, pool) = (registry(), Pool::new());
    let options = Options::default().pool(&pool);
    let values = tensor(&[0.0, 1.0, 300.0], &[3]);
    for rule in [Rescale::Saturate, Rescale::Wrap, Rescale::MinMax, RANGE] {
        for to in [DataType::U8, DataType::F32] {
            let made = rescaled_with(&registry, &values, to, rule, options).unwrap();
            assert_eq!(pool.stats().buffers_in_use, 1, "{rule:?} to {to}");
            drop(made);
            assert_eq!(pool.stats().buffers_in_use, 0);
        }
    }
    let before = pool.stats().allocations;
    rescaled_with(&registry, &values, DataType::U8, Rescale::Refuse, options).unwrap_err();
    assert_eq!((pool.stats().allocations, pool.stats().buffers_in_use), (before + 1, 0));
    let empty = tensor::<f32>(&[], &[0, 3]);
    rescaled_with(&registry, &empty, DataType::U8, Rescale::Wrap, options).unwrap();
    assert_eq!(pool.stats().allocations, before + 1);

    // What the pool reserves, nobody reserves once more.
    let (budget, narrow) = (Budget::new("all", 1 << 20).unwrap(), Budget::new("no", 1).unwrap());
    let pooled = PoolOptions::new().size_classes(Exact).within(&budget, "pool").build();
    let options = Options::default().within(&narrow).pool(&pooled);
    let bytes = tensor(&[1_u8, 0], &[2]);
    let made = rescaled_with(&registry, &bytes, DataType::F32, RANGE, options).unwrap();
    assert_eq!((made.as_slice::<f32>().unwrap(), narrow.status().peak), (&[1.0, 0.0][..], 0));
    assert!(budget.reserved() >= 8);
}

#[test]
fn a_range_maps_integers_and_floats_alike_and_must_be_one() {
    let full = Rescale::Range { low: 0.0, high: 65_535.0 };
    let image = tensor(&[0_u16, 257, 65_535], &[3]);
    assert_eq!(to::<u8>(&image, full).unwrap(), [0, 1, 255]);
    assert_eq!(to::<f32>(&image, full).unwrap(), [0.0, 257.0 / 65_535.0, 1.0]);
    for (low, high) in [(1.0, 1.0), (2.0, 1.0), (f64::NAN, 1.0), (0.0, f64::INFINITY)] {
        let error = to::<u8>(&image, Rescale::Range { low, high }).unwrap_err().to_string();
        assert!(error.contains(&format!("{low} to {high}")), "{error}");
    }
    let complex = [bridge_core::num_complex::Complex::new(1.0_f32, 0.0)];
    let error = to::<u8>(&tensor(&complex, &[1]), RANGE).unwrap_err().to_string();
    assert!(error.contains("complex64 to uint8"), "{error}");
}

#[test]
fn strides_and_devices_make_no_difference() {
    let image = tensor(&[0.0_f32, 1.0, 2.0, 3.0, 4.0, 5.0], &[2, 3]).permuted(&[1, 0]).unwrap();
    let made = to::<u8>(&image, Rescale::MinMax).unwrap();
    assert_eq!(made, [0, 153, 51, 204, 102, 255]);

    let registry = registry();
    let options = Options::default().on(DEVICES[0]);
    let there = registry.convert(array(&[0.0_f32, 1.0], &[2]), "fake", options).unwrap();
    let there = there.export().unwrap();
    let made = rescaled(&registry, &there, DataType::U8, Rescale::MinMax).unwrap();
    assert_eq!(made.as_slice::<u8>().unwrap(), [0, 255]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 64 }))]

    #[test]
    fn min_max_keeps_the_order_and_reaches_both_ends(values in prop::collection::vec(-1e30_f32..1e30, 2..50)) {
        let made = to::<u16>(&tensor(&values, &[values.len()]), Rescale::MinMax).unwrap();
        let sorted = |by: &dyn Fn(usize, usize) -> bool| {
            (0..values.len()).all(|i| (0..values.len()).all(|j| by(i, j)))
        };
        prop_assert!(sorted(&|i, j| values[i] > values[j] || made[i] <= made[j]));
        if values.iter().any(|&one| one != values[0]) {
            prop_assert_eq!(made.iter().max(), Some(&u16::MAX));
            prop_assert_eq!(made.iter().min(), Some(&0));
        }
    }
}
