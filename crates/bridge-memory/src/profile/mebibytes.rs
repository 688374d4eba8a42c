//! Bytes as people read them.

use std::fmt;

/// Bytes of one MiB.
pub(super) const MIB: f64 = 1_048_576.0;

/// A change in MiB, with its sign.
pub(super) struct Signed(pub(super) Option<i64>);

impl fmt::Display for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(bytes) => write!(f, "{:+.2} MiB", bytes as f64 / MIB),
            None => f.write_str("unknown"),
        }
    }
}

/// A size in MiB.
pub(super) struct Size(pub(super) u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} MiB", self.0 as f64 / MIB)
    }
}
