//! Footprints of two kinds of layer.

use bridge_core::{DataType, Result};

use super::footprint::{Footprint, Part};
use crate::arguments::invalid;

/// A dense linear layer: a weight of inputs × outputs, and a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dense {
    inputs: u64,
    outputs: u64,
    element: u64,
}

/// A sketched linear layer in place of a dense one: `terms` pairs of factors of rank `rank`, one of
/// each pair trained and the other a fixed random matrix, and a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sketched {
    inputs: u64,
    outputs: u64,
    terms: u64,
    rank: u64,
    element: u64,
}

impl Dense {
    /// A layer with so many inputs and outputs, its elements of type `data_type`.
    ///
    /// # Errors
    ///
    /// Where an element is no whole number of bytes.
    pub fn new(inputs: u64, outputs: u64, data_type: DataType) -> Result<Self> {
        Ok(Self { inputs, outputs, element: element_bytes(data_type)? })
    }

    fn bytes(&self, extents: &[u64]) -> u64 {
        bytes(extents, self.element)
    }
}

impl Footprint for Dense {
    fn name(&self) -> String {
        format!("Dense({}, {})", self.inputs, self.outputs)
    }

    fn parameters(&self) -> Vec<Part> {
        let weight = self.bytes(&[self.inputs, self.outputs]);
        vec![Part::new("weight", weight), Part::new("bias", self.bytes(&[self.outputs]))]
    }

    fn activations(&self, batch: u64) -> Vec<Part> {
        vec![
            Part::new("input", self.bytes(&[batch, self.inputs])),
            Part::new("output", self.bytes(&[batch, self.outputs])),
        ]
    }
}

impl Sketched {
    /// A layer with so many inputs and outputs, terms and ranks, its elements of type `data_type`.
    ///
    /// # Errors
    ///
    /// Without terms or with rank 0, and where an element is no whole number of bytes.
    pub fn new(
        inputs: u64,
        outputs: u64,
        terms: u64,
        rank: u64,
        data_type: DataType,
    ) -> Result<Self> {
        for (what, count) in [("number of terms", terms), ("rank", rank)] {
            if count == 0 {
                return Err(invalid(what, &count, "it must be 1 or more"));
            }
        }
        Ok(Self { inputs, outputs, terms, rank, element: element_bytes(data_type)? })
    }

    /// Bytes of factors (terms, inputs, rank), or (terms, rank, outputs).
    fn factors(&self, side: u64) -> u64 {
        bytes(&[self.terms, side, self.rank], self.element)
    }
}

impl Footprint for Sketched {
    fn name(&self) -> String {
        let Self { inputs, outputs, terms, rank, .. } = self;
        format!("Sketched({inputs}, {outputs}, {terms} terms of rank {rank})")
    }

    fn parameters(&self) -> Vec<Part> {
        vec![
            Part::new("left factors", self.factors(self.inputs)),
            Part::new("right factors", self.factors(self.outputs)),
            Part::new("bias", bytes(&[self.outputs], self.element)),
        ]
    }

    fn buffers(&self) -> Vec<Part> {
        vec![
            Part::new("left sketches", self.factors(self.inputs)),
            Part::new("right sketches", self.factors(self.outputs)),
        ]
    }

    fn activations(&self, batch: u64) -> Vec<Part> {
        vec![
            Part::new("input", bytes(&[batch, self.inputs], self.element)),
            Part::new("sketch", bytes(&[batch, self.terms, self.rank, 2], self.element)),
            Part::new("output", bytes(&[batch, self.outputs], self.element)),
        ]
    }
}

fn bytes(extents: &[u64], element: u64) -> u64 {
    extents.iter().copied().fold(element, u64::saturating_mul)
}

fn element_bytes(data_type: DataType) -> Result<u64> {
    match data_type.size_in_bytes() {
        Some(bytes) => Ok(bytes as u64),
        None => Err(invalid("element type", &data_type, "its elements must be whole bytes")),
    }
}
