use bridge_core::{Error, TensorError};
use bridge_memory::predict::{AdaptiveSafety, SafetyFactor, Telemetry};
use proptest::prelude::*;

#[test]
fn factors_below_one_and_such_as_are_no_numbers_are_refused() {
    for bad in [0.0, -1.2, 0.999_999, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let error = SafetyFactor::new(bad).unwrap_err().to_string();
        assert!(error.contains("the safety factor is") && error.contains("1 or more"), "{error}");
    }
    assert_eq!(SafetyFactor::new(1.0).unwrap(), SafetyFactor::NONE);
    assert_eq!(SafetyFactor::default().get(), 1.2);
}

#[test]
fn the_products_whole_part_is_taken() {
    let apply = |factor, bytes| SafetyFactor::new(factor).unwrap().apply(bytes);
    assert_eq!(apply(1.2, 0).unwrap(), 0);
    assert_eq!(apply(1.2, 4).unwrap(), 4, "4.8");
    assert_eq!(apply(1.1, 10).unwrap(), 11);
    assert_eq!(apply(1.0, u64::MAX).unwrap(), u64::MAX, "no factor, no float");
    let least = 1.0 + f64::EPSILON;
    for bytes in [1, (1 << 53) + 1, (1 << 60) + 127, (1 << 61) - 129, (1 << 63) + 1023] {
        assert!(apply(least, bytes).unwrap() >= bytes);
    }
    for (factor, bytes) in [(1.2, u64::MAX), (2.0, 1 << 63), (f64::MAX, 2), (1.5, u64::MAX - 1)] {
        let error = apply(factor, bytes).unwrap_err();
        assert!(matches!(error, Error::Tensor(TensorError::TooLarge { .. })), "{error}");
    }
    assert_eq!(apply(2.0, (1 << 63) - 1024).unwrap(), u64::MAX - 2047);
}

fn recorded(initial: f64, needed: impl IntoIterator<Item = f64>) -> AdaptiveSafety {
    let mut safety = AdaptiveSafety::new(SafetyFactor::new(initial).unwrap());
    needed.into_iter().for_each(|needed| safety.record_needed(needed).unwrap());
    safety
}

fn near(left: f64, right: f64) -> bool {
    (left - right).abs() < 1e-12
}

#[test]
fn the_factor_falls_slowly_and_not_before_ten_records() {
    assert_eq!(recorded(1.2, [1.0; 9]).factor().get(), 1.2);
    assert!(near(recorded(1.2, [1.0; 10]).factor().get(), 1.15));
    assert!(near(recorded(1.2, [1.0; 11]).factor().get(), 1.1));
    assert_eq!(recorded(1.2, [0.5; 50]).factor().get(), 1.05, "and no lower");
    assert_eq!(recorded(1.2, [1.12; 50]).factor().get(), 1.12, "no lower than was needed");
}

#[test]
fn the_factor_rises_at_once() {
    let mut safety = recorded(1.2, [1.0; 30]);
    assert_eq!(safety.factor().get(), 1.05);
    safety.record_needed(1.9).unwrap();
    safety.record_needed(1.9).unwrap();
    // Of 32 records the 95th percentile lies between the 30th and the 31st in order.
    let after = safety.factor().get();
    assert!(near(after, 1.0 + 0.45 * 0.9), "{after}");
    assert_eq!(recorded(1.2, [2.5; 9]).factor().get(), 1.2);
    assert_eq!(recorded(1.2, [2.5; 10]).factor().get(), 2.5);
    assert_eq!(recorded(1.0, [1.0; 10]).factor().get(), 1.05);
}

#[test]
fn a_factor_that_is_kept_is_kept() {
    let mut safety = AdaptiveSafety::switched_off(SafetyFactor::NONE);
    (0..20).for_each(|_| safety.record(100, 300).unwrap());
    assert_eq!(safety.factor(), SafetyFactor::NONE);
    let telemetry = safety.telemetry();
    assert!(!telemetry.adaptive_enabled);
    assert_eq!(telemetry.p95_safety_needed, Some(3.0));
}

#[test]
fn records_that_tell_nothing_are_refused_and_lost() {
    let mut safety = AdaptiveSafety::new(SafetyFactor::DEFAULT);
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 0.0, -0.0] {
        let error = safety.record_needed(bad).unwrap_err().to_string();
        assert!(error.contains("must be a finite number above 0"), "{error}");
    }
    for (predicted, taken, told) in
        [(0, 5, "the predicted memory is 0"), (5, 0, "the memory taken is 0")]
    {
        let error = safety.record(predicted, taken).unwrap_err().to_string();
        assert!(error.contains(told), "{error}");
    }
    assert_eq!(safety.telemetry().telemetry_entries, 0);
    safety.record(u64::MAX, 1).unwrap();
    safety.record(1, u64::MAX).unwrap();
    (0..20).for_each(|_| safety.record_needed(f64::MAX).unwrap());
    assert!(safety.telemetry().mean_safety_needed.unwrap().is_finite());
    assert_eq!(safety.factor().get(), f64::MAX);
}

#[test]
fn telemetry_has_the_names_of_upstream() {
    let safety = recorded(1.2, (0..10).map(|i| 1.0 + f64::from(i) / 10.0));
    let json = serde_json::to_value(safety.telemetry()).unwrap();
    let p95 = 1.854_999_999_999_999_8; // NumPy's
    assert_eq!(json["current_safety_factor"], p95);
    assert_eq!(json["initial_safety_factor"], 1.2);
    assert_eq!(json["min_safety_factor"], 1.05);
    assert_eq!(json["telemetry_entries"], 10);
    assert_eq!(json["adaptive_enabled"], true);
    assert_eq!(json["p95_safety_needed"], p95);
    assert!(near(json["mean_safety_needed"].as_f64().unwrap(), 1.45));
    assert_eq!(json["max_safety_needed"], 1.9);
    let history = json["safety_factor_history"].as_array().unwrap();
    assert_eq!((history.len(), &history[8], &history[9]), (10, &1.2.into(), &p95.into()));
    assert_eq!(json.as_object().unwrap().len(), 9);
    assert_eq!(serde_json::from_value::<Telemetry>(json).unwrap(), safety.telemetry());

    let none = AdaptiveSafety::new(SafetyFactor::DEFAULT).telemetry();
    assert_eq!((none.p95_safety_needed, none.mean_safety_needed), (None, None));
    assert_eq!(none.max_safety_needed, None);
}

#[test]
fn only_the_last_thousand_records_count() {
    let mut safety = recorded(1.2, std::iter::repeat_n(3.0, 500));
    (0..1000).for_each(|_| safety.record_needed(1.0).unwrap());
    let telemetry = safety.telemetry();
    assert_eq!(telemetry.telemetry_entries, 1000);
    assert_eq!(telemetry.safety_factor_history.len(), 1000);
    assert_eq!(telemetry.max_safety_needed, Some(1.0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 64 }))]

    #[test]
    fn the_factor_covers_what_most_computations_needed(
        needed in prop::collection::vec(0.1..5.0_f64, 10..60), initial in 1.0..3.0_f64,
    ) {
        let safety = recorded(initial, needed);
        let telemetry = safety.telemetry();
        let factor = safety.factor().get();
        prop_assert!(factor >= telemetry.p95_safety_needed.unwrap());
        prop_assert!(factor >= 1.05);
        for two in telemetry.safety_factor_history.windows(2) {
            prop_assert!(two[1] >= two[0] - 0.05 - 1e-12);
        }
    }
}
