//! What something takes by design: its parameters, its buffers, its activations for a batch.

use std::fmt;

use serde::Serialize;

use super::mebibytes::Size;

/// One named part of a footprint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Part {
    /// What it is.
    pub name: String,
    /// How much it takes.
    pub bytes: u64,
}

impl Part {
    /// A part of this name.
    pub fn new(name: impl Into<String>, bytes: u64) -> Self {
        Self { name: name.into(), bytes }
    }
}

/// Something whose memory is known from its design: a layer, or a model made of layers.
///
/// ```
/// use bridge_core::DataType;
/// use bridge_memory::profile::{Dense, Footprint, Sketched};
///
/// let dense = Dense::new(1024, 512, DataType::F32)?.report(128);
/// let sketched = Sketched::new(1024, 512, 1, 16, DataType::F32)?.report(128);
/// println!("{dense}\n{sketched}");
/// let saved = sketched.kept_reduction_from(&dense).unwrap();
/// assert!((90.0..100.0).contains(&saved));
/// # Ok::<(), bridge_core::Error>(())
/// ```
pub trait Footprint {
    /// What it is called in a report.
    fn name(&self) -> String;

    /// What training changes.
    fn parameters(&self) -> Vec<Part>;

    /// What is kept beside the parameters and does not change; nothing by default.
    fn buffers(&self) -> Vec<Part> {
        Vec::new()
    }

    /// What a pass over a batch of `batch` items keeps.
    fn activations(&self, batch: u64) -> Vec<Part>;

    /// All of it, for a batch of `batch` items.
    fn report(&self, batch: u64) -> FootprintReport {
        FootprintReport {
            name: self.name(),
            batch,
            parameters: self.parameters(),
            buffers: self.buffers(),
            activations: self.activations(batch),
        }
    }
}

/// Several that take their memory together, as the layers of a model do.
impl<T: Footprint> Footprint for [T] {
    fn name(&self) -> String {
        let names: Vec<_> = self.iter().map(T::name).collect();
        names.join(" + ")
    }

    fn parameters(&self) -> Vec<Part> {
        numbered(self, T::parameters)
    }

    fn buffers(&self) -> Vec<Part> {
        numbered(self, T::buffers)
    }

    fn activations(&self, batch: u64) -> Vec<Part> {
        numbered(self, |layer| layer.activations(batch))
    }
}

fn numbered<T>(layers: &[T], parts: impl Fn(&T) -> Vec<Part>) -> Vec<Part> {
    let named = |(index, layer): (usize, &T)| {
        let rename = move |Part { name, bytes }| Part { name: format!("{index}.{name}"), bytes };
        parts(layer).into_iter().map(rename).collect::<Vec<_>>()
    };
    layers.iter().enumerate().flat_map(named).collect()
}

impl<T: Footprint + ?Sized> Footprint for Box<T> {
    fn name(&self) -> String {
        (**self).name()
    }

    fn parameters(&self) -> Vec<Part> {
        (**self).parameters()
    }

    fn buffers(&self) -> Vec<Part> {
        (**self).buffers()
    }

    fn activations(&self, batch: u64) -> Vec<Part> {
        (**self).activations(batch)
    }
}

/// A footprint for one batch size. Sums beyond `u64` stop at its largest value. It prints as a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FootprintReport {
    /// What was asked.
    pub name: String,
    /// The items of a batch.
    pub batch: u64,
    /// What training changes.
    pub parameters: Vec<Part>,
    /// What is kept beside the parameters.
    pub buffers: Vec<Part>,
    /// What a pass over a batch keeps.
    pub activations: Vec<Part>,
}

impl FootprintReport {
    /// Bytes of all parameters.
    pub fn parameter_bytes(&self) -> u64 {
        sum(&self.parameters)
    }

    /// Bytes of all buffers.
    pub fn buffer_bytes(&self) -> u64 {
        sum(&self.buffers)
    }

    /// Bytes of all activations.
    pub fn activation_bytes(&self) -> u64 {
        sum(&self.activations)
    }

    /// Bytes of everything.
    pub fn total_bytes(&self) -> u64 {
        let kept = self.parameter_bytes().saturating_add(self.buffer_bytes());
        kept.saturating_add(self.activation_bytes())
    }

    /// By how many percent this is smaller than `other`, activations included; negative where it is
    /// larger, `None` where `other` takes nothing.
    pub fn reduction_from(&self, other: &Self) -> Option<f64> {
        reduction(self.total_bytes(), other.total_bytes())
    }

    /// As [`reduction_from`](Self::reduction_from), of parameters and buffers only: what the layer
    /// takes before it is used.
    pub fn kept_reduction_from(&self, other: &Self) -> Option<f64> {
        let kept = |one: &Self| one.parameter_bytes().saturating_add(one.buffer_bytes());
        reduction(kept(self), kept(other))
    }
}

fn sum(parts: &[Part]) -> u64 {
    parts.iter().map(|part| part.bytes).fold(0, u64::saturating_add)
}

fn reduction(bytes: u64, other: u64) -> Option<f64> {
    (other != 0).then(|| (1.0 - bytes as f64 / other as f64) * 100.0)
}

impl fmt::Display for FootprintReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}, batch of {}", self.name, self.batch)?;
        for (what, parts) in [
            ("parameters", &self.parameters),
            ("buffers", &self.buffers),
            ("activations", &self.activations),
        ] {
            if parts.is_empty() {
                continue;
            }
            writeln!(f, "  {what:<24} {:>16}", Size(sum(parts)).to_string())?;
            for Part { name, bytes } in parts {
                writeln!(f, "    {name:<22} {:>16}", Size(*bytes).to_string())?;
            }
        }
        write!(f, "  {:<24} {:>16}", "total", Size(self.total_bytes()).to_string())
    }
}
