//! Activations that are computed again instead of kept.

use std::ops::Range;

use bridge_core::Result as CoreResult;

use super::placement::even_ranges;
use crate::arguments::invalid;

/// Layers in `count` segments of the same number, of which the last takes the rest: 10 layers in 4
/// segments are 2, 2, 2 and 4. Where there are fewer layers than segments, each layer is one.
///
/// # Errors
///
/// Where there are to be no segments.
pub fn segments(layers: usize, count: usize) -> CoreResult<Vec<Range<usize>>> {
    let count = count_for(layers, count)?;
    let each = layers / count.max(1);
    let end = |place: usize| if place + 1 == count { layers } else { each * (place + 1) };
    Ok((0..count).map(|place| each * place..end(place)).collect())
}

/// Layers in `count` segments that differ by one layer at most: 10 layers in 4 segments are 3, 3, 2
/// and 2. Where there are fewer layers than segments, each layer is one.
///
/// # Errors
///
/// Where there are to be no segments.
pub fn even_segments(layers: usize, count: usize) -> CoreResult<Vec<Range<usize>>> {
    let count = count_for(layers, count)?;
    Ok(if count == 0 { Vec::new() } else { even_ranges(layers, count) })
}

/// Layers in about as many segments as each has layers, which keeps the least of layers that take
/// the same: √n inputs of segments, and √n activations of the one that is computed again.
pub fn sqrt_segments(layers: usize) -> Vec<Range<usize>> {
    let root = layers.isqrt();
    let count = if root * root < layers { root + 1 } else { root };
    if count == 0 { Vec::new() } else { even_ranges(layers, count) }
}

fn count_for(layers: usize, count: usize) -> CoreResult<usize> {
    if count == 0 {
        let expected = "there must be one at least; one segment keeps everything";
        return Err(invalid("the number of checkpoint segments", &count, expected));
    }
    Ok(count.min(layers))
}

/// A forward pass of which only the inputs of the segments are kept: the backward pass computes each
/// segment again, the last one first, and drops its input then.
///
/// It knows no framework. `forward` runs a segment and keeps nothing for gradients (`tch::no_grad`, or
/// weights detached in candle); `backward` is given the segment's input and the gradient of its output,
/// runs the segment again with gradients, and returns the gradient of the input.
///
/// ```
/// use bridge_memory::training::{Checkpoints, even_segments};
///
/// // y = x · 2⁴ in four layers, of which each doubles; its derivative is 2⁴.
/// let double = |layers: std::ops::Range<usize>, x: &f64| -> bridge_core::Result<f64> {
///     Ok(layers.fold(*x, |x, _layer| 2.0 * x))
/// };
/// let kept = Checkpoints::forward(even_segments(4, 2)?, 3.0, double)?;
/// assert_eq!((*kept.output(), kept.len()), (48.0, 2));
/// let gradient = kept.backward(1.0, |layers, _input, gradient| double(layers, &gradient))?;
/// assert_eq!(gradient, 16.0);
/// # Ok::<(), bridge_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Checkpoints<V> {
    kept: Vec<(Range<usize>, V)>,
    output: V,
}

impl<V> Checkpoints<V> {
    /// Runs the segments one after the other.
    ///
    /// # Errors
    ///
    /// That of the first segment that fails.
    pub fn forward<E>(
        segments: impl IntoIterator<Item = Range<usize>>,
        input: V,
        mut forward: impl FnMut(Range<usize>, &V) -> Result<V, E>,
    ) -> Result<Self, E> {
        let mut kept = Vec::new();
        let mut output = input;
        for segment in segments {
            let made = forward(segment.clone(), &output)?;
            kept.push((segment, std::mem::replace(&mut output, made)));
        }
        Ok(Self { kept, output })
    }

    /// What the last segment gave.
    pub fn output(&self) -> &V {
        &self.output
    }

    /// How many inputs are kept.
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether there were no segments.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Takes the gradient of the output back to the input, segment by segment.
    ///
    /// # Errors
    ///
    /// That of the first segment that fails.
    pub fn backward<G, E>(
        self,
        gradient: G,
        mut backward: impl FnMut(Range<usize>, V, G) -> Result<G, E>,
    ) -> Result<G, E> {
        let Self { kept, output } = self;
        drop(output);
        kept.into_iter()
            .rev()
            .try_fold(gradient, |gradient, (segment, input)| backward(segment, input, gradient))
    }
}
