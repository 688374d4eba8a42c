use std::ops::Range;

use bridge_memory::training::{Checkpoints, sqrt_segments};
use tch::{TchError, Tensor};

use crate::{BATCH, LAYERS, Pass, WIDTH, alone, compare, numbers};

/// Bytes that the C library has given out, to libtorch above all.
fn in_use() -> usize {
    // SAFETY: it takes nothing, and may be called at any time.
    let told = unsafe { libc::mallinfo2() };
    told.uordblks + told.hblkhd
}

/// The most that was in use at the moments that were looked at.
struct Peak {
    before: usize,
    most: usize,
}

impl Peak {
    fn new() -> Self {
        let before = in_use();
        Self { before, most: before }
    }

    fn look(&mut self) {
        self.most = self.most.max(in_use());
    }

    fn bytes(&self) -> usize {
        self.most - self.before
    }
}

fn tensor(rows: usize, seed: usize) -> Tensor {
    Tensor::from_slice(&numbers(rows * WIDTH, seed)).view([rows as i64, WIDTH as i64])
}

fn weights() -> Vec<Tensor> {
    let one = |seed| (tensor(WIDTH, seed) * 0.5).set_requires_grad(true);
    (0..LAYERS).map(one).collect()
}

/// Runs the layers, and looks at the memory after each.
fn run(input: &Tensor, weights: &[Tensor], peak: &mut Peak) -> Tensor {
    weights.iter().fold(input.shallow_clone(), |input, weight| {
        let output = input.matmul(weight).tanh();
        peak.look();
        output
    })
}

/// The gradients of `of`, where the output has this one. tch starts from a number, whose gradient
/// this is.
fn gradients(output: &Tensor, incoming: &Tensor, of: &[&Tensor]) -> Result<Vec<Tensor>, TchError> {
    let loss = (output * incoming).sum(tch::Kind::Float);
    Tensor::f_run_backward(&[loss], of, false, false)
}

fn listed(tensor: &Tensor) -> Vec<f32> {
    Vec::try_from(tensor.flatten(0, -1)).unwrap()
}

fn plain() -> Pass {
    let (weights, incoming) = (weights(), tensor(BATCH, 77));
    let input = tensor(BATCH, 99).set_requires_grad(true);
    let mut peak = Peak::new();
    let output = run(&input, &weights, &mut peak);
    let of: Vec<&Tensor> = std::iter::once(&input).chain(&weights).collect();
    let gradients = gradients(&output, &incoming, &of).unwrap();
    peak.look();
    Pass { peak: peak.bytes(), gradients: gradients.iter().map(listed).collect() }
}

fn recomputed() -> Pass {
    let (weights, incoming, input) = (weights(), tensor(BATCH, 77), tensor(BATCH, 99));
    let mut of_weights = vec![Vec::new(); LAYERS];
    let mut peak = Peak::new();
    let kept = Checkpoints::forward(sqrt_segments(LAYERS), input, |segment, input| {
        Ok::<_, TchError>(tch::no_grad(|| run(input, &weights[segment], &mut peak)))
    });
    let back = |segment: Range<usize>, input: Tensor, incoming: Tensor| {
        let input = input.detach().set_requires_grad(true);
        let output = run(&input, &weights[segment.clone()], &mut peak);
        let of: Vec<&Tensor> = std::iter::once(&input).chain(&weights[segment.clone()]).collect();
        let mut gradients = gradients(&output, &incoming, &of)?;
        peak.look();
        for (number, gradient) in segment.zip(&gradients[1..]) {
            of_weights[number] = listed(gradient);
        }
        Ok::<_, TchError>(gradients.swap_remove(0))
    };
    let of_input = kept.and_then(|kept| kept.backward(incoming, back)).unwrap();
    let gradients = std::iter::once(listed(&of_input)).chain(of_weights).collect();
    Pass { peak: peak.bytes(), gradients }
}

#[test]
fn gradients_are_the_same_in_less_than_half_the_memory() {
    let _alone = alone();
    compare(&plain(), &recomputed());
}
