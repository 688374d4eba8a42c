//! The stream on which a consumer of a DLPack tensor will use it.

use crate::error::{Error, Result};

/// DLPack's number of the legacy default stream of CUDA.
const LEGACY: u64 = 1;
/// DLPack's number of the per-thread default stream of CUDA.
const PER_THREAD: u64 = 2;

/// The stream on which a consumer will use a tensor on CUDA: the argument `stream` of `__dlpack__`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsumerStream {
    /// The legacy default stream: `None`, or 1.
    Legacy,
    /// The per-thread default stream of the calling thread: 2.
    PerThread,
    /// A stream by its handle: any larger number.
    Handle(u64),
    /// No ordering is wanted, the consumer takes care of it: -1.
    Unordered,
}

impl ConsumerStream {
    /// The stream that a DLPack number means.
    ///
    /// ```
    /// use bridge_tensor::ConsumerStream;
    ///
    /// assert_eq!(ConsumerStream::from_dlpack(None)?, ConsumerStream::Legacy);
    /// assert_eq!(ConsumerStream::from_dlpack(Some(2))?, ConsumerStream::PerThread);
    /// assert_eq!(ConsumerStream::from_dlpack(Some(-1))?, ConsumerStream::Unordered);
    /// assert!(ConsumerStream::from_dlpack(Some(0)).is_err());
    /// # Ok::<(), bridge_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] for 0, which could mean either default stream, and for numbers below
    /// -1.
    pub fn from_dlpack(number: Option<i64>) -> Result<Self> {
        let Some(number) = number else { return Ok(Self::Legacy) };
        match u64::try_from(number) {
            Ok(LEGACY) => Ok(Self::Legacy),
            Ok(PER_THREAD) => Ok(Self::PerThread),
            Ok(handle) if handle != 0 => Ok(Self::Handle(handle)),
            Err(_) if number == -1 => Ok(Self::Unordered),
            _ => Err(Error::InvalidArgument {
                what: "the stream number",
                found: number.to_string(),
                expected: "None or 1 for the legacy default stream, 2 for the per-thread one, a \
                           stream's handle, or -1 for no ordering; 0 could mean either default \
                           stream"
                    .to_owned(),
            }),
        }
    }

    /// The DLPack number of the stream; `None` where no ordering is wanted.
    pub fn number(self) -> Option<u64> {
        match self {
            Self::Legacy => Some(LEGACY),
            Self::PerThread => Some(PER_THREAD),
            Self::Handle(handle) => Some(handle),
            Self::Unordered => None,
        }
    }
}
