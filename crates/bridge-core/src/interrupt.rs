//! Stopping a conversion that takes long.

use crate::error::Result;

/// Asked again and again, while a long copy or cast on the host goes on, whether it shall.
///
/// A caller names one with [`Options::interrupted_by`](crate::Options::interrupted_by).
pub trait Interrupt: Send + Sync {
    /// Succeeds where the conversion shall go on.
    ///
    /// # Errors
    ///
    /// Where it shall not: the conversion then fails with this error, and the array comes back.
    fn check(&self) -> Result<()>;
}
