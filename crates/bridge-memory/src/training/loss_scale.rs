//! Losses that are scaled up, so that small gradients of half precision do not vanish.

use bridge_core::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::arguments::{factor, invalid};

/// How a scale changes. The defaults are those of PyTorch's `GradScaler`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LossScaling {
    /// The scale to start with: 2¹⁶.
    pub start: f64,
    /// What it is multiplied by after [`interval`](Self::interval) good steps in a row: 2.
    pub growth: f64,
    /// What it is multiplied by after a step that overflowed: 0.5.
    pub backoff: f64,
    /// Good steps in a row until it grows: 2000.
    pub interval: u32,
}

impl Default for LossScaling {
    fn default() -> Self {
        Self { start: 65536.0, growth: 2.0, backoff: 0.5, interval: 2000 }
    }
}

/// What to do with the gradients of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// They are finite: divide them by the scale and apply them.
    Apply,
    /// One is infinite or no number: leave the weights as they are.
    Skip,
}

/// Scales losses dynamically: up while gradients are finite, and down where they overflow.
///
/// Multiply the loss by [`scale`](Self::scale), take the gradients, ask [`update`](Self::update) with
/// whether they are finite, and divide them by the scale that the loss had before applying them. The
/// state can be stored and read back with serde.
///
/// ```
/// use bridge_memory::training::{LossScale, Step, all_finite};
///
/// let mut scaling = LossScale::default();
/// let scale = scaling.scale();
/// let gradients = [scale * 0.5, scale * 2.0];
/// assert_eq!(scaling.update(all_finite(&gradients)), Step::Apply);
/// assert_eq!(gradients.map(|one| one / scale), [0.5, 2.0]);
/// assert_eq!(scaling.update(all_finite(&[f64::INFINITY])), Step::Skip);
/// assert_eq!(scaling.scale(), 32768.0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct LossScale {
    scaling: LossScaling,
    scale: f64,
    good_steps: u32,
    skipped: u64,
}

impl Default for LossScale {
    fn default() -> Self {
        let scaling = LossScaling::default();
        Self { scaling, scale: scaling.start, good_steps: 0, skipped: 0 }
    }
}

impl LossScale {
    /// A scale that changes so.
    ///
    /// # Errors
    ///
    /// Where the start is not above zero, the growth not above one, the backoff not between zero and
    /// one, or the interval zero; and where a factor is no finite number.
    pub fn new(scaling: LossScaling) -> Result<Self> {
        let LossScaling { start, growth, backoff, interval } = scaling;
        scale_in_range("the loss scale to start with", start)?;
        factor("the growth of the loss scale", growth, 1.0)?;
        if growth == 1.0 {
            return Err(invalid("the growth of the loss scale", &growth, "it must be above 1"));
        }
        if !(backoff > 0.0 && backoff < 1.0) {
            let expected = "it must be between 0 and 1, as the scale falls by it";
            return Err(invalid("the backoff of the loss scale", &backoff, expected));
        }
        if interval == 0 {
            let expected = "it must be one step at least";
            return Err(invalid("the growth interval of the loss scale", &interval, expected));
        }
        Ok(Self { scaling, scale: start, good_steps: 0, skipped: 0 })
    }

    /// What the loss is multiplied by.
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// Good steps in a row since the scale last changed.
    pub fn good_steps(&self) -> u32 {
        self.good_steps
    }

    /// Steps that were skipped, ever.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Says what to do with gradients that are finite or not, and changes the scale for the next step.
    /// It stays a number that `f32` has: neither zero nor infinite.
    pub fn update(&mut self, finite: bool) -> Step {
        if !finite {
            self.scale = (self.scale * self.scaling.backoff).max(LEAST);
            self.good_steps = 0;
            self.skipped = self.skipped.saturating_add(1);
            return Step::Skip;
        }
        self.good_steps = self.good_steps.saturating_add(1);
        if self.good_steps >= self.scaling.interval {
            let grown = self.scale * self.scaling.growth;
            if grown <= MOST {
                self.scale = grown;
            }
            self.good_steps = 0;
        }
        Step::Apply
    }
}

/// Whether all numbers are finite.
pub fn all_finite<T: Copy + Into<f64>>(numbers: &[T]) -> bool {
    numbers.iter().all(|&number| number.into().is_finite())
}

const LEAST: f64 = f32::MIN_POSITIVE as f64;
const MOST: f64 = f32::MAX as f64;

fn scale_in_range(what: &'static str, scale: f64) -> Result<()> {
    if (LEAST..=MOST).contains(&scale) {
        return Ok(());
    }
    Err(invalid(what, &scale, "it must be a number above zero that float32 has"))
}

/// What is stored: it is checked when it is read back.
#[derive(Serialize, Deserialize)]
struct Stored {
    scaling: LossScaling,
    scale: f64,
    good_steps: u32,
    skipped: u64,
}

impl From<LossScale> for Stored {
    fn from(LossScale { scaling, scale, good_steps, skipped }: LossScale) -> Self {
        Self { scaling, scale, good_steps, skipped }
    }
}

impl TryFrom<Stored> for LossScale {
    type Error = Error;

    fn try_from(Stored { scaling, scale, good_steps, skipped }: Stored) -> Result<Self> {
        scale_in_range("the stored loss scale", scale)?;
        Ok(Self { scale, good_steps, skipped, ..Self::new(scaling)? })
    }
}
