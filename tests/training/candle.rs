use std::ops::Range;

use bridge_memory::training::{Checkpoints, sqrt_segments};
use candle_core::backprop::GradStore;
use candle_core::{Device, Result, Tensor, Var};

use crate::memory::peak_of;
use crate::{BATCH, LAYERS, Pass, WIDTH, alone, compare, numbers};

fn weights() -> Result<Vec<Var>> {
    let one = |seed| Tensor::from_vec(numbers(WIDTH * WIDTH, seed), (WIDTH, WIDTH), &Device::Cpu);
    (0..LAYERS).map(|seed| Var::from_tensor(&(one(seed)? * 0.5)?)).collect()
}

fn input() -> Result<Tensor> {
    Tensor::from_vec(numbers(BATCH * WIDTH, 99), (BATCH, WIDTH), &Device::Cpu)
}

/// The gradient that the loss has with regard to the output.
fn incoming() -> Result<Tensor> {
    Tensor::from_vec(numbers(BATCH * WIDTH, 77), (BATCH, WIDTH), &Device::Cpu)
}

fn layer(input: &Tensor, weight: &Tensor) -> Result<Tensor> {
    input.matmul(weight)?.tanh()
}

/// The gradients of the input and of the weights, where the output has this one. candle starts from a
/// number, whose gradient this is.
fn gradients(output: &Tensor, incoming: &Tensor) -> Result<GradStore> {
    (output * incoming)?.sum_all()?.backward()
}

fn found(gradients: &GradStore, of: &Var) -> Vec<f32> {
    let gradient = gradients.get(of).expect("it took part");
    gradient.flatten_all().and_then(|flat| flat.to_vec1()).unwrap()
}

fn plain() -> Result<Pass> {
    let (weights, input, incoming) = (weights()?, Var::from_tensor(&input()?)?, incoming()?);
    let (gradients, peak) = peak_of(|| {
        let start = input.as_tensor().clone();
        let output = weights.iter().try_fold(start, |input, weight| layer(&input, weight))?;
        gradients(&output, &incoming)
    });
    let gradients = gradients?;
    let all = std::iter::once(&input).chain(&weights).map(|one| found(&gradients, one)).collect();
    Ok(Pass { peak, gradients: all })
}

fn recomputed() -> Result<Pass> {
    let (weights, input, incoming) = (weights()?, input()?, incoming()?);
    let mut of_weights = vec![Vec::new(); LAYERS];
    let (of_input, peak) = peak_of(|| {
        // Detached weights leave no trace of what was computed with them.
        let without_gradients = |segment: Range<usize>, input: &Tensor| {
            weights[segment]
                .iter()
                .try_fold(input.clone(), |input, weight| layer(&input, &weight.detach()))
        };
        let kept = Checkpoints::forward(sqrt_segments(LAYERS), input, without_gradients)?;
        kept.backward(incoming, |segment, input, incoming| {
            let input = Var::from_tensor(&input)?;
            let start = input.as_tensor().clone();
            let mut layers = weights[segment.clone()].iter();
            let output = layers.try_fold(start, |input, weight| layer(&input, weight))?;
            let gradients = gradients(&output, &incoming)?;
            for number in segment {
                of_weights[number] = found(&gradients, &weights[number]);
            }
            Ok::<_, candle_core::Error>(gradients.get(&input).expect("it took part").clone())
        })
    });
    let of_input = of_input?.flatten_all()?.to_vec1()?;
    let gradients = std::iter::once(of_input).chain(of_weights).collect();
    Ok(Pass { peak, gradients })
}

#[test]
fn gradients_are_the_same_in_less_than_half_the_memory() {
    let _alone = alone();
    compare(&plain().unwrap(), &recomputed().unwrap());
}
