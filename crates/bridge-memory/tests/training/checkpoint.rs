use std::cell::Cell;
use std::convert::Infallible;
use std::ops::Range;

use bridge_memory::training::{Checkpoints, even_segments, segments, sqrt_segments};

#[test]
fn segments_are_cut_as_the_recipe_says() {
    assert_eq!(segments(10, 4).unwrap(), [0..2, 2..4, 4..6, 6..10]);
    assert_eq!(segments(7, 2).unwrap(), [0..3, 3..7]);
    assert_eq!(even_segments(10, 4).unwrap(), [0..3, 3..6, 6..8, 8..10]);
    assert_eq!(sqrt_segments(9), [0..3, 3..6, 6..9]);
    assert_eq!(sqrt_segments(10).len(), 4);
    // Fewer layers than segments, where the recipe makes empty ones, and no layer at all.
    assert_eq!(segments(2, 4).unwrap(), [0..1, 1..2]);
    assert_eq!(even_segments(2, 4).unwrap(), [0..1, 1..2]);
    for none in [segments(0, 4).unwrap(), even_segments(0, 4).unwrap(), sqrt_segments(0)] {
        assert!(none.is_empty());
    }
}

#[test]
fn segments_are_all_layers_in_order() {
    for layers in 1..60 {
        let cuts = (1..9).flat_map(|count| [segments(layers, count), even_segments(layers, count)]);
        for cut in cuts.map(Result::unwrap).chain([sqrt_segments(layers)]) {
            let flat: Vec<usize> = cut.iter().cloned().flatten().collect();
            assert!(flat.iter().copied().eq(0..layers), "{cut:?}");
            assert!(cut.iter().all(|one| !one.is_empty()), "{cut:?}");
        }
        let root = (layers as f64).sqrt().ceil() as usize;
        assert!(sqrt_segments(layers).iter().all(|one| one.len() <= root), "{layers}");
    }
}

#[test]
fn no_segments_are_refused() {
    for refused in [segments(4, 0), even_segments(4, 0)] {
        let error = refused.unwrap_err().to_string();
        assert!(error.contains("the number of checkpoint segments is 0"), "{error}");
    }
}

thread_local! {
    static LIVE: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

/// An activation, counted as long as it lives.
#[derive(Debug)]
struct Activation(f64);

impl Activation {
    fn new(value: f64) -> Self {
        LIVE.set(LIVE.get() + 1);
        PEAK.set(PEAK.get().max(LIVE.get()));
        Self(value)
    }
}

impl Drop for Activation {
    fn drop(&mut self) {
        LIVE.set(LIVE.get() - 1);
    }
}

/// Layer `n` is `x ↦ sin(x) + n`: its derivative needs its input.
fn layer(number: usize, input: &Activation) -> Activation {
    Activation::new(input.0.sin() + number as f64)
}

/// Runs layers and keeps every activation, then goes back over them.
fn with_gradients(layers: Range<usize>, input: Activation, gradient: f64) -> f64 {
    let mut kept = vec![input];
    for number in layers {
        let next = layer(number, kept.last().expect("the input is there"));
        kept.push(next);
    }
    kept.pop();
    let mut gradient = gradient;
    while let Some(input) = kept.pop() {
        gradient *= input.0.cos();
    }
    gradient
}

fn without_gradients(layers: Range<usize>, input: &Activation) -> Result<Activation, Infallible> {
    let mut layers = layers;
    let first = layers.next().expect("no segment is empty");
    Ok(layers.fold(layer(first, input), |input, number| layer(number, &input)))
}

#[test]
fn gradients_are_the_same_and_far_fewer_activations_live_at_once() {
    const LAYERS: usize = 100;
    PEAK.set(0);
    let plain = with_gradients(0..LAYERS, Activation::new(0.3), 1.0);
    let plain_peak = PEAK.get();
    assert_eq!((LIVE.get(), plain_peak), (0, LAYERS + 1));

    PEAK.set(0);
    let input = Activation::new(0.3);
    let Ok(kept) = Checkpoints::forward(sqrt_segments(LAYERS), input, without_gradients);
    assert_eq!((kept.len(), LIVE.get()), (10, 11), "ten inputs and the output");
    let back = |segment: Range<usize>, input, gradient| {
        Ok::<_, Infallible>(with_gradients(segment, input, gradient))
    };
    let Ok(gradient) = kept.backward(1.0, back);
    assert_eq!(gradient, plain);
    assert_eq!(LIVE.get(), 0);
    assert!(PEAK.get() <= 2 * 10 + 1, "{} of {plain_peak}", PEAK.get());
}

#[test]
fn a_segment_that_fails_ends_the_pass_and_leaves_nothing() {
    let failing = |segment: Range<usize>, input: &Activation| {
        if segment.start == 2 { Err("no memory") } else { Ok(layer(0, input)) }
    };
    let segments = || even_segments(4, 4).unwrap();
    assert!(Checkpoints::forward(segments(), Activation::new(1.0), failing).is_err());
    assert_eq!(LIVE.get(), 0);
    let Ok(kept) = Checkpoints::forward(segments(), Activation::new(1.0), without_gradients);
    let mut asked = Vec::new();
    let gradient = kept.backward((), |segment, _input, ()| {
        asked.push(segment.start);
        if segment.start == 2 { Err("no memory") } else { Ok(()) }
    });
    assert_eq!((gradient, asked, LIVE.get()), (Err("no memory"), vec![3, 2], 0));
}
