use bridge_memory::training::{LossScale, LossScaling, Step, all_finite};

fn short() -> LossScaling {
    LossScaling { start: 8.0, growth: 2.0, backoff: 0.5, interval: 3 }
}

#[test]
fn the_scale_follows_the_gradients() {
    let mut scaling = LossScale::new(short()).unwrap();
    let finite = [true, true, true, true, true, false, false, true, true, false, true, true, true];
    let scales: Vec<f64> = finite
        .map(|finite| {
            let expected = if finite { Step::Apply } else { Step::Skip };
            assert_eq!(scaling.update(finite), expected);
            scaling.scale()
        })
        .to_vec();
    // A step that overflows starts the count of good ones anew.
    let expected = [8., 8., 16., 16., 16., 8., 4., 4., 4., 2., 2., 2., 4.];
    assert_eq!(scales, expected);
    assert_eq!((scaling.good_steps(), scaling.skipped()), (0, 3));
}

#[test]
fn the_defaults_are_those_of_the_usual_scaler() {
    let mut scaling = LossScale::default();
    assert_eq!(scaling, LossScale::new(LossScaling::default()).unwrap());
    assert_eq!(scaling.scale(), 65536.0);
    for _ in 0..1999 {
        scaling.update(true);
    }
    assert_eq!(scaling.scale(), 65536.0);
    scaling.update(true);
    assert_eq!(scaling.scale(), 131_072.0);
}

#[test]
fn the_scale_stays_a_number_that_float32_has() {
    let mut scaling = LossScale::new(LossScaling { interval: 1, ..short() }).unwrap();
    for finite in [true, false] {
        for _ in 0..1000 {
            scaling.update(finite);
        }
        let scale = scaling.scale() as f32;
        assert!(scale.is_normal(), "{scale}");
    }
}

#[test]
fn gradients_that_are_no_numbers_are_seen() {
    assert!(all_finite(&[0.0_f32, -3.0]) && all_finite::<f64>(&[]));
    assert!(!all_finite(&[1.0_f32, f32::NAN]));
    assert!(!all_finite(&[f64::NEG_INFINITY]));
}

#[test]
fn the_state_goes_on_where_it_was_stored() {
    let mut scaling = LossScale::new(short()).unwrap();
    for finite in [true, false, true, true] {
        scaling.update(finite);
    }
    let stored = serde_json::to_string(&scaling).unwrap();
    let mut restored: LossScale = serde_json::from_str(&stored).unwrap();
    assert_eq!(restored, scaling);
    assert_eq!((restored.update(true), restored.scale()), (Step::Apply, 8.0));
    for (part, broken) in [("\"scale\":4.0", "\"scale\":0.0"), ("\"growth\":2.0", "\"growth\":0.5")]
    {
        assert!(stored.contains(part), "{stored}");
        let broken = stored.replace(part, broken);
        assert!(serde_json::from_str::<LossScale>(&broken).is_err(), "{broken}");
    }
}

#[test]
fn scales_that_cannot_be_are_refused() {
    let good = short();
    for (scaling, told) in [
        (LossScaling { start: 0.0, ..good }, "the loss scale to start with is 0"),
        (LossScaling { start: f64::NAN, ..good }, "the loss scale to start with is NaN"),
        (LossScaling { start: 1e300, ..good }, "the loss scale to start with is 1"),
        (LossScaling { growth: 1.0, ..good }, "the growth of the loss scale is 1"),
        (LossScaling { growth: f64::NAN, ..good }, "the growth of the loss scale is NaN"),
        (LossScaling { growth: f64::INFINITY, ..good }, "the growth of the loss scale is inf"),
        (LossScaling { backoff: 1.0, ..good }, "the backoff of the loss scale is 1"),
        (LossScaling { backoff: 0.0, ..good }, "the backoff of the loss scale is 0"),
        (LossScaling { backoff: f64::NAN, ..good }, "the backoff of the loss scale is NaN"),
        (LossScaling { interval: 0, ..good }, "the growth interval of the loss scale is 0"),
    ] {
        let error = LossScale::new(scaling).unwrap_err().to_string();
        assert!(error.contains(told), "{error}");
    }
}
