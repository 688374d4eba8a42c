//! What layers take by design.

use bridge_core::DataType;
use bridge_memory::profile::{Dense, Footprint, Part, Sketched};

#[test]
fn a_dense_layer_takes_what_the_seed_says() {
    // The memory page's first layer: 1024 inputs, 512 outputs, float32, batches of 128.
    let report = Dense::new(1024, 512, DataType::F32).unwrap().report(128);
    assert_eq!(report.parameter_bytes(), 524_800 * 4);
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    assert_eq!(mib(report.parameter_bytes()), 2.001953125);
    let input = Part::new("input", 128 * 1024 * 4);
    assert_eq!(report.activations, [input, Part::new("output", 128 * 512 * 4)]);
    assert_eq!(mib(report.activation_bytes()), 0.75);
    assert_eq!(report.total_bytes(), 524_800 * 4 + 128 * 1536 * 4);
}

#[test]
fn a_sketched_layer_takes_twice_terms_rank_and_sides() {
    let report = Sketched::new(8192, 8192, 1, 16, DataType::F32).unwrap().report(1);
    let bias = 8192 * 4;
    assert_eq!(report.parameter_bytes() - bias, 262_144 * 4);
    assert_eq!(report.buffer_bytes(), 262_144 * 4);
    // 2·T·R·(I+O) of them against I·O.
    let dense = Dense::new(8192, 8192, DataType::F32).unwrap().report(1);
    let kept = report.kept_reduction_from(&dense).unwrap();
    let expected = (1.0 - (524_288.0 + 8192.0) / (67_108_864.0 + 8192.0)) * 100.0;
    assert!((kept - expected).abs() < 1e-12, "{kept} {expected}");
    // Of a batch the sketch is kept too: terms × rank, on both sides.
    let sketch = |batch| {
        let layer = Sketched::new(64, 48, 3, 8, DataType::F16).unwrap();
        layer.activations(batch).into_iter().find(|part| part.name == "sketch").unwrap().bytes
    };
    assert_eq!(sketch(10), 10 * 3 * 8 * 2 * 2);
}

#[test]
fn a_sketch_that_is_larger_has_a_negative_reduction() {
    let dense = Dense::new(16, 16, DataType::F32).unwrap().report(0);
    let sketched = Sketched::new(16, 16, 2, 16, DataType::F32).unwrap().report(0);
    let reduction = sketched.reduction_from(&dense).unwrap();
    assert!(reduction < -600.0, "{reduction}");
    let nothing = Dense::new(0, 0, DataType::F32).unwrap().report(0);
    assert_eq!(dense.reduction_from(&nothing), None);
}

#[test]
fn a_model_is_its_layers_together() {
    let layers: [Box<dyn Footprint>; 2] = [
        Box::new(Dense::new(4, 3, DataType::F64).unwrap()),
        Box::new(Sketched::new(3, 2, 1, 1, DataType::F64).unwrap()),
    ];
    let report = layers[..].report(2);
    assert_eq!(report.parameter_bytes(), (4 * 3 + 3) * 8 + (3 + 2 + 2) * 8);
    assert_eq!(report.parameters[2].name, "1.left factors");
    let table = report.to_string();
    for line in ["Dense(4, 3) + Sketched(3, 2, 1 terms of rank 1), batch of 2", "0.weight", "total"]
    {
        assert!(table.contains(line), "{table}");
    }
}

#[test]
fn sums_stop_at_the_largest_number_and_nonsense_is_refused() {
    let huge = Dense::new(u64::MAX, 2, DataType::F32).unwrap().report(u64::MAX);
    assert_eq!((huge.parameter_bytes(), huge.total_bytes()), (u64::MAX, u64::MAX));
    for (terms, rank) in [(0, 1), (1, 0)] {
        let error = Sketched::new(2, 2, terms, rank, DataType::F32).unwrap_err();
        assert!(error.to_string().contains("1 or more"), "{error}");
    }
}
