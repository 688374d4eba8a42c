//! Fourier transforms.

use bridge_core::{DataType, Result};

use super::cost_model::CostModel;
use super::sums::{affine, element_bytes, total};
use crate::arguments::invalid;

/// What goes into a Fourier transform and what comes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FftKind {
    /// Complex numbers to complex numbers, in either direction.
    Complex,
    /// Real numbers to the half of the complex ones that tells all: `n / 2 + 1` along the last
    /// axis.
    RealToComplex,
    /// That half back to real numbers.
    ComplexToReal,
}

/// What a library works in beside the input and the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FftWorkspace {
    /// Nothing.
    None,
    /// Complex data of one transform, however many there are: libraries of the host, which do one
    /// after another.
    One,
    /// Complex data of each transform: cuFFT, as a rule. For lengths with large prime factors
    /// it can take more; ask `cufftEstimate*`, and add that with
    /// [`Affine`](super::Affine).
    Each,
}

/// The memory of Fourier transforms; the items are the transforms of a batch.
///
/// A transform takes its input, its result (the same memory [in place](Self::in_place), which then
/// is as large as the larger of the two) and the [workspace](Self::workspace).
///
/// ```
/// use bridge_core::DataType;
/// use bridge_memory::predict::{CostModel, Fft, FftKind, FftWorkspace};
///
/// let fft = Fft::new(FftKind::Complex, &[1024], DataType::F32);
/// assert_eq!(fft.bytes(10)?, 2 * 10 * 1024 * 8);
/// let in_place = Fft { in_place: true, workspace: FftWorkspace::One, ..fft };
/// assert_eq!(in_place.bytes(10)?, (10 + 1) * 1024 * 8);
/// # Ok::<(), bridge_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fft {
    /// What goes in and what comes out.
    pub kind: FftKind,
    /// The lengths along the axes that are transformed, of the real numbers where there are any.
    pub lengths: Vec<u64>,
    /// The type of the real numbers, or of the real and the imaginary parts: a real float type.
    pub precision: DataType,
    /// Whether the result takes the input's memory.
    pub in_place: bool,
    /// What the library works in.
    pub workspace: FftWorkspace,
}

impl Fft {
    /// Transforms to other memory, without a workspace.
    pub fn new(kind: FftKind, lengths: &[u64], precision: DataType) -> Self {
        let (lengths, workspace) = (lengths.to_vec(), FftWorkspace::None);
        Self { kind, lengths, precision, in_place: false, workspace }
    }

    fn parts(&self) -> Result<(u64, u64)> {
        let Some((&last, others)) = self.lengths.split_last() else {
            return Err(invalid("lengths", &"empty", "name the length along each axis"));
        };
        if !self.precision.is_float() {
            let expected = "name the real float type of the parts (float32 for complex64)";
            return Err(invalid("precision", &self.precision, expected));
        }
        let part = element_bytes(self.precision)?;
        let of = |along_last: u64, element: u64| {
            total(WHAT, &[&[others, &[along_last, element]].concat()])
        };
        let real = of(last, part)?;
        let along_last =
            if self.kind == FftKind::Complex || last == 0 { last } else { last / 2 + 1 };
        let complex = of(along_last, part.saturating_mul(2))?;
        // Half of the complex numbers and one more: never less than the real ones.
        let data = match (self.in_place, self.kind) {
            (true, _) => complex,
            (false, FftKind::Complex) => total(WHAT, &[&[2, complex]])?,
            (false, _) => total(WHAT, &[&[complex], &[real]])?,
        };
        match self.workspace {
            FftWorkspace::None => Ok((0, data)),
            FftWorkspace::One => Ok((complex, data)),
            FftWorkspace::Each => Ok((0, total(WHAT, &[&[data], &[complex]])?)),
        }
    }
}

const WHAT: &str = "a Fourier transform";

impl CostModel for Fft {
    fn bytes(&self, transforms: u64) -> Result<u64> {
        affine(WHAT, self.parts()?, transforms)
    }

    fn fixed_and_per_item(&self) -> Option<(u64, u64)> {
        self.parts().ok()
    }
}
