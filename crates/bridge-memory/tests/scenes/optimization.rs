//! The scenes of the guide to memory optimization (seed 002), in its order.

use std::time::Duration;

use bridge_convert::ConvertByName as _;
use bridge_core::{Array, DataType, Device, Error, ManagedTensor, Options, TensorError};
use bridge_memory::chunk::{ChunkMap, ChunkPlan};
use bridge_memory::patterns::Pipeline;
use bridge_memory::profile::{Dense, Footprint as _, Monitor, Profiler, Sketched};
use bridge_memory::training::{
    Checkpoints, LossScale, LossScaling, Placement, Step, all_finite, find_max_batch, segments,
};
use bridge_testkit::fake_accelerator::{Transfers, transfers};

use crate::recovery_and_patterns::{host, watched};
use crate::support::{FAKE, HostArray, elements, fake, numbers, registry};

/// Before and after an operation, which gives its result and the difference.
#[test]
fn understanding_memory_usage_patterns() {
    let (_alone, device) = watched();
    let registry = registry();
    let profiler = Profiler::of(&registry).trimming_first();
    let (output, change) = profiler.measure("SKLinear Forward Pass", || {
        registry.convert(numbers(512 * 2048), FAKE, Options::default().on(device)).unwrap()
    });
    assert_eq!(output.describe().unwrap().layout.shape(), [512 * 2048]);
    assert_eq!(change.device(device).unwrap().used, Some(512 * 2048 * 4));
    let told = change.to_string();
    assert!(told.starts_with("SKLinear Forward Pass") && told.contains("+4.0"), "{told}");
}

/// What the parts of a layer take: parameters, activations, and how much a sketch saves.
#[test]
fn detailed_memory_breakdown() {
    for (inputs, outputs, parameters) in
        [(1024, 512, 524_800), (2048, 1024, 2_098_176), (4096, 2048, 8_390_656)]
    {
        let dense = Dense::new(inputs, outputs, DataType::F32).unwrap().report(128);
        assert_eq!(dense.parameter_bytes(), parameters * 4);
        assert_eq!(dense.activation_bytes(), 128 * (inputs + outputs) * 4);
        let sketched = Sketched::new(inputs, outputs, 1, 16, DataType::F32).unwrap().report(128);
        let reduction = sketched.kept_reduction_from(&dense).unwrap();
        assert!((90.0..100.0).contains(&reduction), "{reduction}");
    }
    // A layer of 8192 × 8192 with one term of rank 16.
    let sketched = Sketched::new(8192, 8192, 1, 16, DataType::F32).unwrap().report(1);
    assert_eq!(sketched.parameter_bytes(), (262_144 + 8192) * 4);
    assert_eq!(sketched.buffer_bytes(), 262_144 * 4);
    let dense = Dense::new(8192, 8192, DataType::F32).unwrap().report(1);
    assert_eq!(dense.parameter_bytes(), (67_108_864 + 8192) * 4);
}

/// Four layers with an activation between them in two segments, of which the last takes the rest.
#[test]
fn gradient_checkpointing() {
    let layer_sizes = [1024, 512, 256, 128, 64];
    let layers = (layer_sizes.len() - 1) + (layer_sizes.len() - 2);
    let parts = segments(layers, 2).unwrap();
    assert_eq!(parts, [0..3, 3..7]);
    // Each layer squares; the derivative is the product of 2x along the way.
    let run = |layers: std::ops::Range<usize>, x: &f64| -> bridge_core::Result<f64> {
        Ok(layers.fold(*x, |x, _| x * x))
    };
    let kept = Checkpoints::forward(parts, 1.01, run).unwrap();
    assert_eq!(kept.len(), 2, "inputs of segments are kept, and nothing else");
    assert!((kept.output() - 1.01_f64.powi(128)).abs() < 1e-12);
    let gradient = kept.backward(1.0, |layers, input, gradient| -> bridge_core::Result<f64> {
        let (_, slope) = layers.fold((input, gradient), |(x, slope), _| (x * x, slope * 2.0 * x));
        Ok(slope)
    });
    let exact = 128.0 * 1.01_f64.powi(127);
    assert!((gradient.unwrap() - exact).abs() < 1e-9 * exact);
}

/// Five epochs of a hundred batches, one of which overflows half precision.
#[test]
fn mixed_precision_training() {
    let scaling = LossScaling { interval: 100, ..LossScaling::default() };
    let mut scaler = LossScale::new(scaling).unwrap();
    let (mut weight, mut applied) = (1.0_f64, 0);
    for step in 0..500 {
        let scale = scaler.scale();
        let gradient = if step == 50 { f64::INFINITY } else { weight * scale };
        if scaler.update(all_finite(&[gradient])) == Step::Apply {
            weight -= 0.01 * gradient / scale;
            applied += 1;
        }
    }
    assert_eq!((applied, scaler.skipped()), (499, 1));
    assert!((weight - 0.99_f64.powi(499)).abs() < 1e-12);
    // Halved once, and doubled after each hundred good steps: at 150, 250, 350 and 450.
    assert_eq!(scaler.scale(), 65536.0 / 2.0 * 16.0);
}

/// The largest batch from 8 to 512 that leaves less than 8000 MB in use.
#[test]
fn dynamic_batch_size_adjustment() {
    const LIMIT_MB: usize = 8000;
    let mut tried = Vec::new();
    let best = find_max_batch(8..=512, |batch| {
        tried.push(batch);
        match batch * 40 {
            12_000.. => {
                let (device, requested) = (Device::cuda(0), 12_000 << 20);
                Err(Error::Tensor(TensorError::OutOfMemory { device, requested }))
            }
            used => Ok(used < LIMIT_MB),
        }
    });
    assert_eq!(best.unwrap(), Some(199));
    assert!(tried.len() <= 9 && tried[0] == 260, "{tried:?}");
    // Any other error ends the search.
    let lost = |_| Err(Error::Unsupported { what: "a lost device".into(), remedy: "none".into() });
    assert!(find_max_batch(8..=512, lost).is_err());
}

/// Layers on devices; activations move from one to the next, and at the end to where they came from.
#[test]
fn model_parallelism() {
    let (device_a, device_b) = (fake(0), fake(1));
    let (_alone, registry) = (watched(), registry());
    let devices = [device_a, device_b];
    assert_eq!(Placement::compatible(5, &devices).unwrap().ranges(), [0..2, 2..5]);
    // The guide's recipe divides by zero here.
    assert_eq!(Placement::compatible(1, &devices).unwrap().ranges(), [0..1, 1..1]);
    let placement = Placement::compatible(4, &devices).unwrap();
    transfers();
    let mut forward = Pipeline::of(&registry, numbers(32));
    for layer in 0..4 {
        let device = placement.device_of(layer).unwrap();
        forward = forward.to_device(FAKE, device).map("layer", move |activation| {
            assert_eq!(activation.describe()?.device, device);
            Ok(activation)
        });
    }
    let output = forward.to("host").run().unwrap();
    let moved = Transfers { uploads: 1, peer_copies: 1, downloads: 1, ..Default::default() };
    assert_eq!(transfers(), moved);
    assert_eq!(elements(output), elements(numbers(32)));
}

/// A large input in chunks of 500 rows: as all at once, with two chunks on the device at most.
#[test]
fn memory_efficient_inference() {
    let registry = registry();
    let (rows, features) = (10_000, 4);
    let input = (0..rows * features).map(|n| (n % 97) as f32).collect::<Vec<_>>();
    // A linear model with one output.
    let model =
        |row: &[f32]| row.iter().zip([1.0, -2.0, 0.5, 3.0]).map(|(x, w)| x * w).sum::<f32>();
    let expected: Vec<_> = input.chunks_exact(features).map(model).collect();
    let plan = ChunkPlan::of_size(rows, 500).unwrap();
    let mut told = 0;
    let predictions = ChunkMap::new(&registry, &plan)
        .to(FAKE)
        .options(Options::default().on(fake(0)))
        .on_progress(|_| told += 1)
        .run(host(&input, &[rows, features]), |chunk| {
            let chunk = registry.convert(chunk, "host", Options::default())?;
            let outputs: Vec<_> = elements(chunk).chunks_exact(features).map(model).collect();
            let shape = [outputs.len()];
            Ok(Array::new(HostArray(ManagedTensor::from_vec(outputs, &shape)?)))
        });
    assert_eq!(predictions.unwrap().result.as_slice::<f32>().unwrap(), expected);
    assert_eq!(told, 20);
}

/// Samples beside the work, and their maximum, average and last.
#[test]
fn continuous_memory_monitoring() {
    let mut values = [100_u64, 300, 200].into_iter();
    let monitor = Monitor::builder(Duration::from_secs(1 << 40))
        .sampler(move || Ok(vec![("memory".to_owned(), values.next().ok_or("no more")?)]))
        .start()
        .unwrap();
    monitor.sample();
    let recording = monitor.finish();
    let summary = recording.series("memory").unwrap().summary;
    assert_eq!((summary.max, summary.mean, summary.last), (300, 200.0, 200));
    // The whole process, by itself.
    let recording = Monitor::every(1.0).unwrap().start().unwrap().finish();
    assert!(recording.series("process").unwrap().summary.last > 1 << 20);
}
